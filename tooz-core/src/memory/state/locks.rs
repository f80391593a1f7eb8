//! Steps of locks and elections.

use bytes::Bytes;

use super::contest::{Entry, Place};
use super::{Refusal, State, Subject};
use crate::backend::{
    Amended, Contender, Doubt, Eviction, Grant, Holder, Mark, Position, Queue, Standing, Withdrawn,
};
use crate::claim::{Claim, FencingToken, Seat};
use crate::clock::Moment;
use crate::id::{ClaimId, SessionId};

impl State {
    /// Takes the seat or a place in its queue. Void? Mine already? Queued already? Free? Else queue.
    pub(in crate::memory) fn claim(
        &mut self,
        now: Moment,
        session: SessionId,
        claim: &Claim,
    ) -> Result<Standing, Refusal> {
        if let Some(grant) = self.try_claim(now, session, claim)? {
            return Ok(Standing::Held(grant));
        }
        let contest = self.seats.entry(claim.seat.clone()).or_default();
        let place = contest.place((session, claim.id));
        let ticket = match place {
            Some(Place::Waits(ticket)) => ticket,
            _ => contest.enqueue(Entry { session, claim: claim.clone() }),
        };
        let position =
            Position { ahead: Some(contest.ahead_of(ticket)), ticket: Bytes::new(), revisit: None };
        if place.is_none() {
            self.note(session, claim);
            self.stir(&claim.seat);
        }
        Ok(Standing::Waiting(position))
    }

    /// Takes the seat if nobody is in the way; otherwise changes nothing.
    pub(in crate::memory) fn try_claim(
        &mut self,
        now: Moment,
        session: SessionId,
        claim: &Claim,
    ) -> Result<Option<Grant>, Refusal> {
        self.settle(now);
        // The session's last proof, not this moment: a claim's own success proves no lease.
        let proof = self.proof(session)?;
        let party = (session, claim.id);
        if self.voids.contains(party) {
            return Err(Refusal::Void);
        }
        let contest = self.seats.get(&claim.seat);
        match contest.and_then(|contest| contest.place(party)) {
            Some(Place::Holds(token)) => return Ok(Some(Grant { token, proof })),
            Some(Place::Waits(_)) => return Ok(None),
            None => {}
        }
        if contest.is_some_and(|contest| !contest.is_free_for(claim.mode)) {
            return Ok(None);
        }
        let token = self.next_token();
        let entry = Entry { session, claim: claim.clone() };
        self.seats.entry(claim.seat.clone()).or_default().seat(entry, token, self.now);
        self.note(session, claim);
        self.stir(&claim.seat);
        Ok(Some(Grant { token, proof }))
    }

    /// Replaces the value of a claim that holds.
    pub(in crate::memory) fn amend(
        &mut self,
        now: Moment,
        session: SessionId,
        claim: &Claim,
    ) -> Result<Amended, Refusal> {
        self.settle(now);
        self.proof(session)?;
        let contest = self.seats.get_mut(&claim.seat);
        let Some(hold) = contest.and_then(|contest| contest.hold_mut((session, claim.id))) else {
            return Ok(Amended::Absent);
        };
        if hold.claim.value != claim.value {
            hold.claim.value = claim.value.clone();
            self.stir(&claim.seat);
        }
        Ok(Amended::Done)
    }

    /// Takes the claim out wherever it stands and passes the seat on. Of an ended session nothing stands.
    pub(in crate::memory) fn withdraw(
        &mut self,
        now: Moment,
        session: SessionId,
        claim: &Claim,
        doubt: Doubt,
    ) -> Withdrawn {
        self.settle(now);
        let Some(record) = self.sessions.get(&session) else { return Withdrawn::Absent };
        if doubt == Doubt::MayLand {
            self.voids.insert((session, claim.id), self.now, record.ttl);
        }
        match self.take_out(session, &claim.seat, claim.id) {
            true => Withdrawn::Removed,
            false => Withdrawn::Absent,
        }
    }

    /// Tells holders to let go, or takes the seat from them; all of them, or those named in `only`.
    pub(in crate::memory) fn evict(
        &mut self,
        now: Moment,
        seat: &Seat,
        how: Eviction,
        only: &[ClaimId],
    ) -> Vec<ClaimId> {
        self.settle(now);
        let Some(contest) = self.seats.get(seat) else { return Vec::new() };
        let meant: Vec<(SessionId, ClaimId)> = contest
            .holders()
            .map(|(_, hold)| (hold.session, hold.claim.id))
            .filter(|(_, id)| only.is_empty() || only.contains(id))
            .collect();
        match how {
            Eviction::Notice => meant.iter().for_each(|party| self.notice(seat, *party)),
            Eviction::Force => {
                // All first, then the queue: a shared waiter must not slip in beside a holder yet to go.
                for (session, id) in &meant {
                    self.remove(*session, seat, *id);
                }
                if !meant.is_empty() {
                    self.pass_on(seat, self.now);
                }
            }
        }
        meant.into_iter().map(|(_, id)| id).collect()
    }

    /// Who holds and who waits.
    pub(in crate::memory) fn queue(&mut self, now: Moment, seat: &Seat) -> Queue {
        self.settle(now);
        let mark = self.seat_mark(seat);
        let Some(contest) = self.seats.get(seat) else { return Queue { mark, ..Queue::default() } };
        let holders = contest.holders().map(|(token, hold)| Holder {
            claim: Some(hold.claim.id),
            member: Some(hold.claim.member.clone()),
            mode: hold.claim.mode,
            token: Some(token),
            value: Some(hold.claim.value.clone()),
            age: Some(self.now.since(hold.since)),
        });
        let waiting = contest.waiting().map(|entry| Contender {
            claim: Some(entry.claim.id),
            member: Some(entry.claim.member.clone()),
            mode: entry.claim.mode,
        });
        Queue { mark, holders: holders.collect(), waiting: waiting.collect(), revisit: None }
    }

    /// The mark of the seat's last change.
    pub(in crate::memory) fn seat_mark(&self, seat: &Seat) -> Mark {
        Mark(self.seats.get(seat).map_or_else(|| self.retired.mark(seat), |contest| contest.mark))
    }

    /// Hands the seat to the head of its queue, and to every shared claim that follows a shared head.
    pub(super) fn pass_on(&mut self, seat: &Seat, at: Moment) {
        while let Some(entry) = self.seats.get_mut(seat).and_then(super::contest::Contest::next) {
            self.news.insert(Subject::Claim(entry.session, entry.claim.id));
            let token = self.next_token();
            if let Some(contest) = self.seats.get_mut(seat) {
                contest.seat(entry, token, at);
            }
        }
        self.stir(seat);
    }

    fn take_out(&mut self, session: SessionId, seat: &Seat, id: ClaimId) -> bool {
        let found = self.remove(session, seat, id);
        if found {
            self.pass_on(seat, self.now);
        }
        found
    }

    fn remove(&mut self, session: SessionId, seat: &Seat, id: ClaimId) -> bool {
        let contest = self.seats.get_mut(seat);
        let found = contest.and_then(|contest| contest.remove((session, id))).is_some();
        if found {
            if let Some(record) = self.sessions.get_mut(&session) {
                record.claims.remove(&(seat.clone(), id));
            }
            self.news.insert(Subject::Claim(session, id));
        }
        found
    }

    fn notice(&mut self, seat: &Seat, party: (SessionId, ClaimId)) {
        if let Some(hold) = self.seats.get_mut(seat).and_then(|contest| contest.hold_mut(party)) {
            hold.noticed = true;
            self.news.insert(Subject::Claim(party.0, party.1));
        }
    }

    fn note(&mut self, session: SessionId, claim: &Claim) {
        if let Some(record) = self.sessions.get_mut(&session) {
            record.claims.insert((claim.seat.clone(), claim.id));
        }
        self.news.insert(Subject::Claim(session, claim.id));
    }

    /// The seat changed: a new mark for it, wherever that stands from now on.
    fn stir(&mut self, seat: &Seat) {
        let mark = self.next_mark();
        match self.seats.get_mut(seat) {
            Some(contest) if !contest.is_empty() => {
                contest.mark = mark;
                self.retired.remove(seat);
            }
            _ => {
                self.seats.remove(seat);
                self.retired.insert(seat.clone(), mark);
            }
        }
        self.news.insert(Subject::Seat(seat.clone()));
    }

    fn next_token(&mut self) -> FencingToken {
        self.last_token += 1;
        FencingToken::new(self.last_token)
    }
}
