//! What a session remembers of channels: guesses that save a look, by which nothing is decided.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{Mutex as TaskMutex, Semaphore};
use tooz_core::Channel;

use crate::channel::{BUCKET, Bucket};
use crate::session::locked;
use crate::standing::Standing;

/// Messages of one session under way in one channel; others wait their turn here.
pub(crate) const UNDER_WAY: usize = 128;

/// So many channels are remembered; the next step on one forgotten may cost a trip more.
const REMEMBERED: usize = 1024;

/// All channels.
#[derive(Default)]
pub(crate) struct Guesses(Mutex<HashMap<Channel, Arc<Guess>>>);

impl Guesses {
    pub(crate) fn of(&self, channel: &Channel) -> Arc<Guess> {
        let mut all = locked(&self.0);
        if let Some(guess) = all.get(channel) {
            return Arc::clone(guess);
        }
        if all.len() >= REMEMBERED {
            all.clear();
        }
        let guess = Arc::new(Guess::new());
        all.insert(channel.clone(), Arc::clone(&guess));
        guess
    }
}

/// One channel.
pub(crate) struct Guess {
    pub(crate) slots: Semaphore,
    /// Where the next message goes; whoever closes a bucket keeps it until that is answered.
    pub(crate) way: Arc<TaskMutex<Option<Way>>>,
    seen: Mutex<Option<Seen>>,
}

/// Where the next message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Into this bucket, probably with this number.
    Append(Bucket, u64),
    /// Into this bucket, which it opens as long as the count has this version.
    Open(Bucket, i32),
}

impl Way {
    /// By how the channel stands.
    pub(crate) fn of(standing: &Standing) -> Self {
        match standing.is_closed {
            true => {
                let next = Bucket { first: standing.next(), incarnation: standing.incarnation() };
                Self::Open(next, standing.count_version)
            }
            false => Self::Append(standing.bucket, standing.next()),
        }
    }
}

/// How a message is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As long as the bucket is open.
    Plain,
    /// And closes the bucket.
    Closing,
    /// And makes the bucket, as long as the count has this version.
    Opening(i32),
}

/// What comes next.
pub(crate) struct Next {
    pub(crate) bucket: Bucket,
    pub(crate) manner: Manner,
    /// The message's, probably.
    pub(crate) number: u64,
}

/// The newest that was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) bucket: Bucket,
    /// The number of the next message.
    pub(crate) next: u64,
    /// The number of the first that is retained.
    pub(crate) head: u64,
}

impl Guess {
    fn new() -> Self {
        Self { slots: Semaphore::new(UNDER_WAY), way: Arc::default(), seen: Mutex::default() }
    }

    pub(crate) fn seen(&self) -> Option<Seen> {
        *locked(&self.seen)
    }

    /// How the channel stands.
    pub(crate) fn saw(&self, standing: &Standing) {
        let next = Seen { bucket: standing.bucket, next: standing.next(), head: standing.head.number };
        let mut seen = locked(&self.seen);
        *seen = Some(match *seen {
            // Answers may come out of order.
            Some(before) if before.bucket == next.bucket => Seen { next: before.next.max(next.next), ..next },
            _ => next,
        });
    }

    /// A message was appended.
    pub(crate) fn appended(&self, bucket: Bucket, number: u64) {
        let mut seen = locked(&self.seen);
        let head = seen.filter(|seen| seen.bucket.incarnation == bucket.incarnation).map_or(1, |it| it.head);
        let next = number.saturating_add(1);
        let before = seen.filter(|seen| seen.bucket == bucket).map_or(0, |seen| seen.next);
        *seen = Some(Seen { bucket, next: next.max(before), head });
    }

    /// What comes next, as far as is known.
    pub(crate) fn next(&self, way: Option<Way>) -> Option<Next> {
        let seen = self.seen();
        match way.or_else(|| seen.map(|seen| Way::Append(seen.bucket, seen.next)))? {
            Way::Open(bucket, version) => {
                Some(Next { bucket, manner: Manner::Opening(version), number: bucket.first })
            }
            Way::Append(bucket, next) => {
                let seen = seen.filter(|seen| seen.bucket == bucket).map_or(0, |seen| seen.next);
                let number = next.max(seen);
                let is_full = number.saturating_sub(bucket.first) >= BUCKET;
                let manner = if is_full { Manner::Closing } else { Manner::Plain };
                Some(Next { bucket, manner, number })
            }
        }
    }

    /// The guess was wrong.
    pub(crate) fn forget(&self, way: &mut Option<Way>, bucket: Bucket) {
        self.unsee(bucket);
        if matches!(*way, Some(Way::Append(known, _) | Way::Open(known, _)) if known == bucket) {
            *way = None;
        }
    }

    /// The same without what the holder of the way knows.
    pub(crate) fn unsee(&self, bucket: Bucket) {
        let mut seen = locked(&self.seen);
        if seen.is_some_and(|seen| seen.bucket == bucket) {
            *seen = None;
        }
    }
}
