//! Letting go: the head moves in one transaction, and buckets are removed once nobody asks for their ids.

use std::time::Duration;

use etcd_client::{Compare, DeleteOptions, Txn, TxnOp};
use tooz_core::Result;
use tooz_core::backend::Retention;

use crate::channel::{BUCKET, ChannelKeys, bucket_in, bucket_of, first_of};
use crate::entry::{Entry, Head, wall_ms};
use crate::fetch::in_bucket;
use crate::keys::after_prefix;
use crate::publish::Guess;
use crate::session::Session;
use crate::standing::{Record, Standing, found, numbered, reached, records};
use crate::sweep::{self, Swept};
use crate::txn::{absent, delete, first, get, revision, unchanged};

/// Messages looked at in one round.
const ROUND: usize = 1024;

/// Rounds of one trim; the next goes on where it ended.
const ROUNDS: usize = 256;

/// Operations of one transaction, of at most 128.
const OPERATIONS: usize = 120;

/// Values of one request: one of a stranger may be as large as etcd takes them.
const VALUES: usize = 32;

/// Buckets that one trim removes.
const REMOVED: usize = 16;

/// Ids are known for so long after their message was let go of …
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// … or until so many buckets were.
const KNOWN: u64 = 1024;

/// How far a round came.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Moved {
    head: Head,
    /// Bodies that nobody will read any more.
    bodies: Vec<String>,
    /// Whether what comes next is retained.
    is_done: bool,
}

/// Lets go of what is beyond the retention and tells how many messages those were.
pub(crate) async fn trim(
    session: &Session,
    guess: &Guess,
    keys: &ChannelKeys,
    retention: Retention,
) -> Result<u64> {
    let mut gone = 0;
    // Where to look: at the head, or beyond it where nothing but what is no message was found.
    let mut from = guess.head().unwrap_or(Head::start(0));
    let mut known = None;
    for _ in 0..ROUNDS {
        let Some((standing, round)) = look(session, guess, keys, from).await? else { return Ok(gone) };
        guess.saw(Some(&standing));
        let head = standing.head;
        let fits = match known {
            Some(known) => known == head,
            None => bucket_of(from.number) == bucket_of(head.number) && from.revision <= head.revision,
        };
        known = Some(head);
        if !fits {
            from = head;
            continue;
        }
        let (first, next) = (from.number.max(head.number), round.next);
        let moved = advance(keys, &standing, first, round, retention);
        if moved.head != head {
            if !write(session, keys, &standing, &moved).await? {
                // Somebody else trims.
                continue;
            }
            gone += moved.head.number - head.number;
            (from, known) = (moved.head, Some(moved.head));
        } else if let Some((number, revision)) = next {
            from = Head { number, revision, ..head };
        }
        if moved.is_done {
            remove(session, keys, standing.begun, moved.head).await?;
            break;
        }
    }
    Ok(gone)
}

/// The messages from a place on.
struct Round {
    records: Vec<Record>,
    /// The number and the least revision of what may come after them, if anything may.
    next: Option<(u64, i64)>,
}

async fn look(
    session: &Session,
    guess: &Guess,
    keys: &ChannelKeys,
    from: Head,
) -> Result<Option<(Standing, Round)>> {
    let begin = bucket_of(from.number);
    let end = begin.saturating_add((ROUND as u64).div_ceil(BUCKET));
    let (answers, most) = sweep::look(session, keys, begin..end, from.revision, ROUND).await?;
    let Some(standing) = Standing::read(&answers) else { return Ok(None) };
    let mut records = records(keys, answers.get(3));
    let since = standing.head.revision;
    records.retain(|record| record.revision >= since);
    let last = standing.last.number();
    let after = |bucket: u64| (bucket <= bucket_of(last)).then(|| (first_of(bucket), since));
    if found(answers.get(3)) < most {
        return Ok(Some((standing, Round { records, next: after(end) })));
    }
    let next = reached(answers.get(3)).saturating_add(1);
    if !records.is_empty() {
        return Ok(Some((standing, Round { records, next: Some((from.number, next)) })));
    }
    // Nothing but what is no message: it is passed over.
    let sweep = guess.sweep(keys, &standing, from.number.max(standing.head.number), next.max(since));
    let round = match sweep.run(session, keys, last).await? {
        Swept::Bucket(bucket, records) => Round { records, next: after(bucket.saturating_add(1)) },
        Swept::Nothing => Round { records: Vec::new(), next: None },
        Swept::SoFar(sweep) => {
            guess.go_on(sweep);
            Round { records: Vec::new(), next: Some((from.number, from.revision)) }
        }
    };
    Ok(Some((standing, round)))
}

/// Pure but for the wall clock: how far the head moves over these messages, the first being at least `first`.
fn advance(keys: &ChannelKeys, standing: &Standing, first: u64, round: Round, retention: Retention) -> Moved {
    let now = wall_ms();
    let target = (standing.last.number() + 1).saturating_sub(retention.count);
    let mut moved = Moved { head: standing.head, bodies: Vec::new(), is_done: false };
    for (number, record) in numbered(round.records, first, standing) {
        let is_old = |entry: &Entry| entry.age(now) > retention.age;
        if number >= target && !is_old(&record.entry) {
            // The head may stand before a gap already; it is the same place.
            moved.is_done = true;
            if number > moved.head.number {
                (moved.head.number, moved.head.revision) = (number, record.revision);
            }
            return moved;
        }
        if record.entry.is_apart() {
            moved.bodies.push(keys.body(record.bucket, record.id));
        }
        (moved.head.number, moved.head.revision) = (number + 1, record.revision + 1);
    }
    if round.next.is_none() {
        moved.is_done = true;
        let past = standing.last.number() + 1;
        if moved.head.number < past && target >= past {
            (moved.head.number, moved.head.revision) = (past, standing.revision + 1);
        }
    }
    moved
}

/// Moves the head, unless somebody else did.
async fn write(session: &Session, keys: &ChannelKeys, standing: &Standing, moved: &Moved) -> Result<bool> {
    let mut bodies = moved.bodies.chunks(OPERATIONS);
    let mut then = vec![TxnOp::put(keys.head(), moved.head.encode()?, None)];
    then.extend(bodies.next().unwrap_or(&[]).iter().map(|key| delete(key.as_str())));
    let answer = session.line.txn(Txn::new().when(same_head(keys, standing)).and_then(then)).await?;
    session.note(revision(&answer));
    if !answer.succeeded() {
        return Ok(false);
    }
    for some in bodies {
        let deletes: Vec<_> = some.iter().map(|key| delete(key.as_str())).collect();
        session.line.txn(Txn::new().and_then(deletes)).await?;
    }
    Ok(true)
}

fn same_head(keys: &ChannelKeys, standing: &Standing) -> Vec<Compare> {
    let head = match standing.head_written {
        0 => absent(keys.head()),
        written => unchanged(keys.head(), written),
    };
    vec![head]
}

/// Removes the ids of a bucket: of its messages, whatever has been written over them, and of those that somebody removed.
async fn forget(session: &Session, keys: &ChannelKeys, bucket: u64) -> Result<()> {
    let named = sweep::named(session, keys, bucket).await?;
    let mut ids: Vec<String> = named.iter().map(|named| keys.id(named.id)).collect();
    if (named.len() as u64) < BUCKET {
        ids.extend(left_behind(session, keys, bucket).await?);
    }
    for some in ids.chunks(OPERATIONS) {
        let deletes: Vec<_> = some.iter().map(|id| delete(id.as_str())).collect();
        session.line.txn(Txn::new().and_then(deletes)).await?;
    }
    Ok(())
}

/// Ids that say that their message is of this bucket or of one before. An id is put together with its message: none that
/// is younger than the oldest message of the next bucket is of this one.
async fn left_behind(session: &Session, keys: &ChannelKeys, bucket: u64) -> Result<Vec<String>> {
    let next = sweep::named(session, keys, bucket.saturating_add(1)).await?;
    let Some(until) = next.iter().map(|named| named.created).min() else {
        // With the bucket after that one.
        return Ok(Vec::new());
    };
    let mut left = Vec::new();
    let mut from = keys.ids().into_bytes();
    loop {
        let (page, next) = sweep::names(session, from, after_prefix(&keys.ids())).await?;
        let old = page.iter().filter(|kv| kv.create_revision() < until && keys.is_id(kv.key()));
        let old: Vec<&[u8]> = old.map(etcd_client::KeyValue::key).collect();
        for some in old.chunks(VALUES) {
            let gets: Vec<TxnOp> = some.iter().map(|key| get(*key)).collect();
            let answer = session.line.txn(Txn::new().and_then(gets)).await?;
            let seen = answer.op_responses();
            let seen = seen.iter().filter_map(|answer| first(Some(answer)));
            let is_left = |value: &[u8]| bucket_in(value).is_some_and(|of| of <= bucket);
            let gone = seen.filter(|seen| is_left(&seen.value));
            left.extend(gone.filter_map(|seen| String::from_utf8(seen.key.to_vec()).ok()));
        }
        match next {
            Some(next) => from = next,
            None => return Ok(left),
        }
    }
}

/// Removes buckets that are before the head, ids first, so that an id that is known has its message.
async fn remove(session: &Session, keys: &ChannelKeys, begun: i64, mut head: Head) -> Result<()> {
    for _ in 0..REMOVED {
        let bucket = head.freed;
        if bucket >= bucket_of(head.number) {
            return Ok(());
        }
        let answer = session.line.txn(Txn::new().and_then(Standing::gets(keys))).await?;
        session.note(revision(&answer));
        let answers = answer.op_responses();
        let Some(standing) = Standing::read(&answers).filter(|it| it.begun == begun) else { return Ok(()) };
        if standing.head.freed != bucket || bucket >= bucket_of(standing.head.number) {
            return Ok(());
        }
        let records = in_bucket(session, keys, bucket, 0).await?;
        let newest = records.last().map(|record| &record.entry);
        let is_forgotten = newest.is_none_or(|entry| entry.age(wall_ms()) > KNOWN_FOR);
        if !is_forgotten && bucket_of(standing.head.number) - bucket <= KNOWN {
            return Ok(());
        }
        forget(session, keys, bucket).await?;
        head = Head { freed: bucket + 1, ..standing.head };
        let below = |prefix: String| TxnOp::delete(prefix, Some(DeleteOptions::new().with_prefix()));
        let then = [
            TxnOp::put(keys.head(), head.encode()?, None),
            below(keys.bucket(bucket)),
            below(keys.bodies(bucket)),
        ];
        let answer = session.line.txn(Txn::new().when(same_head(keys, &standing)).and_then(then)).await?;
        session.note(revision(&answer));
        if !answer.succeeded() {
            return Ok(());
        }
    }
    Ok(())
}
