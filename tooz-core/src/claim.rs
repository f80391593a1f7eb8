//! What is contended for, and by whom: seats, claims and fencing tokens.

use std::fmt;

use bytes::Bytes;

use crate::id::ClaimId;
use crate::name::Name;

/// What claims contend for. A leadership is the same contest as a lock, behind another door.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seat {
    /// The lock of this name.
    Lock(Name),
    /// The leadership of this group.
    Leader(Name),
}

impl Seat {
    /// The lock's or the group's name.
    pub fn name(&self) -> &Name {
        match self {
            Self::Lock(name) | Self::Leader(name) => name,
        }
    }
}

impl fmt::Display for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock(name) => write!(f, "lock \"{name}\""),
            Self::Leader(name) => write!(f, "leadership of \"{name}\""),
        }
    }
}

/// Whether a claim tolerates company.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Alone.
    Exclusive,
    /// Together with other shared claims.
    Shared,
}

/// One contender's wish for a seat. Sent again unchanged, it is the same claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Chosen before sending; ties attempts, grants and clean-up together.
    pub id: ClaimId,
    /// What is claimed.
    pub seat: Seat,
    /// Alone or together with others.
    pub mode: Mode,
    /// Who claims.
    pub member: Name,
    /// An election's value; empty for locks.
    pub value: Bytes,
}

/// A number that grows with every grant of a seat: pass it to the resource and have it refuse smaller ones.
///
/// A lock tells well-behaved processes not to start at the same time; it cannot stop a process that was
/// paused between its check and its write. The token lets the resource do that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// A token of this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_what_they_write_and_nothing_else() {
        let id = ClaimId::random();
        assert_eq!(ClaimId::parse(&id.to_string()), Some(id));
        assert_eq!(ClaimId::from_bytes(*id.as_bytes()), id);
        for text in ["", "xyz", "00000000-0000-0000-0000-000000000000", &"g".repeat(32), &"é".repeat(16)] {
            assert_eq!(ClaimId::parse(text), None, "{text}");
        }
    }
}
