//! Questions that change nothing: what waits ask each time they are woken.

use super::State;
use super::contest::Place;
use crate::backend::{Enrolment, Grant, Turn};
use crate::claim::Claim;
use crate::id::SessionId;

impl State {
    /// Whether the session lives.
    pub(in crate::memory) fn is_open(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    /// Whether the claim holds or waits.
    pub(in crate::memory) fn stands(&self, session: SessionId, claim: &Claim) -> bool {
        self.seats.get(&claim.seat).is_some_and(|contest| contest.place((session, claim.id)).is_some())
    }

    /// How a wait for the claim's turn ends; `None` while it has to go on.
    pub(in crate::memory) fn turn(&self, session: SessionId, claim: &Claim) -> Option<Turn> {
        let place = self.seats.get(&claim.seat).and_then(|contest| contest.place((session, claim.id)));
        match (place, self.proof(session)) {
            (Some(Place::Waits(_)), Ok(_)) => None,
            (Some(Place::Holds(token)), Ok(proof)) => Some(Turn::Granted(Grant { token, proof })),
            _ => Some(Turn::AskAgain),
        }
    }

    /// Whether the claim was told to let go, or does not hold.
    pub(in crate::memory) fn is_ousted(&self, session: SessionId, claim: &Claim) -> bool {
        let hold = self.seats.get(&claim.seat).and_then(|contest| contest.hold((session, claim.id)));
        hold.is_none_or(|(_, hold)| hold.noticed)
    }

    /// Whether the membership stands and is this session's.
    pub(in crate::memory) fn is_enrolled(&self, session: SessionId, enrolment: &Enrolment) -> bool {
        let membership =
            self.groups.get(&enrolment.group).and_then(|group| group.members.get(&enrolment.member));
        enrolment.session == session && membership.is_some_and(|membership| membership.session == session)
    }
}
