//! What steps report.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::Proof;
use crate::claim::{Claim, FencingToken, Mode};
use crate::id::{ClaimId, SessionId};
use crate::name::Name;

/// A driver's counter of changes to one subject: read before the look it comes with, handed back to
/// `stirred`, which ends at once when something changed since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

/// A claim that holds its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Strictly larger than any token of this seat before.
    pub token: FencingToken,
    /// How long the claim is proved to live. A guard is born only if it is still valid by this proof.
    pub proof: Proof,
}

/// Where a claim stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds the seat.
    Held(Grant),
    /// It stands in the queue.
    Waiting(Position),
}

/// A place in a seat's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Claims before this one, holders included, where the store told.
    pub ahead: Option<u64>,
    /// The driver's own note on the place, handed back to it unchanged.
    pub ticket: Bytes,
    /// Ask again after this time at the latest, where a push may be lost or a holder's lease runs out
    /// silently; `None` where the wait is sure to end.
    pub revisit: Option<Duration>,
}

/// How a wait for a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The seat was handed over to this claim.
    Granted(Grant),
    /// There may be news: send the claim again.
    AskAgain,
}

/// Whether an attempt of the claim to be withdrawn went unanswered, so that it may still land.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Every attempt was answered.
    None,
    /// An attempt may land after this withdrawal: leave a short-lived mark that makes it void.
    MayLand,
}

/// What a withdrawal found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawn {
    /// The claim held or waited, and does so no more.
    Removed,
    /// There was no such claim.
    Absent,
}

/// What an amendment found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amended {
    /// The holder's value is the new one.
    Done,
    /// The claim does not hold.
    Absent,
}

/// How to take a seat away from its holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// Tell the holders to stop claiming and let go.
    Notice,
    /// Remove the claims, whether they heard or not.
    Force,
}

/// Whether a seat is held or wanted right now, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Read before the rest: for `stirred`.
    pub mark: Mark,
    /// Those who hold, oldest grant first.
    pub holders: Vec<Holder>,
    /// Those who wait, in order.
    pub waiting: Vec<Contender>,
    /// Look again after this time at the latest, where a holder's lease runs out or another kind of client
    /// comes silently; `None` where `stirred` is sure to end.
    pub revisit: Option<Duration>,
}

/// One holder of a seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The claim; `None` where another kind of client left no readable id.
    pub claim: Option<ClaimId>,
    /// Who; `None` where another kind of client does not tell.
    pub member: Option<Name>,
    /// Alone or together with others.
    pub mode: Mode,
    /// The grant's token; `None` where another kind of client drew none.
    pub token: Option<FencingToken>,
    /// The election's value; `None` where unknown.
    pub value: Option<Bytes>,
    /// How long it has held, where the store can tell.
    pub age: Option<Duration>,
}

/// One claim in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// The claim; `None` where another kind of client left no readable id.
    pub claim: Option<ClaimId>,
    /// Who; `None` where another kind of client does not tell.
    pub member: Option<Name>,
    /// Alone or together with others.
    pub mode: Mode,
}

/// What a beat found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Applies to the session and to every claim passed in that is not `ousted`.
    pub proof: Proof,
    /// Claims passed in that neither hold nor wait any more.
    pub ousted: Vec<ClaimId>,
    /// Claims of this session that were not passed in, where the store can tell.
    pub stray: Vec<Claim>,
    /// Groups passed in that this member is no longer in.
    pub expelled: Vec<Name>,
}

/// A membership as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// The group joined.
    pub group: Name,
    /// Who joins.
    pub member: Name,
    /// The session that joins: the member's incarnation.
    pub session: SessionId,
    /// An earlier, lost session of the same coordinator, whose entry this one may replace.
    pub replaces: Option<SessionId>,
    /// Valid msgpack, at most 64 KiB.
    pub capabilities: Bytes,
}

/// What creating a group found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there now and was not before.
    New,
    /// It was there already.
    Existed,
}

/// What deleting a group found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was there, empty, and is gone.
    Gone,
    /// There was no such group.
    Missing,
    /// It still has members and stays.
    NotEmpty,
}

/// What joining found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The session is a member (now, or by an earlier attempt).
    Done,
    /// There is no such group.
    NoGroup,
    /// Another live session is a member under this member id. Nothing was changed.
    Taken,
}

/// What leaving found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// The session was a member and is no more.
    Done,
    /// The session was no member.
    Absent,
}

/// What updating capabilities found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Updated {
    /// The new capabilities stand.
    Done,
    /// The session is no member.
    Absent,
}

/// A group's live members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RosterFact {
    /// Read before the rest: for `stirred`.
    pub mark: Mark,
    /// The live members, in any order.
    pub members: Vec<RosterEntry>,
    /// Look again after this time at the latest, where a member's lease runs out or another kind of client
    /// comes and goes silently; `None` where `stirred` is sure to end.
    pub revisit: Option<Duration>,
}

/// One live member as the store shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterEntry {
    /// Who.
    pub member: Name,
    /// Which incarnation, where the store tells.
    pub session: Option<SessionId>,
    /// As stored.
    pub capabilities: Bytes,
    /// When the member joined, by the store's or the member's wall clock, where known.
    pub joined_at: Option<SystemTime>,
}
