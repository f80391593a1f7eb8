//! All that stands in a store, at one moment.

use std::fmt;

use super::State;
use crate::claim::{FencingToken, Mode, Seat};
use crate::id::{ClaimId, SessionId};
use crate::name::Name;

/// All that stands in a store at one moment: for tests that prove that nothing stays behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Live sessions and their members.
    pub sessions: Vec<(SessionId, Name)>,
    /// Claims that hold, by seat and age.
    pub held: Vec<(Place, FencingToken)>,
    /// Claims that wait, by seat and place in the queue.
    pub queued: Vec<Place>,
    /// Memberships: group, member, session.
    pub joined: Vec<(Name, Name, SessionId)>,
    /// Groups, empty ones included: they stay until somebody deletes them.
    pub groups: Vec<Name>,
    /// Marks of withdrawn claims, which go by themselves.
    pub voids: usize,
}

/// One claim and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What is claimed.
    pub seat: Seat,
    /// The claim.
    pub claim: ClaimId,
    /// Alone or together with others.
    pub mode: Mode,
    /// Who claims.
    pub member: Name,
    /// Under which session.
    pub session: SessionId,
}

impl Snapshot {
    /// One sentence for each session, claim and membership that is still there. Empty groups do not count.
    pub fn leftovers(&self) -> Vec<String> {
        let sessions = self.sessions.iter().map(|(id, member)| format!("session {id} of \"{member}\""));
        let held = self.held.iter().map(|(place, token)| format!("{place} holds with token {token}"));
        let queued = self.queued.iter().map(|place| format!("{place} waits"));
        let joined = self
            .joined
            .iter()
            .map(|(group, member, session)| format!("\"{member}\" in \"{group}\" by session {session}"));
        sessions.chain(held).chain(queued).chain(joined).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "claim {} of \"{}\" on {}", self.claim, self.member, self.seat)
    }
}

impl State {
    /// All that stands in the store as of the last step.
    pub fn snapshot(&self) -> Snapshot {
        let place = |seat: &Seat, claim: &crate::claim::Claim, session| Place {
            seat: seat.clone(),
            claim: claim.id,
            mode: claim.mode,
            member: claim.member.clone(),
            session,
        };
        let mut snapshot = Snapshot {
            sessions: self.sessions.iter().map(|(id, session)| (*id, session.member.clone())).collect(),
            groups: self.groups.keys().cloned().collect(),
            voids: self.voids.len(),
            ..Snapshot::default()
        };
        for (seat, contest) in &self.seats {
            let held = contest.holders().map(|(token, hold)| (place(seat, &hold.claim, hold.session), token));
            snapshot.held.extend(held);
            snapshot.queued.extend(contest.waiting().map(|entry| place(seat, &entry.claim, entry.session)));
        }
        for (name, group) in &self.groups {
            let joined = group.members.iter().map(|(member, m)| (name.clone(), member.clone(), m.session));
            snapshot.joined.extend(joined);
        }
        snapshot
    }
}
