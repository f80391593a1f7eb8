//! Running steps: to their end, whatever becomes of the caller.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;

use super::{Epoch, Session};
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
    /// The step is first polled in place, since an embedded store answers at once; what is left of it runs
    /// on a task that nobody can cancel by dropping the caller. A driver that panics has failed, no more.
    pub(crate) async fn attempt<T: Send + 'static>(
        &self,
        lane: Lane,
        step: &'static str,
        flight: Flight<T>,
    ) -> Result<T> {
        let timing = observe::Timing::of(step);
        let runtime = self.engine().lane(lane);
        let mut flight = AssertUnwindSafe(flight).catch_unwind();
        let at_once = poll_fn(|cx| {
            // Under a plain executor there is no runtime around; a driver's sockets need one.
            let _inside = runtime.enter();
            match flight.poll_unpin(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer.unwrap_or_else(|_| Err(panicked(step))))),
                Poll::Pending => Poll::Ready(None),
            }
        });
        let answer = match at_once.await {
            Some(answer) => answer,
            None => {
                let task = runtime.spawn(flight);
                // The driver keeps its own deadline; ours is for drivers that fail to.
                let patience = self.settings().attempt() + Duration::from_millis(500);
                tokio::select! {
                    biased;
                    ended = task => match ended {
                        Ok(answer) => answer.unwrap_or_else(|_| Err(panicked(step))),
                        Err(e) => {
                            let text = format!("{step}: the runtime that ran the step ended before the answer came");
                            Err(Error::new(ErrorKind::Unavailable, text).effect_unknown().with_source(e))
                        }
                    },
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
                Err(failure) => failure,
            };
            session.heed(&failure);
            unknown |= failure.effect() == Effect::Unknown;
            tries += 1;
            let pause = retry::back_off(tries, retry::dice());
            if !failure.is_transient() || self.now() + pause >= until {
                // An earlier attempt may have been carried out even if the last one was not.
                return Err(if unknown { failure.effect_unknown() } else { failure });
            }
            self.sleep(pause).await;
        }
    }

    /// The session there is, or the next one if it comes before `until`.
    pub(crate) async fn open_session(&self, until: Option<crate::clock::Moment>) -> Result<Arc<Session>> {
        let mut epochs = self.epochs();
        loop {
            if let Some(cause) = self.ending() {
                return Err(ended(cause));
            }
            let cause = match &*epochs.borrow_and_update() {
                Epoch::Open(session) => return Ok(Arc::clone(session)),
                Epoch::Ended(cause) => return Err(ended(*cause)),
                Epoch::Between(cause) => *cause,
            };
            let patience = until.map(|until| until.since(self.now()));
            if patience.is_some_and(|patience| patience.is_zero()) {
                let text = format!("{} is out of reach: the session was lost ({cause})", self.endpoint());
                return Err(Error::new(ErrorKind::Unavailable, text));
            }
            tokio::select! {
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

/// What is left of a step that panicked.
fn panicked(step: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("{step}: the driver panicked")).effect_unknown()
}

/// What a call on a coordinator that has ended gets.
pub(crate) fn ended(cause: Cause) -> Error {
    Error::new(ErrorKind::Closed, format!("the coordinator has ended: {cause}; connect again"))
}
