//! A clock that the case moves by hand, to see at which moment a driver read it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tooz_core::{Clock, Moment};

/// For tasks of the driver: so often they run before a request counts as under way.
const TURNS: usize = 2;

/// A clock that stands still unless it is moved.
#[derive(Debug)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    /// A clock that shows this moment.
    pub(crate) fn at(moment: Moment) -> Self {
        Self(AtomicU64::new(moment.as_nanos()))
    }

    /// Moves the clock on.
    pub(crate) fn advance(&self, step: Duration) {
        self.0.store((self.now() + step).as_nanos(), Ordering::SeqCst);
    }

    /// Takes a step of a session that is connected: once it has been begun, the clock moves on by `step`. What
    /// the driver read before it asked the store is the moment before, what it read after the answer a later one.
    ///
    /// What needs no wait has no moment between: there the clock stays.
    pub(crate) async fn moved_during<T>(&self, step: Duration, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        if let Poll::Ready(answer) = poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
            return answer;
        }
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        self.advance(step);
        call.await
    }

    /// Waits for what asks more than once, as opening a session does: the clock moves on by `step` whenever the
    /// driver is woken. Says whether it ever was, and so at which moment the last answer came at the earliest.
    pub(crate) async fn moved_at_every_answer<T>(
        &self,
        step: Duration,
        call: impl Future<Output = T>,
    ) -> (T, Option<Moment>) {
        let (mut call, mut turns) = (pin!(call), 0_usize);
        let output = poll_fn(|context| {
            turns += 1;
            self.advance(step);
            call.as_mut().poll(context)
        })
        .await;
        (output, (turns > 1).then(|| self.now()))
    }
}

impl Clock for Hand {
    fn now(&self) -> Moment {
        Moment::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    async fn asked_first(clock: &Hand) -> Moment {
        let sent = clock.now();
        tokio::task::yield_now().await;
        sent
    }

    async fn asked_after(clock: &Hand) -> Moment {
        tokio::task::yield_now().await;
        clock.now()
    }

    #[tokio::test]
    async fn a_moment_read_after_the_answer_is_told_from_one_before_the_request() {
        let clock = Hand::at(Moment::ORIGIN);
        let before = clock.now();

        assert_eq!(clock.moved_during(STEP, asked_first(&clock)).await, before);
        let before = clock.now();
        assert_eq!(clock.moved_during(STEP, asked_after(&clock)).await, before + STEP);
        let before = clock.now();
        assert_eq!(clock.moved_during(STEP, async { clock.now() }).await, before);
    }

    #[tokio::test]
    async fn a_moment_read_after_the_last_answer_is_told_from_any_before() {
        let clock = Hand::at(Moment::ORIGIN);
        let (sent, answered) = clock.moved_at_every_answer(STEP, asked_first(&clock)).await;
        assert!(sent < answered.unwrap());

        let (sent, answered) = clock.moved_at_every_answer(STEP, asked_after(&clock)).await;
        assert_eq!(Some(sent), answered);
        assert_eq!(clock.moved_at_every_answer(STEP, async {}).await.1, None);
    }
}
