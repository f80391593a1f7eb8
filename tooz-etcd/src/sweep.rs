//! Reading a channel's messages in the order of keys, for where much stands among them that is none.
//!
//! A look at messages in their own order makes the server read and sort all of its range for each page. Here it reads
//! what it gives, and gives names alone: what follows is found after as many pages as there are keys, whoever put them
//! there.

use etcd_client::{GetOptions, KeyValue, Txn, TxnOp, TxnOpResponse};
use tooz_core::{Incarnation, MessageId, Result};

use crate::channel::{ChannelKeys, bucket_of};
use crate::error::is_too_large;
use crate::session::Session;
use crate::standing::{Record, Standing, messages, records};
use crate::txn::{get, revision};

/// Names of one page.
const PAGE: i64 = 10_000;
/// Pages of one step, which has a deadline; the next goes on from there.
const PAGES: usize = 32;
/// Values of one request: one of a stranger may be as large as etcd takes them.
pub(crate) const VALUES: usize = 32;
/// Of fewer keys nothing could be told: a message that was seen before, and the next.
const LEAST: usize = 2;

/// A key that names a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) bucket: u64,
    pub(crate) id: MessageId,
    /// When it was put.
    pub(crate) created: i64,
}

/// A search for the messages from a number on, as far as it has come.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    incarnation: Incarnation,
    first: u64,
    /// They are of this revision or later …
    since: i64,
    /// … and no later than this one: what was put later may stand before the place where it has come to.
    until: i64,
    next: Vec<u8>,
    named: Vec<Named>,
}

/// What it came to.
#[derive(Debug)]
pub(crate) enum Swept {
    /// All that is looked for in the first bucket that has any.
    Bucket(u64, Vec<Record>),
    /// There is none.
    Nothing,
    /// It goes on from here.
    SoFar(Sweep),
}

impl Sweep {
    /// For the messages from this number and this revision on, of those that stand.
    pub(crate) fn new(keys: &ChannelKeys, standing: &Standing, first: u64, since: i64) -> Self {
        Self {
            incarnation: standing.incarnation,
            first,
            since,
            until: standing.revision,
            next: keys.bucket(bucket_of(first)).into_bytes(),
            named: Vec::new(),
        }
    }

    /// Whether it looks for the same.
    pub(crate) fn is_for(&self, standing: &Standing, first: u64) -> bool {
        self.incarnation == standing.incarnation && self.first == first
    }

    /// Goes on until it has found a bucket, or for as long as one step may.
    pub(crate) async fn run(mut self, session: &Session, keys: &ChannelKeys, last: u64) -> Result<Swept> {
        let end = keys.bucket(bucket_of(last).saturating_add(1)).into_bytes();
        for _ in 0..PAGES {
            let (named, next) = page(session, keys, self.next.clone(), end.clone()).await?;
            self.named.extend(named);
            while let Some(bucket) = self.whole(keys, next.as_deref()) {
                let end = self.named.partition_point(|named| named.bucket <= bucket);
                let named: Vec<Named> = self.named.drain(..end).collect();
                let records = values(session, keys, &named).await?;
                let meant = |record: &Record| (self.since..=self.until).contains(&record.revision);
                let records: Vec<Record> = records.into_iter().filter(meant).collect();
                if !records.is_empty() {
                    return Ok(Swept::Bucket(bucket, records));
                }
            }
            match next {
                Some(next) => self.next = next,
                None => return Ok(Swept::Nothing),
            }
        }
        Ok(Swept::SoFar(self))
    }

    /// The first bucket of those that were named, if all of it was.
    fn whole(&self, keys: &ChannelKeys, next: Option<&[u8]>) -> Option<u64> {
        let bucket = self.named.first()?.bucket;
        let is_whole = next.is_none_or(|next| next >= keys.bucket(bucket.saturating_add(1)).as_bytes());
        is_whole.then_some(bucket)
    }
}

/// How a channel stands and, in the last answer, the messages of these buckets from a revision on. Asks for at most so
/// many keys, for fewer where their values are too large for one answer, and tells for how many.
pub(crate) async fn look(
    session: &Session,
    keys: &ChannelKeys,
    buckets: std::ops::Range<u64>,
    since: i64,
    mut most: usize,
) -> Result<(Vec<TxnOpResponse>, usize)> {
    loop {
        let mut looks = Standing::gets(keys).to_vec();
        looks.push(messages(keys, buckets.clone(), since, most));
        match session.line.txn(Txn::new().and_then(looks)).await {
            Err(error) if is_too_large(&error) && most > LEAST => most = (most / 2).clamp(LEAST, VALUES),
            answer => {
                let answer = answer?;
                session.note(revision(&answer));
                return Ok((answer.op_responses(), most));
            }
        }
    }
}

/// All keys of one bucket that name a message, whatever they have for a value.
pub(crate) async fn named(session: &Session, keys: &ChannelKeys, bucket: u64) -> Result<Vec<Named>> {
    let (mut from, end) = (keys.bucket(bucket).into_bytes(), keys.bucket(bucket.saturating_add(1)));
    let mut all = Vec::new();
    loop {
        let (named, next) = page(session, keys, from, end.clone().into_bytes()).await?;
        all.extend(named);
        match next {
            Some(next) => from = next,
            None => return Ok(all),
        }
    }
}

/// The messages that these keys have, oldest first; what is none is left out.
pub(crate) async fn values(session: &Session, keys: &ChannelKeys, named: &[Named]) -> Result<Vec<Record>> {
    let mut all = Vec::new();
    for some in named.chunks(VALUES) {
        let gets: Vec<TxnOp> = some.iter().map(|named| get(keys.message(named.bucket, named.id))).collect();
        let answer = session.line.txn(Txn::new().and_then(gets)).await?;
        session.note(revision(&answer));
        all.extend(answer.op_responses().iter().flat_map(|answer| records(keys, Some(answer))));
    }
    all.sort_by_key(|record| record.revision);
    Ok(all)
}

/// One page of names, and where the next begins.
async fn page(
    session: &Session,
    keys: &ChannelKeys,
    from: Vec<u8>,
    end: Vec<u8>,
) -> Result<(Vec<Named>, Option<Vec<u8>>)> {
    let (found, next) = names(session, from, end).await?;
    let named = |kv: &KeyValue| {
        let (bucket, id) = keys.message_of(kv.key())?;
        Some(Named { bucket, id, created: kv.create_revision() })
    };
    Ok((found.iter().filter_map(named).collect(), next))
}

/// One page of the keys in a range, without their values, and where the next begins.
pub(crate) async fn names(
    session: &Session,
    from: Vec<u8>,
    end: Vec<u8>,
) -> Result<(Vec<KeyValue>, Option<Vec<u8>>)> {
    let options = GetOptions::new().with_range(end).with_keys_only().with_limit(PAGE);
    let answer = session.line.txn(Txn::new().and_then([TxnOp::get(from, Some(options))])).await?;
    session.note(revision(&answer));
    let Some(TxnOpResponse::Get(mut get)) = answer.op_responses().into_iter().next() else {
        return Ok((Vec::new(), None));
    };
    let found = get.take_kvs();
    let is_full = found.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
    let next = found.last().filter(|_| is_full).map(|kv| [kv.key(), &[0]].concat());
    Ok((found, next))
}
