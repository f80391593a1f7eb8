//! What a store offers, and what a user may insist on.

use std::fmt;
use std::time::Duration;

/// What a store offers. The suite checks every line in both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The driver's name.
    pub store: &'static str,
    /// Version and mode of the server, where there is one.
    pub server: Option<String>,
    /// What keeps a session alive.
    pub liveness: Liveness,
    /// Locks and elections, if any.
    pub locks: Option<LockProfile>,
    /// Groups, if any.
    pub groups: Option<GroupProfile>,
    /// Topics, if any.
    pub topics: Option<TopicProfile>,
    /// What an operator should know: an old version, a risky setting. Shown by `tooz doctor`.
    pub warnings: Vec<String>,
}

/// What keeps a session alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// The kernel: until the process ends or lets go. No heartbeat.
    Kernel,
    /// A lease that is renewed; the time to live as granted.
    Lease(Duration),
}

/// What a store offers for locks and elections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockProfile {
    /// How far tokens can be relied on.
    pub fencing: Fencing,
    /// In which order waiters are served.
    pub fairness: Fairness,
    /// Whether shared claims exist.
    pub shared: bool,
    /// How a waiter learns of its turn.
    pub wake_up: WakeUp,
    /// Within which time a holder that was told to let go learns of it on a good day.
    pub notice: Duration,
}

/// What a store offers for groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupProfile {
    /// How a watcher learns of changes.
    pub wake_up: WakeUp,
}

/// What a store offers for topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicProfile {
    /// How a subscriber learns of messages.
    pub wake_up: WakeUp,
    /// The largest body of one message in bytes. Core never sends more than
    /// [`MAX_PAYLOAD_BYTES`](crate::MAX_PAYLOAD_BYTES) and 4 KiB of its own.
    pub largest_body: usize,
    /// What whoever chooses this store should know first: what its topics are for and what not. Shown by
    /// `tooz doctor`.
    pub advice: Option<&'static str>,
}

impl TopicProfile {
    /// The largest body core ever sends: for stores that have no smaller limit.
    pub const FULL_BODY: usize = crate::message::MAX_PAYLOAD_BYTES + 4096;
}

/// How far fencing tokens can be relied on, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fencing {
    /// There are none.
    None,
    /// Strictly increasing while server clocks agree to less than a failover takes.
    ClockBound,
    /// Strictly increasing.
    Monotonic,
}

/// In which order waiters are served, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fairness {
    /// Whoever comes at the right moment.
    Barging,
    /// In the order the store saw them.
    Fifo,
}

/// How news arrives, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeUp {
    /// By looking again and again.
    Poll,
    /// By being told.
    Push,
}

/// Something a user insists on; checked when connecting.
///
/// ```
/// # async fn run() -> tooz_core::Result<()> {
/// use tooz_core::backend::{Fairness, Fencing};
/// use tooz_core::{Coordinator, Registry, Requirement};
///
/// let coord = Registry::embedded()
///     .builder("memory://docs-requirement")
///     .member("worker-1")
///     .require(Requirement::fencing(Fencing::Monotonic))
///     .require(Requirement::fairness(Fairness::Fifo))
///     .connect()
///     .await?;
/// # coord.close().await }
/// # pollster::block_on(run()).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirement(Need);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Fencing(Fencing),
    Fairness(Fairness),
    SharedLocks,
    Push,
    Groups,
    Topics,
}

impl Requirement {
    /// Fencing tokens at least this reliable.
    pub fn fencing(least: Fencing) -> Self {
        Self(Need::Fencing(least))
    }

    /// Waiters served at least this fairly.
    pub fn fairness(least: Fairness) -> Self {
        Self(Need::Fairness(least))
    }

    /// Shared locks.
    pub fn shared_locks() -> Self {
        Self(Need::SharedLocks)
    }

    /// Waiters and watchers are told, they do not poll.
    pub fn push() -> Self {
        Self(Need::Push)
    }

    /// Groups.
    pub fn groups() -> Self {
        Self(Need::Groups)
    }

    /// Topics and messages.
    pub fn topics() -> Self {
        Self(Need::Topics)
    }

    /// Whether a store of this profile has it.
    pub fn is_met_by(&self, profile: &Profile) -> bool {
        let locks = profile.locks.as_ref();
        match self.0 {
            Need::Fencing(least) => locks.is_some_and(|locks| locks.fencing >= least),
            Need::Fairness(least) => locks.is_some_and(|locks| locks.fairness >= least),
            Need::SharedLocks => locks.is_some_and(|locks| locks.shared),
            Need::Push => {
                locks.is_none_or(|locks| locks.wake_up == WakeUp::Push)
                    && profile.groups.as_ref().is_none_or(|groups| groups.wake_up == WakeUp::Push)
                    && profile.topics.as_ref().is_none_or(|topics| topics.wake_up == WakeUp::Push)
            }
            Need::Groups => profile.groups.is_some(),
            Need::Topics => profile.topics.is_some(),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Need::Fencing(least) => write!(f, "fencing tokens ({least:?} or better)"),
            Need::Fairness(least) => write!(f, "fairness ({least:?} or better)"),
            Need::SharedLocks => f.write_str("shared locks"),
            Need::Push => f.write_str("push wake-ups"),
            Need::Groups => f.write_str("groups"),
            Need::Topics => f.write_str("topics"),
        }
    }
}
