//! Publishing: one transaction, whoever else publishes, unless the bucket was guessed wrong.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tooz_core::backend::Publication;
use tooz_core::{Channel, Error, ErrorKind, Offset, Result};

use crate::channel::{BUCKET, ChannelKeys, bucket_in, bucket_of, first_of, place};
use crate::entry::{Entry, Head, INLINE};
use crate::fetch::in_bucket;
use crate::session::Session;
use crate::standing::{Standing, numbered};
use crate::sweep::Sweep;
use crate::txn::{Seen, absent, first, get, present, revision};

/// Messages of one session under way in one channel; others wait their turn here. Many more would arrive in
/// an order of their own, and the bucket could not be guessed.
const UNDER_WAY: usize = 128;

/// Attempts of one step. Each that fails means that others filled a bucket meanwhile.
const ATTEMPTS: usize = 16;

/// So many channels are remembered; the next message of one forgotten may cost a trip more.
const REMEMBERED: usize = 1024;

/// What a session remembers of channels: guesses, by which nothing is decided.
#[derive(Debug, Default)]
pub(crate) struct Guesses(Mutex<HashMap<Channel, Arc<Guess>>>);

/// What is known of one channel.
#[derive(Debug)]
pub(crate) struct Guess {
    /// The newest number that was heard of.
    newest: AtomicU64,
    /// Messages under way.
    under_way: AtomicU64,
    slots: Semaphore,
    head: Mutex<Option<Head>>,
    /// A search that has not come to its end.
    sweep: Mutex<Option<Sweep>>,
}

impl Guesses {
    pub(crate) fn of(&self, channel: &Channel) -> Arc<Guess> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guess) = all.get(channel) {
            return Arc::clone(guess);
        }
        if all.len() >= REMEMBERED {
            all.clear();
        }
        let guess = Arc::new(Guess {
            newest: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            slots: Semaphore::new(UNDER_WAY),
            head: Mutex::default(),
            sweep: Mutex::default(),
        });
        all.insert(channel.clone(), Arc::clone(&guess));
        guess
    }
}

impl Guess {
    /// How the channel stood when it was looked at; answers may come out of order.
    pub(crate) fn saw(&self, standing: Option<&Standing>) {
        self.newest.fetch_max(standing.map_or(0, |standing| standing.last.number()), Ordering::Relaxed);
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = standing.map(|standing| standing.head);
    }

    /// Where what is retained began.
    pub(crate) fn head(&self) -> Option<Head> {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The search for the messages from a number and a revision on, from where it came to.
    pub(crate) fn sweep(&self, keys: &ChannelKeys, standing: &Standing, first: u64, since: i64) -> Sweep {
        let begun = self.sweep.lock().unwrap_or_else(PoisonError::into_inner).take();
        let same = begun.filter(|begun| begun.is_for(standing, first));
        same.unwrap_or_else(|| Sweep::new(keys, standing, first, since))
    }

    /// The next step goes on with it.
    pub(crate) fn go_on(&self, sweep: Sweep) {
        *self.sweep.lock().unwrap_or_else(PoisonError::into_inner) = Some(sweep);
    }

    /// The guess was wrong: a channel that was forgotten or restored counts from less again.
    fn correct(&self, standing: Option<&Standing>) {
        self.saw(standing);
        self.newest.store(standing.map_or(0, |standing| standing.last.number()), Ordering::Relaxed);
    }

    /// The bucket of a message that is sent now.
    fn bucket(&self, before: u64) -> u64 {
        bucket_of(self.newest.load(Ordering::Relaxed).saturating_add(before).saturating_add(1))
    }
}

/// One more message under way.
struct UnderWay<'a>(&'a AtomicU64);

impl<'a> UnderWay<'a> {
    /// Tells how many there were before.
    fn begin(count: &'a AtomicU64) -> (Self, u64) {
        let before = count.fetch_add(1, Ordering::Relaxed);
        (Self(count), before)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn full(channel: &Channel) -> Error {
    let text = format!("{UNDER_WAY} messages of this session are under way in {channel}");
    Error::new(ErrorKind::Unavailable, text)
}

/// Appends the message, or finds it.
pub(crate) async fn publish(session: &Session, guess: &Guess, publication: &Publication) -> Result<Offset> {
    // Never closed. Nothing was sent by whoever waits in vain.
    let Ok(_slot) = timeout(session.line.timeout(), guess.slots.acquire()).await else {
        return Err(full(&publication.channel));
    };
    let keys = ChannelKeys::of(&publication.channel);
    let written = Entry::of(publication).encode()?;
    let (_under_way, before) = UnderWay::begin(&guess.under_way);
    let mut bucket = guess.bucket(before);
    for _ in 0..ATTEMPTS {
        let answer = session.line.txn(append(&keys, publication, &written, bucket)).await?;
        session.note(revision(&answer));
        let answers = answer.op_responses();
        if answer.succeeded() {
            let standing = Standing::read(answers.get(answers.len().saturating_sub(3)..).unwrap_or(&[]));
            guess.saw(standing.as_ref());
            return standing.map(|standing| standing.last).ok_or_else(damaged);
        }
        let standing = Standing::read(&answers);
        let known = first(answers.get(3));
        match (standing, known) {
            (Some(standing), Some(known)) => {
                return find(session, &keys, publication, &standing, &known).await;
            }
            (None, Some(_)) => return Err(damaged()),
            (standing, None) => {
                guess.correct(standing.as_ref());
                bucket = bucket_of(standing.map_or(1, |standing| standing.last.number() + 1));
            }
        }
    }
    Err(crowded())
}

/// Unless the id is known, and if the next number is of this bucket: the count, the id and the message.
fn append(keys: &ChannelKeys, publication: &Publication, written: &[u8], bucket: u64) -> Txn {
    let id = publication.id;
    let plain = |key: String, value: Vec<u8>| TxnOp::put(key, value, None);
    let begin = Txn::new()
        .when([present(keys.begin()), present(keys.count())])
        .or_else([plain(keys.begin(), id.as_bytes().to_vec())]);
    let mut then = vec![
        TxnOp::txn(begin),
        plain(keys.count(), id.as_bytes().to_vec()),
        plain(keys.id(id), bucket.to_string().into_bytes()),
        plain(keys.message(bucket, id), written.to_vec()),
    ];
    if publication.body.len() > INLINE {
        then.push(plain(keys.body(bucket, id), publication.body.to_vec()));
    }
    then.extend(Standing::gets(keys));
    let mut or_else = Standing::gets(keys).to_vec();
    or_else.push(get(keys.id(id)));
    // How many there were before tells the number of the next.
    let before = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let from = before(first_of(bucket) - 1);
    let when = [
        absent(keys.id(id)),
        Compare::version(keys.count(), CompareOp::Greater, from - 1),
        Compare::version(keys.count(), CompareOp::Less, from + before(BUCKET)),
    ];
    Txn::new().when(when).and_then(then).or_else(or_else)
}

/// The offset of a message that is known already.
async fn find(
    session: &Session,
    keys: &ChannelKeys,
    publication: &Publication,
    standing: &Standing,
    known: &Seen,
) -> Result<Offset> {
    if known.created == standing.revision {
        return Ok(standing.last);
    }
    let bucket = bucket_in(&known.value).ok_or_else(damaged)?;
    let records = in_bucket(session, keys, bucket, standing.begun).await?;
    let mut numbered = numbered(records, first_of(bucket), standing).into_iter();
    // While an id is known its bucket stands, unless somebody else removes it.
    let number = numbered.find(|(_, record)| record.revision == known.created).map(|(number, _)| number);
    let place = place(known.created, publication.id);
    Ok(Offset::new(standing.incarnation, number.unwrap_or(first_of(bucket)), place))
}

fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "what counts the channel's messages is not what it was: see docs/wire")
}

fn crowded() -> Error {
    Error::new(ErrorKind::Unavailable, "others publish so much that every guess of the next number failed")
}
