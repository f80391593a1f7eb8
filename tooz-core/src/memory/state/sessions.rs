//! Sessions and their leases.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{State, Subject};
use crate::backend::{Enrolment, Proof, Renewal};
use crate::claim::{Claim, Seat};
use crate::clock::Moment;
use crate::error::{Error, ErrorKind};
use crate::id::{ClaimId, SessionId};
use crate::name::Name;

/// Why a step was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The session that speaks has ended, or never was.
    SessionEnded,
    /// The claim was withdrawn before this attempt of it arrived.
    Void,
}

impl Refusal {
    /// The kind of error a driver answers with.
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::SessionEnded => ErrorKind::SessionLost,
            Self::Void => ErrorKind::Closed,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let text = match refusal {
            Refusal::SessionEnded => "the session has ended in the store",
            Refusal::Void => "the claim was withdrawn before",
        };
        Self::new(refusal.kind(), text)
    }
}

/// One live session and what stands under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) member: Name,
    pub(super) ttl: Duration,
    /// The first moment at which it is no more.
    expires: Moment,
    /// When the newest request that proved the session was sent, on the client's clock.
    sent: Moment,
    pub(super) claims: BTreeSet<(Seat, ClaimId)>,
    /// Group and member.
    pub(super) memberships: BTreeSet<(Name, Name)>,
}

impl Session {
    pub(super) fn proof(&self) -> Proof {
        Proof::Lease { sent: self.sent, ttl: self.ttl }
    }
}

impl State {
    /// Opens a session whose lease starts now. Opened again, it is renewed.
    pub fn open(&mut self, now: Moment, session: SessionId, member: &Name, ttl: Duration) -> Proof {
        self.open_sent(now, now, session, member, ttl)
    }

    pub(in crate::memory) fn open_sent(
        &mut self,
        now: Moment,
        sent: Moment,
        session: SessionId,
        member: &Name,
        ttl: Duration,
    ) -> Proof {
        self.settle(now);
        let before = self.next_expiry();
        self.sessions.entry(session).or_insert_with(|| Session {
            member: member.clone(),
            ttl,
            expires: self.now,
            sent,
            claims: BTreeSet::new(),
            memberships: BTreeSet::new(),
        });
        let proof = self.extend(session, sent).unwrap_or(Proof::Lease { sent, ttl });
        if before.is_none_or(|before| self.next_expiry().is_some_and(|next| next < before)) {
            self.news.insert(Subject::Schedule);
        }
        proof
    }

    /// Renews the session and reports which of its claims and memberships stand no more, and which claims
    /// stand that the caller does not know of.
    pub(in crate::memory) fn renew(
        &mut self,
        now: Moment,
        sent: Moment,
        session: SessionId,
        claims: &[Claim],
        memberships: &[Enrolment],
    ) -> Result<Renewal, Refusal> {
        self.settle(now);
        let proof = self.extend(session, sent).ok_or(Refusal::SessionEnded)?;
        let Some(record) = self.sessions.get(&session) else { return Err(Refusal::SessionEnded) };

        let known: BTreeSet<(&Seat, ClaimId)> = claims.iter().map(|claim| (&claim.seat, claim.id)).collect();
        let stray = record.claims.iter().filter(|(seat, id)| !known.contains(&(seat, *id)));
        Ok(Renewal {
            proof,
            ousted: claims
                .iter()
                .filter(|claim| !self.stands(session, claim))
                .map(|claim| claim.id)
                .collect(),
            stray: stray
                .filter_map(|(seat, id)| self.seats.get(seat)?.claim((session, *id)).cloned())
                .collect(),
            expelled: memberships
                .iter()
                .filter(|enrolment| !self.is_enrolled(session, enrolment))
                .map(|enrolment| enrolment.group.clone())
                .collect(),
        })
    }

    /// Ends the session; everything under it vanishes, and its seats pass on. Ended before, it stays so.
    pub(in crate::memory) fn close(&mut self, now: Moment, session: SessionId) {
        self.settle(now);
        self.end_sessions(&[session], self.now);
    }

    /// Ends every session of the member, as if their time were up.
    pub fn expire(&mut self, now: Moment, member: &Name) -> Vec<SessionId> {
        self.settle(now);
        let ids: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.member == *member)
            .map(|(id, _)| *id)
            .collect();
        self.end_sessions(&ids, self.now);
        ids
    }

    /// The store was down for a moment and kept its data: every lease starts anew.
    pub fn rearm(&mut self, now: Moment) {
        self.settle(now);
        self.expiries.clear();
        for (id, session) in &mut self.sessions {
            session.expires = self.now + session.ttl;
            self.expiries.insert((session.expires, *id));
        }
    }

    /// The store lost its data: sessions, seats, groups and messages are gone. Only tokens go on growing.
    pub fn wipe(&mut self, now: Moment) {
        self.settle(now);
        let mut news = BTreeSet::new();
        for (id, session) in std::mem::take(&mut self.sessions) {
            news.extend(session.claims.into_iter().map(|(_, claim)| Subject::Claim(id, claim)));
            news.extend(session.memberships.into_iter().map(|(group, _)| Subject::Membership(id, group)));
            news.insert(Subject::Session(id));
        }
        let mark = self.next_mark();
        for (seat, _) in std::mem::take(&mut self.seats) {
            self.retired.insert(seat.clone(), mark);
            news.insert(Subject::Seat(seat));
        }
        news.extend(std::mem::take(&mut self.groups).into_keys().map(Subject::Group));
        news.extend(self.topics.wipe(mark).map(Subject::Channel));
        self.expiries.clear();
        self.voids = Default::default();
        self.news.extend(news);
    }

    /// Ends sessions at one moment. All they had is taken out before anything passes on, so that no seat
    /// is handed to a session that ends at the same moment.
    pub(super) fn end_sessions(&mut self, ids: &[SessionId], at: Moment) {
        let mut vacated = BTreeSet::new();
        for id in ids {
            let Some(session) = self.sessions.remove(id) else { continue };
            self.expiries.remove(&(session.expires, *id));
            self.voids.forget(*id);
            self.news.insert(Subject::Session(*id));
            for (seat, claim) in session.claims {
                if let Some(contest) = self.seats.get_mut(&seat) {
                    contest.remove((*id, claim));
                }
                self.news.insert(Subject::Claim(*id, claim));
                vacated.insert(seat);
            }
            for (group, member) in session.memberships {
                self.strike(*id, &group, &member);
            }
        }
        for seat in vacated {
            self.pass_on(&seat, at);
        }
    }

    pub(super) fn proof(&self, session: SessionId) -> Result<Proof, Refusal> {
        self.sessions.get(&session).map(Session::proof).ok_or(Refusal::SessionEnded)
    }

    /// A lease is never shortened, and a proof never grows older: beats may overtake each other.
    fn extend(&mut self, id: SessionId, sent: Moment) -> Option<Proof> {
        let session = self.sessions.get_mut(&id)?;
        self.expiries.remove(&(session.expires, id));
        session.expires = session.expires.max(self.now + session.ttl);
        session.sent = session.sent.max(sent);
        self.expiries.insert((session.expires, id));
        Some(session.proof())
    }
}
