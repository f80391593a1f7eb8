//! The store as a pure machine: a moment, a session and a step go in, a fact comes out.
//!
//! Rooms: `sessions` (leases), `locks` (seats, their `contest`, `voids` and `retired` marks), `groups`, `topics`,
//! `step` (every step and fact as a value), `look` (questions that change nothing), `snapshot`.

mod contest;
mod groups;
mod locks;
mod look;
#[cfg(test)]
mod properties;
mod retired;
mod sessions;
mod snapshot;
mod step;
#[cfg(test)]
mod tests;
mod topics;
mod voids;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

pub use self::sessions::Refusal;
pub use self::snapshot::{Place, Snapshot};
pub use self::step::{Fact, Step};

use self::contest::Contest;
use self::groups::Group;
use self::retired::Retired;
use self::sessions::Session;
use self::topics::Topics;
use self::voids::Voids;
use crate::channel::Channel;
use crate::claim::Seat;
use crate::clock::Moment;
use crate::id::{ClaimId, SessionId};
use crate::name::Name;

/// Everything a memory store knows, and the reference of what a store must do.
///
/// No clock is read, nothing is awaited and nothing is random: the same steps at the same moments always
/// give the same facts. That makes it the model that other drivers are compared with.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use tooz_core::backend::Standing;
/// use tooz_core::memory::{Fact, State, Step};
/// use tooz_core::{Claim, ClaimId, Mode, Moment, Name, Seat, SessionId};
///
/// let mut state = State::new();
/// let (start, ttl) = (Moment::ORIGIN, Duration::from_secs(10));
/// let (a, b) = (SessionId::random(), SessionId::random());
/// state.open(start, a, &Name::new("a")?, ttl);
/// state.open(start + Duration::from_secs(5), b, &Name::new("b")?, ttl);
///
/// let claim = |member: &str| -> tooz_core::Result<Claim> {
///     Ok(Claim {
///         id: ClaimId::random(),
///         seat: Seat::Lock(Name::new("nightly")?),
///         mode: Mode::Exclusive,
///         member: Name::new(member)?,
///         value: Bytes::new(),
///     })
/// };
/// let of_b = Step::Claim(claim("b")?);
/// let now = start + Duration::from_secs(6);
/// assert!(matches!(state.apply(now, a, &Step::Claim(claim("a")?)), Ok(Fact::Claimed(Standing::Held(_)))));
/// assert!(matches!(state.apply(now, b, &of_b), Ok(Fact::Claimed(Standing::Waiting(_)))));
///
/// // The lease of `a` ends at 10 s, and its seat passes on.
/// let now = start + ttl;
/// assert!(matches!(state.apply(now, b, &of_b), Ok(Fact::Claimed(Standing::Held(_)))));
/// # Ok::<(), tooz_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    now: Moment,
    /// The wall clock's time at the origin of moments.
    epoch: SystemTime,
    /// One count for all seats: bounded, and no seat sees a token twice even after it was forgotten.
    last_token: u64,
    /// One count for all subjects, for the same reason.
    last_mark: u64,
    sessions: BTreeMap<SessionId, Session>,
    expiries: BTreeSet<(Moment, SessionId)>,
    seats: BTreeMap<Seat, Contest>,
    retired: Retired,
    voids: Voids,
    groups: BTreeMap<Name, Group>,
    topics: Topics,
    news: BTreeSet<Subject>,
}

/// What somebody may be waiting for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A claim was granted, told to let go, or is gone.
    Claim(SessionId, ClaimId),
    /// Holders or queue of a seat changed.
    Seat(Seat),
    /// A group was created or deleted, or its members changed.
    Group(Name),
    /// Something was published to a channel, or it was lost.
    Channel(Channel),
    /// A session's membership of a group ended.
    Membership(SessionId, Name),
    /// A session ended.
    Session(SessionId),
    /// Some session ends earlier than any that was open before.
    Schedule,
}

impl State {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            now: Moment::ORIGIN,
            epoch: SystemTime::UNIX_EPOCH,
            last_token: 0,
            last_mark: 0,
            sessions: BTreeMap::new(),
            expiries: BTreeSet::new(),
            seats: BTreeMap::new(),
            retired: Retired::default(),
            voids: Voids::default(),
            groups: BTreeMap::new(),
            topics: Topics::default(),
            news: BTreeSet::new(),
        }
    }

    /// The same store, whose tokens are all larger than `token`.
    #[must_use]
    pub fn with_tokens_after(mut self, token: u64) -> Self {
        self.last_token = self.last_token.max(token);
        self
    }

    /// The same store, whose moments count from `epoch` on the wall clock: for the times members joined.
    #[must_use]
    pub fn with_epoch(mut self, epoch: SystemTime) -> Self {
        self.epoch = epoch;
        self
    }

    /// Brings the store to `now`: sessions whose time is up end, in the order of their expiry, and what
    /// they held passes on. Every step does this first. Time that seems to go back stands still.
    pub fn settle(&mut self, now: Moment) {
        self.news.clear();
        self.now = self.now.max(now);
        while let Some(at) = self.next_expiry()
            && at <= self.now
        {
            let due: Vec<SessionId> =
                self.expiries.iter().take_while(|(expiry, _)| *expiry == at).map(|(_, id)| *id).collect();
            self.end_sessions(&due, at);
        }
        self.voids.expire(self.now);
    }

    /// What changed in the last step, for those who wait for it. A wake-up per subject, never a broadcast.
    pub fn news(&self) -> impl Iterator<Item = &Subject> {
        self.news.iter()
    }

    /// When the next session ends unless it is renewed.
    pub fn next_expiry(&self) -> Option<Moment> {
        self.expiries.first().map(|(at, _)| *at)
    }

    /// The moment of the last step.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The largest token granted so far.
    pub fn last_token(&self) -> u64 {
        self.last_token
    }

    fn next_mark(&mut self) -> u64 {
        self.last_mark += 1;
        self.last_mark
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}
