//! What is left of a step whose caller was dropped.
//!
//! It goes on where it was, because a client crate's sockets and timers belong to the runtime they were made on. But that
//! runtime may be one that nobody drives any more, or whose thread blocks, and what the step has claimed would be held for
//! as long. So the engine looks after it: a rest that is not taken up, or that takes too long, is dropped half-way, as it
//! is where its runtime ends. A claim in it is then withdrawn in doubt.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::orders::ordered;

/// A runtime that is driven goes on with what it is given by then; nobody waits for this.
const TAKEN_UP: Duration = Duration::from_millis(250);

/// Lets it go on, for at most `patience`. Where the runtime has ended this drops the rest, as the end of the runtime did
/// with all of its tasks.
pub(super) fn go_on<F>(rest: F, runtime: &Handle, engine: &Handle, patience: Duration)
where
    F: Future + Send + Unpin + 'static,
    F::Output: Send,
{
    let rest = Arc::new(Rest { work: Mutex::new(Some(rest)), is_taken_up: AtomicBool::new(false) });
    let task = runtime.spawn(ordered(Going(Arc::clone(&rest))));
    if runtime.id() == engine.id() {
        return; // the engine is always driven, and the driver keeps its own deadline
    }
    engine.spawn(ordered(look_after(rest, task, patience)));
}

async fn look_after<F>(rest: Arc<Rest<F>>, mut task: tokio::task::JoinHandle<()>, patience: Duration) {
    if timeout(TAKEN_UP, &mut task).await.is_ok() {
        return;
    }
    if rest.is_taken_up.load(Ordering::Acquire) && timeout(patience, &mut task).await.is_ok() {
        return;
    }
    while !rest.cut() {
        // It is being polled right now: perhaps it ends.
        if timeout(TAKEN_UP, &mut task).await.is_ok() {
            return;
        }
    }
}

struct Rest<F> {
    work: Mutex<Option<F>>,
    is_taken_up: AtomicBool,
}

impl<F> Rest<F> {
    /// Drops what is left of the work; `false` where somebody is at it, for whom nobody may wait here.
    fn cut(&self) -> bool {
        let work = match self.work.try_lock() {
            Ok(mut work) => work.take(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().take(),
            Err(TryLockError::WouldBlock) => return false,
        };
        drop(work);
        true
    }
}

/// The task on the step's own runtime.
struct Going<F>(Arc<Rest<F>>);

impl<F: Future + Unpin> Future for Going<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.is_taken_up.store(true, Ordering::Release);
        let mut slot = self.0.work.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(work) = slot.as_mut() else { return Poll::Ready(()) };
        ready!(Pin::new(work).poll(cx));
        let done = slot.take();
        drop(slot);
        drop(done);
        Poll::Ready(())
    }
}
