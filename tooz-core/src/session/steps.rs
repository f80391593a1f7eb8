//! Running steps: to their end, whatever becomes of the caller.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::CatchUnwind;
use tokio::runtime::Handle;

use super::{Epoch, Session, left};
use crate::engine::Lane;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::lost::Cause;
use crate::shared::Core;
use crate::{observe, retry};

/// A step under way: owns all it needs, so that it can outlive its caller.
pub(crate) type Flight<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

impl Core {
    /// Runs one attempt of a step to its end, and waits for its answer for at most the step's time.
    ///
    /// The step is polled in place as long as its caller waits, since a task of its own would cost more than
    /// many a store's answer. What is left of it when its caller is dropped goes on as a task that its caller cannot
    /// cancel ([`left`](super::left)). A driver that panics has failed, no more.
    pub(crate) async fn attempt<T: Send + 'static>(
        &self,
        lane: Lane,
        step: &'static str,
        flight: Flight<T>,
    ) -> Result<T> {
        let timing = observe::Timing::of(step);
        // The driver keeps its own deadline; ours is for drivers that fail to.
        let patience = self.settings().attempt() + Duration::from_millis(500);
        let mut under_way = UnderWay {
            step,
            flight: Some(AssertUnwindSafe(flight).catch_unwind()),
            runtime: self.engine().lane(lane),
            engine: self.engine().handle().clone(),
            patience,
            process: self.engine().process(),
        };
        let at_once = poll_fn(|cx| match under_way.poll_unpin(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => Poll::Ready(None),
        });
        let answer = match at_once.await {
            Some(answer) => answer,
            None => {
                tokio::select! {
                    biased;
                    answer = &mut under_way => answer,
                    () = self.sleep(patience) => Err(self.no_answer(step, patience)),
                }
            }
        };
        timing.end(answer.as_ref().err());
        answer
    }

    fn no_answer(&self, step: &str, patience: Duration) -> Error {
        let text = format!("{step}: no answer from {} in {patience:?}", self.endpoint());
        Error::new(ErrorKind::Unavailable, text).effect_unknown()
    }

    /// Runs a step of whatever session there is, trying again after transient failures until the call's
    /// time is up. `make` builds one attempt.
    pub(crate) async fn step<T: Send + 'static>(
        &self,
        lane: Lane,
        step: &'static str,
        mut make: impl FnMut(Arc<Session>) -> Flight<T>,
    ) -> Result<T> {
        let until = self.now() + self.settings().timeout;
        let mut tries = 0;
        let mut unknown = false;
        loop {
            let session = self.open_session(Some(until)).await?;
            let failure = match self.attempt(lane, step, make(Arc::clone(&session))).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => self.meant(&session, failure),
            };
            session.heed(&failure);
            unknown |= failure.effect() == Effect::Unknown;
            tries += 1;
            let pause = retry::back_off(tries, self.dice());
            if !failure.is_transient() || self.now() + pause >= until {
                // An earlier attempt may have been carried out even if the last one was not.
                return Err(if unknown { failure.effect_unknown() } else { failure });
            }
            self.sleep(pause).await;
        }
    }

    /// What a step's failure means to its caller. A lost session is closed behind the back of steps that are under
    /// way or about to be sent: their callers have closed nothing, and go on with the next.
    pub(crate) fn meant(&self, session: &Session, failure: Error) -> Error {
        if session.tenure.cause().is_some() { self.meant_by_one_before(failure) } else { failure }
    }

    /// The same of a session that is over for sure.
    pub(crate) fn meant_by_one_before(&self, failure: Error) -> Error {
        let is_closed = failure.kind() == ErrorKind::Closed && self.ending().is_none();
        if is_closed { failure.of_kind(ErrorKind::SessionLost) } else { failure }
    }

    /// The session there is, or the next one if it comes before `until`.
    pub(crate) async fn open_session(&self, until: Option<crate::clock::Moment>) -> Result<Arc<Session>> {
        let mut epochs = self.epochs();
        loop {
            if let Some(cause) = self.ending() {
                return Err(ended(cause));
            }
            let cause = match epochs.look() {
                Epoch::Open(session) => return Ok(session),
                Epoch::Ended(cause) => return Err(ended(cause)),
                Epoch::Between(cause) => cause,
            };
            let patience = until.map(|until| until.since(self.now()));
            if patience.is_some_and(|patience| patience.is_zero()) {
                let text = format!("{} is out of reach: the session was lost ({cause})", self.endpoint());
                return Err(Error::new(ErrorKind::Unavailable, text));
            }
            tokio::select! {
                biased;
                changed = epochs.changed() => changed.map_err(|_| ended(Cause::Closed))?,
                cause = self.ended() => return Err(ended(cause)),
                () = self.sleep(patience.unwrap_or(Duration::MAX)), if patience.is_some() => {}
            }
        }
    }

    /// Ends when this session is no longer the current one.
    pub(crate) async fn session_over(&self, epoch: u64) {
        let mut epochs = self.epochs();
        // An error means that the keeper is gone, and the session with it.
        let _ = epochs.wait_for(|now| !matches!(now, Epoch::Open(session) if session.epoch == epoch)).await;
    }
}

/// A step that is polled by its caller and, should that be dropped, goes on by itself.
struct UnderWay<T: Send + 'static> {
    step: &'static str,
    flight: Option<CatchUnwind<AssertUnwindSafe<Flight<T>>>>,
    /// Drives the driver's sockets and timers, wherever the caller polls from.
    runtime: Handle,
    engine: Handle,
    /// How long what is left of it may take.
    patience: Duration,
    process: u32,
}

impl<T: Send + 'static> Future for UnderWay<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let step = self.step;
        let this = &mut *self;
        let Some(flight) = &mut this.flight else { return Poll::Ready(Err(panicked(step))) };
        let _inside = this.runtime.enter();
        match flight.poll_unpin(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(answer) => {
                this.flight = None;
                Poll::Ready(answer.unwrap_or_else(|_| Err(panicked(step))))
            }
        }
    }
}

impl<T: Send + 'static> Drop for UnderWay<T> {
    fn drop(&mut self) {
        let Some(flight) = self.flight.take() else { return };
        if self.process == process::id() {
            left::go_on(flight, &self.runtime, &self.engine, self.patience);
        } else {
            // A fork has a copy of the runtime's memory and must not touch it.
            std::mem::forget(flight);
        }
    }
}

/// What is left of a step that panicked.
fn panicked(step: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("{step}: the driver panicked")).effect_unknown()
}

/// What a call on a coordinator that has ended gets.
pub(crate) fn ended(cause: Cause) -> Error {
    Error::new(ErrorKind::Closed, format!("the coordinator has ended: {cause}; connect again"))
}
