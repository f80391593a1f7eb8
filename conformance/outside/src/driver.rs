//! The desk as tooz sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tooz_core::backend::{
    Amended, Backend, Contender, Doubt, Driver, Enrolment, Eviction, Fairness, Fencing, Grant, GroupSteps,
    Holder, Liveness, LockProfile, LockSteps, Mark, Opened, Opening, OptionSpec, Position, Profile, Proof,
    Queue, Renewal, Standing, TopicSteps, Turn, WakeUp, Withdrawn,
};
use tooz_core::{Cause, Claim, ClaimId, Endpoint, Error, ErrorKind, Mode, Result, Seat, SessionId};

use crate::desk::{Contest, Desk};

/// Opens sessions at `desk://name`.
pub struct DeskDriver;

struct DeskBackend {
    desk: Arc<Desk>,
    session: SessionId,
    profile: Profile,
    closed: AtomicBool,
}

fn profile() -> Profile {
    Profile {
        store: "desk",
        server: None,
        liveness: Liveness::Kernel,
        locks: Some(LockProfile {
            fencing: Fencing::Monotonic,
            fairness: Fairness::Fifo,
            shared: false,
            wake_up: WakeUp::Push,
            notice: Duration::from_millis(100),
        }),
        groups: None,
        topics: None,
        warnings: Vec::new(),
    }
}

#[async_trait]
impl Driver for DeskDriver {
    fn name(&self) -> &'static str {
        "desk"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["desk"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn profile(&self) -> Profile {
        profile()
    }

    async fn open(&self, endpoint: &Endpoint, opening: &Opening) -> Result<Opened> {
        let Some(host) = endpoint.hosts().first() else {
            return Err(Error::new(
                ErrorKind::InvalidUrl,
                format!("URL {endpoint} names no desk: write desk://name"),
            ));
        };
        let desk = Desk::named(&host.name);
        let session = opening.session;
        desk.change(|book| book.sessions.insert(session));
        let backend = DeskBackend { desk, session, profile: profile(), closed: AtomicBool::new(false) };
        Ok(Opened { backend: Arc::new(backend), proof: Proof::Kernel })
    }
}

impl DeskBackend {
    fn check(&self, claim: Option<&Claim>) -> Result<()> {
        let book = self.desk.book();
        if !book.sessions.contains(&self.session) {
            return Err(Error::new(ErrorKind::SessionLost, "the session at the desk has ended"));
        }
        match claim {
            Some(claim) if claim.mode == Mode::Shared => {
                Err(Error::new(ErrorKind::Unsupported, "a desk has no shared locks"))
            }
            Some(claim) if book.void.contains(&claim.id) => {
                Err(Error::new(ErrorKind::Closed, "the claim was withdrawn before"))
            }
            _ => Ok(()),
        }
    }

    /// Void? Mine already? Queued already? Free? Else queue, if it may.
    fn contend(&self, claim: &Claim, may_queue: bool) -> Result<Standing> {
        self.check(Some(claim))?;
        Ok(self.desk.change(|book| {
            let contest = book.seats.entry(claim.seat.clone()).or_default();
            if let Some((_, holder, token, _)) = &contest.holder
                && holder.id == claim.id
            {
                return Standing::Held(Grant { token: *token, proof: Proof::Kernel });
            }
            let place = contest.queue.iter().position(|(_, waiting)| waiting.id == claim.id);
            let is_next = place.map_or(contest.queue.is_empty(), |place| place == 0);
            if contest.holder.is_none() && is_next {
                if place.is_some() {
                    contest.queue.pop_front();
                }
                let token = book.next_token();
                let contest = book.seats.entry(claim.seat.clone()).or_default();
                contest.holder = Some((self.session, claim.clone(), token, false));
                return Standing::Held(Grant { token, proof: Proof::Kernel });
            }
            let place = place.unwrap_or(contest.queue.len());
            if place == contest.queue.len() && may_queue {
                contest.queue.push_back((self.session, claim.clone()));
            }
            book.tidy();
            Standing::Waiting(Position { ahead: None, ticket: Default::default(), revisit: None })
        }))
    }

    /// Waits until the session has ended or `look` says so of the seat.
    async fn until(&self, seat: &Seat, look: impl Fn(&Contest, u64) -> bool) {
        let empty = Contest::default();
        let ended = |book: &crate::desk::Book| !book.sessions.contains(&self.session);
        self.desk
            .until(|book, changes| ended(book) || look(book.seats.get(seat).unwrap_or(&empty), changes))
            .await;
    }
}

impl Drop for DeskBackend {
    fn drop(&mut self) {
        self.desk.end(self.session);
    }
}

#[async_trait]
impl Backend for DeskBackend {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn renew(&self, _claims: &[Claim], _memberships: &[Enrolment]) -> Result<Renewal> {
        Err(Error::new(ErrorKind::Unsupported, "a session at a desk needs no renewal"))
    }

    async fn lost(&self) -> Cause {
        self.desk.until(|book, _| !book.sessions.contains(&self.session)).await;
        if self.closed.load(Ordering::Acquire) { Cause::Closed } else { Cause::SessionEnded }
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        self.desk.end(self.session);
        Ok(())
    }

    fn locks(&self) -> Option<&dyn LockSteps> {
        Some(self)
    }

    fn groups(&self) -> Option<&dyn GroupSteps> {
        None
    }

    fn topics(&self) -> Option<&dyn TopicSteps> {
        None
    }
}

#[async_trait]
impl LockSteps for DeskBackend {
    async fn claim(&self, claim: &Claim) -> Result<Standing> {
        self.contend(claim, true)
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Option<Grant>> {
        match self.contend(claim, false)? {
            Standing::Held(grant) => Ok(Some(grant)),
            Standing::Waiting(_) => Ok(None),
        }
    }

    async fn turn(&self, claim: &Claim, _position: &Position) -> Turn {
        let its_turn = |contest: &Contest| match contest.queue.iter().position(|(_, c)| c.id == claim.id) {
            Some(place) => place == 0 && contest.holder.is_none(),
            None => true,
        };
        self.until(&claim.seat, |contest, _| its_turn(contest)).await;
        Turn::AskAgain
    }

    async fn amend(&self, claim: &Claim) -> Result<Amended> {
        self.check(None)?;
        Ok(self.desk.change(|book| match book.seats.get_mut(&claim.seat).and_then(|c| c.holder.as_mut()) {
            Some((_, holder, ..)) if holder.id == claim.id => {
                holder.value = claim.value.clone();
                Amended::Done
            }
            _ => Amended::Absent,
        }))
    }

    async fn withdraw(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn> {
        Ok(self.desk.change(|book| {
            if doubt == Doubt::MayLand {
                book.void.insert(claim.id);
            }
            let Some(contest) = book.seats.get_mut(&claim.seat) else { return Withdrawn::Absent };
            let waiting = contest.queue.len();
            contest.queue.retain(|(_, waiting)| waiting.id != claim.id);
            let held = contest.holder.take_if(|(_, holder, ..)| holder.id == claim.id).is_some();
            let found = held || contest.queue.len() < waiting;
            book.tidy();
            if found { Withdrawn::Removed } else { Withdrawn::Absent }
        }))
    }

    async fn evict(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>> {
        self.check(None)?;
        Ok(self.desk.change(|book| {
            let Some(contest) = book.seats.get_mut(seat) else { return Vec::new() };
            let Some((_, claim, _, told)) = &mut contest.holder else { return Vec::new() };
            if !only.is_empty() && !only.contains(&claim.id) {
                return Vec::new();
            }
            let hit = vec![claim.id];
            match how {
                Eviction::Notice => *told = true,
                Eviction::Force => contest.holder = None,
            }
            book.tidy();
            hit
        }))
    }

    async fn queue(&self, seat: &Seat) -> Result<Queue> {
        self.check(None)?;
        let mark = Mark(self.desk.changes());
        let book = self.desk.book();
        let Some(contest) = book.seats.get(seat) else { return Ok(Queue { mark, ..Queue::default() }) };
        let holders = contest.holder.iter().map(|(_, claim, token, _)| Holder {
            claim: Some(claim.id),
            member: Some(claim.member.clone()),
            mode: claim.mode,
            token: Some(*token),
            value: Some(claim.value.clone()),
            age: None,
        });
        let waiting = contest.queue.iter().map(|(_, claim)| Contender {
            claim: Some(claim.id),
            member: Some(claim.member.clone()),
            mode: claim.mode,
        });
        Ok(Queue { mark, holders: holders.collect(), waiting: waiting.collect(), revisit: None })
    }

    async fn stirred(&self, seat: &Seat, mark: Mark) {
        self.until(seat, |_, changes| changes > mark.0).await;
    }

    async fn ousted(&self, claim: &Claim) {
        let stands = |contest: &Contest| {
            contest.holder.as_ref().is_some_and(|(_, holder, _, told)| holder.id == claim.id && !told)
        };
        self.until(&claim.seat, |contest, _| !stands(contest)).await;
    }

    #[cfg(unix)]
    fn tether(&self, _claim: &Claim) -> Option<std::os::fd::OwnedFd> {
        None
    }
}
