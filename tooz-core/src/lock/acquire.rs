//! The waiting loop of locks and elections: claim, wait for the turn, ask again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backend::{Doubt, Grant, Liveness, Position, Standing, Turn, Withdrawn};
use crate::claim::{Claim, FencingToken, Mode, Seat};
use crate::clock::Moment;
use crate::engine::Lane;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::lost::Cause;
use crate::session::validity::{self, claim_until};
use crate::session::{Flight, Gate, Place, Session, Stage, ended, locks};
use crate::shared::Core;
use crate::{observe, retry};

/// How long to wait for a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all.
    Not,
    /// Until this moment.
    Until(Moment),
    /// As long as it takes.
    Forever,
}

impl Patience {
    /// For this long; no time at all is a try.
    pub(crate) fn within(limit: Duration, now: Moment) -> Self {
        if limit.is_zero() { Self::Not } else { Self::Until(now + limit) }
    }

    fn until(self) -> Option<Moment> {
        match self {
            Self::Until(until) => Some(until),
            Self::Not | Self::Forever => None,
        }
    }
}

/// One wish for a seat.
#[derive(Clone, Debug)]
pub(crate) struct Contest {
    pub(crate) core: Arc<Core>,
    pub(crate) lane: Lane,
    pub(crate) seat: Seat,
    pub(crate) mode: Mode,
    pub(crate) value: Bytes,
}

/// A seat that was won, valid at that moment.
#[derive(Debug)]
pub(crate) struct Won {
    pub(crate) core: Arc<Core>,
    pub(crate) lane: Lane,
    pub(crate) place: Arc<Place>,
    pub(crate) token: FencingToken,
    pub(crate) since: Moment,
    /// The claim is not given back with this.
    pub(crate) stays: bool,
}

/// How the contest went within one session.
enum Outcome {
    Won(FencingToken),
    /// Not to be had within the caller's patience. Nothing is left behind.
    Missed,
    /// The session ended first.
    SessionOver,
}

impl Contest {
    /// Contends until won, out of patience, or failed. A claim ends with its session; the wish goes on.
    pub(crate) async fn run(self, patience: Patience) -> Result<Option<Won>> {
        let begun = self.core.now();
        let gate = self.core.ledger().gate(&self.seat);
        self.settle(&gate, patience).await;
        let limit = begun + self.core.settings().timeout;
        let mut next = self.session(patience, Some(limit)).await?;
        // An intent waits for the session after a lost one as long as its caller does.
        let limit = (patience == Patience::Not).then_some(limit);
        while let Some(session) = next {
            let member = self.core.settings().member.clone();
            let claim = Claim {
                id: self.core.chance().claim_id(),
                seat: self.seat.clone(),
                mode: self.mode,
                member,
                value: self.value.clone(),
            };
            let chores = self.core.chores().clone();
            let place = Arc::new(Place::new(claim, session.epoch, Arc::clone(&gate), chores));
            self.core.ledger().enter(&place);
            let contender = Contender { contest: &self, session: &session, place: &place, begun };
            match contender.contend(patience).await? {
                Outcome::Won(token) => {
                    let (core, lane) = (self.core, self.lane);
                    let since = core.now();
                    return Ok(Some(Won { core, lane, place, token, since, stays: false }));
                }
                Outcome::Missed => return Ok(None),
                Outcome::SessionOver => drop(place),
            }
            next = self.session(patience, limit).await?;
            // The store may still have what was claimed under the one before.
            self.settle(&gate, patience).await;
        }
        Ok(None)
    }

    /// Waits until what this coordinator just let go is given back: a try would find it held, and an acquire would
    /// queue behind its own past. If that takes too long, the store is asked as it is.
    async fn settle(&self, gate: &Gate, patience: Patience) {
        let settling = match patience {
            Patience::Not => self.core.settings().timeout,
            Patience::Until(until) => until.since(self.core.now()).min(self.core.settings().attempt()),
            Patience::Forever => self.core.settings().attempt(),
        };
        tokio::select! {
            biased;
            () = gate.open() => {}
            () = self.core.sleep(settling) => {}
        }
    }

    /// The session there is or the next one; `None` when the caller's time is up before, an error when only
    /// the call's is.
    async fn session(&self, patience: Patience, limit: Option<Moment>) -> Result<Option<Arc<Session>>> {
        let until = [patience.until(), limit].into_iter().flatten().min();
        match self.core.open_session(until).await {
            Ok(session) => Ok(Some(session)),
            Err(e) if e.kind() == ErrorKind::Unavailable && until == patience.until() => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// One claim under one session.
struct Contender<'a> {
    contest: &'a Contest,
    session: &'a Arc<Session>,
    place: &'a Arc<Place>,
    begun: Moment,
}

impl Contender<'_> {
    async fn contend(&self, patience: Patience) -> Result<Outcome> {
        let mut waited = false;
        let mut stale = 0;
        let mut pace = retry::Pace::default();
        loop {
            let standing = match patience {
                Patience::Not => self.try_once().await?,
                _ => self.ask(patience).await?,
            };
            let granted = match standing {
                Asked::Standing(Standing::Held(grant)) => Some(grant),
                Asked::Standing(Standing::Waiting(position)) => {
                    waited = true;
                    self.place.set_stage(Stage::Waiting);
                    match self.wait(&position, patience).await? {
                        Waited::Granted(grant) => Some(grant),
                        Waited::AskAgain => {
                            self.rest(pace.pause(self.contest.core.now())).await;
                            None
                        }
                        Waited::SessionOver => return Ok(Outcome::SessionOver),
                        Waited::OutOfTime => return self.give_up().await,
                    }
                }
                Asked::Busy => return Ok(Outcome::Missed),
                Asked::OutOfTime => return self.give_up().await,
                Asked::SessionOver => return Ok(Outcome::SessionOver),
            };
            let Some(grant) = granted else { continue };
            if let Some(token) = self.take(grant, waited) {
                return Ok(Outcome::Won(token));
            }
            stale += 1;
            match self.outwait_old_proof(stale, patience).await? {
                Waited::Granted(_) | Waited::AskAgain => {}
                Waited::SessionOver => return Ok(Outcome::SessionOver),
                Waited::OutOfTime => return self.give_up().await,
            }
        }
    }

    /// A guard is born only if it is valid at this moment, and for as long as the watch over deadlines may take to see it.
    fn take(&self, grant: Grant, waited: bool) -> Option<FencingToken> {
        let core = &self.contest.core;
        let now = core.now();
        let until = claim_until(grant.proof, core.settings().margin).max(self.place.proved());
        let soon = match core.profile().liveness {
            Liveness::Lease(ttl) => validity::notice(ttl) + validity::recheck(ttl),
            Liveness::Kernel => Duration::ZERO,
        };
        if !until.is_beyond(now, soon) || !self.session.tenure.is_valid(now) {
            return None;
        }
        self.place.hold(until);
        // The keeper may have lost the session, or the coordinator may have been closed, between the look
        // above and this line; then nobody else ends this claim.
        if let Some(cause) = self.session.tenure.cause().or(core.ending()) {
            self.place.lose_untold(cause);
        }
        self.session.watch.rouse();
        // Fails when the session is over: then there is nothing to watch.
        let _ = self.session.held.send(Arc::downgrade(self.place));
        observe::granted(now.since(self.begun), waited);
        Some(grant.token)
    }

    /// The store granted it, but on a proof that is over: the next answer may come with a newer one. Asks
    /// again after the next beat, or after a while, since a store may prove each claim by itself.
    async fn outwait_old_proof(&self, times: u32, patience: Patience) -> Result<Waited> {
        let core = &self.contest.core;
        let mut proof = self.session.proof.subscribe();
        tokio::select! {
            biased;
            cause = core.ended() => Err(ended(cause)),
            () = core.session_over(self.session.epoch) => Ok(Waited::SessionOver),
            () = self.out_of_time(patience) => Ok(Waited::OutOfTime),
            // An error means the session is gone, which the next step reports.
            _ = proof.changed() => Ok(Waited::AskAgain),
            () = core.sleep(retry::back_off(times, core.dice())) => Ok(Waited::AskAgain),
        }
    }

    async fn try_once(&self) -> Result<Asked> {
        let asked = self.send("try", Patience::Not, |session, claim| {
            Box::pin(async move { locks(&*session.backend)?.try_claim(&claim).await })
        });
        Ok(match asked.await? {
            Sent::Answer(Some(grant)) => Asked::Standing(Standing::Held(grant)),
            Sent::Answer(None) => {
                self.forget();
                Asked::Busy
            }
            Sent::SessionOver => Asked::SessionOver,
            Sent::OutOfTime => Asked::OutOfTime,
        })
    }

    async fn ask(&self, patience: Patience) -> Result<Asked> {
        let asked = self.send("claim", patience, |session, claim| {
            Box::pin(async move { locks(&*session.backend)?.claim(&claim).await })
        });
        Ok(match asked.await? {
            Sent::Answer(standing) => Asked::Standing(standing),
            Sent::SessionOver => Asked::SessionOver,
            Sent::OutOfTime => Asked::OutOfTime,
        })
    }

    /// Sends the claim until it is answered, always under the same id.
    async fn send<T: Send + 'static>(
        &self,
        step: &'static str,
        patience: Patience,
        make: impl Fn(Arc<Session>, crate::claim::Claim) -> Flight<T>,
    ) -> Result<Sent<T>> {
        let core = &self.contest.core;
        let limit = core.now() + core.settings().timeout;
        let mut tries = 0;
        loop {
            let before = self.place.stage();
            self.place.set_stage(Stage::Asked);
            // In this order: either the end is seen here, or whoever ends sees that the claim is asked for.
            if let Some(cause) = core.ending() {
                if before == Stage::Unsent {
                    self.place.settled();
                }
                return Err(ended(cause));
            }
            let flight = make(Arc::clone(self.session), self.place.claim());
            // The step keeps the place: it is withdrawn after the step's end, not while it is under way.
            let keep = Arc::clone(self.place);
            let flight = Box::pin(async move {
                let mut unanswered = Unanswered(Some(&keep));
                let answer = flight.await;
                if !answer.as_ref().is_err_and(|e: &Error| e.effect() == Effect::Unknown) {
                    unanswered.0 = None;
                }
                answer
            });
            let failure = match core.attempt(self.contest.lane, step, flight).await {
                Ok(answer) => return Ok(Sent::Answer(answer)),
                Err(failure) => core.meant(self.session, failure),
            };
            if failure.effect() == Effect::Unknown {
                self.place.set_unanswered();
            }
            self.session.heed(&failure);
            if failure.kind() == ErrorKind::SessionLost {
                return Ok(tokio::select! {
                    biased;
                    () = core.session_over(self.session.epoch) => Sent::SessionOver,
                    () = self.out_of_time(patience) => Sent::OutOfTime,
                });
            }
            tries += 1;
            let pause = retry::back_off(tries, core.dice());
            if !failure.is_transient() || core.now() + pause >= limit {
                return Err(failure);
            }
            tokio::select! {
                biased;
                () = core.sleep(pause) => {}
                () = core.session_over(self.session.epoch) => return Ok(Sent::SessionOver),
                () = self.out_of_time(patience) => return Ok(Sent::OutOfTime),
            }
        }
    }

    async fn wait(&self, position: &Position, patience: Patience) -> Result<Waited> {
        let core = &self.contest.core;
        let claim = self.place.claim();
        let Some(locks) = self.session.backend.locks() else { return Ok(Waited::AskAgain) };
        tokio::select! {
            biased;
            cause = core.ended() => Err(ended(cause)),
            turn = locks.turn(&claim, position) => Ok(match turn {
                Turn::Granted(grant) => Waited::Granted(grant),
                Turn::AskAgain => Waited::AskAgain,
            }),
            () = core.session_over(self.session.epoch) => Ok(Waited::SessionOver),
            () = self.place.nudged() => Ok(Waited::AskAgain),
            () = self.out_of_time(patience) => Ok(Waited::OutOfTime),
            () = core.sleep(position.revisit.unwrap_or(Duration::MAX)), if position.revisit.is_some() => {
                Ok(Waited::AskAgain)
            }
        }
    }

    /// Waits as long as the pace of asking wants; shorter than anybody's patience.
    async fn rest(&self, pause: Duration) {
        if !pause.is_zero() {
            self.contest.core.sleep(pause).await;
        }
    }

    async fn out_of_time(&self, patience: Patience) {
        let core = &self.contest.core;
        match patience.until() {
            Some(until) => core.sleep(until.since(core.now())).await,
            None => std::future::pending().await,
        }
    }

    /// Withdraws before reporting that time is up, so that nothing is left behind.
    async fn give_up(&self) -> Result<Outcome> {
        withdraw(&self.contest.core, self.contest.lane, self.place).await?;
        Ok(Outcome::Missed)
    }

    /// The store said no. If an earlier attempt may still land, the claim is withdrawn all the same.
    fn forget(&self) {
        if self.place.doubt() == Doubt::None {
            self.place.settled();
            self.contest.core.ledger().strike(self.place.id());
        }
    }
}

enum Asked {
    Standing(Standing),
    Busy,
    OutOfTime,
    SessionOver,
}

enum Sent<T> {
    Answer(T),
    OutOfTime,
    SessionOver,
}

enum Waited {
    Granted(Grant),
    AskAgain,
    OutOfTime,
    SessionOver,
}

/// Unless disarmed, the claim's attempt may still land: also when the runtime that ran it ended half-way.
struct Unanswered<'a>(Option<&'a Place>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.set_unanswered();
        }
    }
}

/// Withdraws a claim in the caller's time. What cannot be withdrawn is left to the janitor.
pub(crate) async fn withdraw(core: &Arc<Core>, lane: Lane, place: &Arc<Place>) -> Result<Withdrawn> {
    place.set_stage(Stage::Leaving);
    let doubt = place.doubt();
    let mut attempts = 0;
    let withdrawn = core
        .step(lane, "withdraw", |session| {
            attempts += 1;
            let keep = Arc::clone(place);
            let ledger = Arc::clone(core);
            Box::pin(async move {
                let withdrawn = locks(&*session.backend)?.withdraw(&keep.claim(), doubt).await?;
                // Said here, where the step ends even if its caller is gone.
                keep.settled();
                ledger.ledger().strike(keep.id());
                Ok(withdrawn)
            })
        })
        .await;
    match withdrawn {
        // An earlier attempt whose answer was lost may be what removed it.
        Ok(Withdrawn::Absent) if attempts > 1 => Ok(Withdrawn::Removed),
        Ok(withdrawn) => Ok(withdrawn),
        Err(failure) => {
            place.send_withdrawal();
            Err(failure)
        }
    }
}

/// Why a claim that was given back was not ours any more.
pub(crate) fn lost_error(cause: Cause) -> Error {
    Error::new(ErrorKind::Lost, format!("it was lost before: {cause}"))
}
