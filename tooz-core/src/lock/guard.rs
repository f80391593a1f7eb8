//! Holding a lock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::Hold;
use super::acquire::{Won, lost_error, withdraw};
use crate::backend::Withdrawn;
use crate::claim::FencingToken;
use crate::clock::Moment;
use crate::error::{Error, Result};
use crate::id::ClaimId;
use crate::lost::Cause;
use crate::name::Name;
use crate::observe;

/// Proof that this member holds a lock, until it is dropped, released or lost.
///
/// # On drop
/// The lock is given back in the background: dropping is one send, works without a runtime, never blocks
/// and never panics. A process that exits right after may end before that is done; use
/// [`release`](Self::release) or [`Coordinator::close`](crate::Coordinator::close), or let
/// [`scope`](crate::scope) do it. [`detach`](Self::detach) is the way out.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct Guard {
    won: Won,
}

impl Guard {
    pub(crate) fn new(won: Won) -> Self {
        Self { won }
    }

    /// A number that grows with every grant of this lock. Pass it to the resource and have it refuse
    /// smaller ones.
    pub fn fencing_token(&self) -> FencingToken {
        self.won.token
    }

    /// Whether the lock is still held: a comparison of the boot clock with the deadline, no request. Right
    /// also when the runtime is starved or the process was stopped. Once `false`, always `false`.
    ///
    /// # Differs by driver
    /// With a store kept by the kernel there is no deadline: `true` until ousted or given back.
    pub fn is_held(&self) -> bool {
        self.won.place.is_held(self.won.core.now())
    }

    /// Whether the lock is held and will be for longer than `span` without any further renewal.
    pub fn valid_for(&self, span: Duration) -> bool {
        let now = self.won.core.now();
        self.won.place.remaining(now).is_some_and(|until| until.is_beyond(now, span))
    }

    /// Until when the lock is held without any further renewal; `None` if it is lost, or if the kernel
    /// keeps it without a deadline.
    pub fn deadline(&self) -> Option<Moment> {
        self.won.place.remaining(self.won.core.now())?.moment()
    }

    /// The time to the [`deadline`](Self::deadline), zero when lost; `None` if there is no deadline.
    pub fn remaining(&self) -> Option<Duration> {
        let now = self.won.core.now();
        match self.won.place.remaining(now) {
            None => Some(Duration::ZERO),
            Some(until) => until.moment().map(|until| until.since(now)),
        }
    }

    /// Ends when the lock is lost, at the deadline at the latest: before the store can grant anyone else. Where it is the
    /// deadline that comes, it is told a little earlier (60 ms, or a quarter of a time to live below 240 ms), and the lock
    /// is given back at the deadline, or when the guard is dropped.
    ///
    /// # Cancel safety
    /// May be dropped and called again; a loss is never missed.
    pub async fn lost(&self) -> Cause {
        if self.won.place.is_foreign_process() {
            return Cause::Forked;
        }
        self.is_held();
        self.won.place.lost().await
    }

    /// Gives the lock back and waits until the store has confirmed it.
    ///
    /// # Errors
    /// `Lost` if the lock had been lost before: somebody else may have held it meanwhile. `Unavailable` if
    /// the store stays silent; giving back then goes on in the background.
    ///
    /// # Cancel safety
    /// Giving back goes on when the future is dropped.
    ///
    /// # Round trips
    /// One.
    pub async fn release(self) -> Result<()> {
        let seat = self.won.place.claim().seat;
        self.won
            .give_back()
            .instrument(observe::call("release", &seat))
            .await
            .map_err(|e| e.while_doing(format_args!("release {seat}")))
    }

    /// Stops guarding: the lock stays held and renewed until the coordinator is closed or its session
    /// ends.
    pub fn detach(self) {
        self.won.detach();
    }

    /// The lock's name.
    pub fn name(&self) -> Name {
        self.won.place.claim().seat.name().clone()
    }

    /// The claim's id, as shown by [`Lock::queue`](super::Lock::queue).
    pub fn claim_id(&self) -> ClaimId {
        self.won.place.id()
    }

    /// A look at the guard for the work done under it.
    pub fn hold(&self) -> Hold {
        Hold::new(Arc::clone(&self.won.core), Arc::downgrade(&self.won.place), self.won.token)
    }

    /// A descriptor that keeps the lock held for as long as it stays open in any process; `None` where the
    /// store has no such thing. For supervisors that outlive the process that took the lock.
    #[cfg(unix)]
    pub fn tether(&self) -> Option<std::os::fd::OwnedFd> {
        self.won.tether()
    }

    pub(crate) fn lost_error(&self, cause: Cause) -> Error {
        let seat = self.won.place.claim().seat;
        lost_error(cause).while_doing(seat)
    }

    pub(crate) fn won(&self) -> &Won {
        &self.won
    }
}

impl Won {
    pub(crate) async fn give_back(self) -> Result<()> {
        if self.place.is_foreign_process() {
            return Err(lost_error(Cause::Forked)); // what stands in the store is the other process's
        }
        let held = self.place.is_held(self.core.now());
        let cause = self.place.tenure().cause();
        observe::released(self.core.now().since(self.since));
        self.place.let_go();
        let withdrawn = withdraw(&self.core, self.lane, &self.place).await;
        match (held, cause, withdrawn) {
            (false, cause, _) => Err(lost_error(cause.unwrap_or(Cause::Expired))),
            (true, _, Ok(Withdrawn::Removed)) => Ok(()),
            (true, _, Ok(Withdrawn::Absent)) => Err(lost_error(Cause::Ousted)),
            (true, _, Err(failure)) => Err(failure),
        }
    }

    /// Forgets the guard, not the claim: the ledger renews it as long as the place exists.
    pub(crate) fn detach(mut self) {
        self.stays = true;
        self.core.ledger().keep(Arc::clone(&self.place));
    }

    #[cfg(unix)]
    pub(crate) fn tether(&self) -> Option<std::os::fd::OwnedFd> {
        let session = self.core.current_session()?;
        if session.epoch != self.place.epoch() {
            return None;
        }
        session.backend.locks()?.tether(&self.place.claim())
    }
}

impl Drop for Won {
    fn drop(&mut self) {
        if !self.stays {
            self.place.leave();
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (claim, token) = (self.claim_id(), self.fencing_token());
        write!(f, "Guard({claim}, token {token}, held: {})", self.is_held())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use crate::clock::TokioClock;
    use crate::{Engine, Registry};

    /// A beat, or the watch over deadlines, looks at the claim while its guard is dropped.
    #[tokio::test(start_paused = true)]
    async fn a_try_after_a_drop_waits_for_whoever_looks_at_the_claim() {
        let builder = Registry::embedded().builder("memory://guard-looked-at");
        let coord = builder.engine(Engine::Current).clock(TokioClock::new()).connect().await.unwrap();
        let lock = coord.lock("x");
        let guard = lock.acquire().await.unwrap();
        let looking = coord.core().ledger().places();
        assert_eq!(looking.len(), 1);

        drop(guard);
        let mut trying = Box::pin(lock.try_acquire());
        assert!(trying.as_mut().now_or_never().is_none(), "the claim is not withdrawn yet");
        drop(looking);

        let guard = trying.await.unwrap().expect("it was given back first");
        guard.detach();
        assert!(lock.try_acquire().await.unwrap().is_none(), "what is detached is not given back");
        coord.close().await.unwrap();
    }
}
