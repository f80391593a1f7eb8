//! Why a possession was lost.

use std::fmt;

/// Why a guard, a leadership or a session is lost. The first cause wins and stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Its deadline passed without a renewal that was acknowledged in time.
    Expired,
    /// Somebody broke the lock, or the store shows that the claim holds no more.
    Ousted,
    /// The store ended the session.
    SessionEnded,
    /// The coordinator was closed.
    Closed,
    /// The last coordinator handle was dropped.
    Orphaned,
    /// This process is a fork of the one that holds it.
    Forked,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the deadline passed without a renewal",
            Self::Ousted => "it was taken away in the store",
            Self::SessionEnded => "the store ended the session",
            Self::Closed => "the coordinator was closed",
            Self::Orphaned => "the coordinator was dropped",
            Self::Forked => "this process is a fork of the holder",
        })
    }
}
