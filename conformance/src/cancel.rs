//! Dropping a future at each of its awaits in turn.
//!
//! A caller may stop waiting at any await: a `select!` lost, a timeout, an aborted task. [`at_every_await`]
//! makes a future anew again and again and drops it after 1, 2, 3 … polls, until it ends by itself or has
//! nothing more to do, so that every await it has is a place where it was dropped once.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

/// What became of a future that was cut.
#[derive(Debug, PartialEq, Eq)]
pub enum Cut<T> {
    /// It ended by itself before the cut.
    Ended(T),
    /// It was dropped right after so many polls.
    Dropped,
    /// It was dropped while it waited for something that did not come.
    Parked,
}

/// Polls `future` at most `polls` times, each time when it asks for it, then drops it.
///
/// A future that is not woken for `idle` is dropped too.
pub async fn after<T>(polls: usize, idle: Duration, future: impl Future<Output = T>) -> Cut<T> {
    meanwhile(polls, async {}, idle, future).await
}

/// The same, but the drop comes so much later than the last poll: what the future waited for may have happened.
pub async fn a_while_after<T>(
    polls: usize,
    pause: Duration,
    idle: Duration,
    future: impl Future<Output = T>,
) -> Cut<T> {
    let paused = async {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    };
    meanwhile(polls, paused, idle, future).await
}

/// The same, but something else is done between the last poll and the drop.
pub async fn meanwhile<T>(
    polls: usize,
    other: impl Future<Output = ()>,
    idle: Duration,
    future: impl Future<Output = T>,
) -> Cut<T> {
    let mut future = pin!(future);
    let counted = Counted { future: future.as_mut(), left: polls };
    match tokio::time::timeout(idle, counted).await {
        Ok(Some(output)) => Cut::Ended(output),
        Ok(None) => {
            other.await;
            Cut::Dropped
        }
        Err(_) => Cut::Parked,
    }
}

/// Makes, cuts and judges futures until one ends by itself or is parked; says how many were dropped.
///
/// `make` is called for each cut and `judge` after it, with what became of it: that is where a case looks
/// for what must not be left behind. A future with more than a thousand awaits is a defect of its own.
pub async fn at_every_await<T, F: Future<Output = T>>(
    idle: Duration,
    mut make: impl FnMut() -> F,
    mut judge: impl AsyncFnMut(Cut<T>),
) -> usize {
    const MOST: usize = 1000;
    for polls in 1..=MOST {
        let cut = after(polls, idle, make()).await;
        let over = !matches!(cut, Cut::Dropped);
        judge(cut).await;
        if over {
            return polls - 1;
        }
    }
    crate::verdict::fail(format!("the future did not end within {MOST} polls"))
}

struct Counted<'a, F> {
    future: Pin<&'a mut F>,
    left: usize,
}

impl<F: Future> Future for Counted<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(output) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 { Poll::Ready(None) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_of_three_awaits_is_dropped_at_each_of_them() {
        let mut reached = Vec::new();
        let progress = std::cell::Cell::new(0);
        let dropped = at_every_await(
            Duration::from_secs(1),
            || async {
                progress.set(0);
                for _ in 0..3 {
                    tokio::task::yield_now().await;
                    progress.set(progress.get() + 1);
                }
            },
            async |cut| reached.push((cut, progress.get())),
        )
        .await;
        assert_eq!(dropped, 3);
        assert_eq!(reached, [(Cut::Dropped, 0), (Cut::Dropped, 1), (Cut::Dropped, 2), (Cut::Ended(()), 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_future_that_waits_for_nothing_is_parked() {
        let cut = after(5, Duration::from_secs(1), std::future::pending::<()>()).await;
        assert_eq!(cut, Cut::Parked);
    }
}
