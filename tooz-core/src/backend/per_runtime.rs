//! One connection for each runtime that steps run on.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::{Handle, Id};
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;

use crate::error::{Error, ErrorKind, Result};

/// Things that belong to the runtime that drives them, such as connections: one per runtime, opened on
/// first use, forgotten when its runtime ends.
///
/// A user's step runs on the user's own runtime, because a hop to the engine's thread would cost more than
/// the step. A socket cannot follow it there: it is driven by the runtime it was opened on.
///
/// ```
/// # async fn run() -> tooz_core::Result<()> {
/// use tooz_core::backend::PerRuntime;
///
/// let lines = PerRuntime::new();
/// let first = lines.get_or_open(|| async { Ok("a line") }).await?;
/// let again = lines.get_or_open(|| async { Ok("another line") }).await?;
/// assert_eq!(first, again);
/// # Ok(()) }
/// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
/// ```
pub struct PerRuntime<T> {
    slots: Arc<Slots<T>>,
}

type Slots<T> = Mutex<HashMap<Id, Slot<T>>>;

struct Slot<T> {
    cell: Arc<OnceCell<T>>,
    /// A task that sleeps on the runtime and forgets the slot when the runtime drops it.
    witness: AbortHandle,
}

impl<T: Clone + Send + Sync + 'static> PerRuntime<T> {
    /// Nothing opened yet.
    pub fn new() -> Self {
        Self { slots: Arc::default() }
    }

    /// What belongs to the current runtime; opens it if this is its first use there. Several callers at
    /// once open it once; after a failure the next call tries again.
    ///
    /// # Errors
    /// Those of `open`; `Internal` outside a runtime, where core never runs a step.
    pub async fn get_or_open<F>(&self, open: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>> + Send,
    {
        let cell = self.cell()?;
        cell.get_or_try_init(open).await.cloned()
    }

    fn cell(&self) -> Result<Arc<OnceCell<T>>> {
        let runtime = Handle::try_current().map_err(|e| {
            Error::new(ErrorKind::Internal, "a step was run outside a tokio runtime").with_source(e)
        })?;
        if let Some(slot) = lock(&self.slots).get(&runtime.id()) {
            return Ok(Arc::clone(&slot.cell));
        }
        let (cell, over) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let witness = Witness {
            slots: Arc::downgrade(&self.slots),
            runtime: runtime.id(),
            cell: Arc::downgrade(&cell),
            over: Arc::clone(&over),
        };
        // Not under the lock: a runtime that has been shut down drops the task, and the witness, at once.
        let task = runtime.spawn(async move {
            let _ends_with_the_runtime = witness;
            std::future::pending::<()>().await;
        });
        let mut slots = lock(&self.slots);
        if over.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "the runtime that this was called on has ended"));
        }
        if let Some(slot) = slots.get(&runtime.id()) {
            task.abort(); // another was faster
            return Ok(Arc::clone(&slot.cell));
        }
        slots.insert(runtime.id(), Slot { cell: Arc::clone(&cell), witness: task.abort_handle() });
        Ok(cell)
    }
}

impl<T> PerRuntime<T> {
    /// Forgets everything opened so far; what is in use stays with its users.
    pub fn clear(&self) {
        let slots = std::mem::take(&mut *lock(&self.slots));
        for slot in slots.values() {
            slot.witness.abort();
        }
    }

    /// For how many runtimes something is open or being opened.
    pub fn len(&self) -> usize {
        lock(&self.slots).len()
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone + Send + Sync + 'static> Default for PerRuntime<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for PerRuntime<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<T> fmt::Debug for PerRuntime<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerRuntime({} runtimes)", self.len())
    }
}

/// Dropped with its runtime.
struct Witness<T> {
    slots: Weak<Slots<T>>,
    runtime: Id,
    /// What it was made for: another's slot is not its own to forget.
    cell: Weak<OnceCell<T>>,
    /// Set under the lock, so that nothing is opened for a runtime that has ended.
    over: Arc<AtomicBool>,
}

impl<T> Drop for Witness<T> {
    fn drop(&mut self) {
        let Some(slots) = self.slots.upgrade() else { return };
        let mut slots = lock(&slots);
        self.over.store(true, Ordering::SeqCst);
        let is_own =
            slots.get(&self.runtime).is_some_and(|slot| Arc::as_ptr(&slot.cell) == self.cell.as_ptr());
        let forgotten = is_own.then(|| slots.remove(&self.runtime));
        drop(slots);
        // Closing a connection may take a while and may come back here: not under the lock.
        drop(forgotten);
    }
}

fn lock<T>(slots: &Slots<T>) -> MutexGuard<'_, HashMap<Id, Slot<T>>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    async fn numbered(lines: &PerRuntime<usize>, opened: &AtomicUsize) -> usize {
        lines.get_or_open(|| async { Ok(opened.fetch_add(1, Ordering::SeqCst)) }).await.unwrap()
    }

    #[test]
    fn every_runtime_opens_its_own_and_opens_it_once() {
        let (lines, opened) = (PerRuntime::new(), AtomicUsize::new(0));
        let (first, second) = (runtime(), runtime());

        let both =
            first.block_on(async { tokio::join!(numbered(&lines, &opened), numbered(&lines, &opened)) });
        assert_eq!(both, (0, 0));
        assert_eq!(second.block_on(numbered(&lines, &opened)), 1);
        assert_eq!(first.block_on(numbered(&lines, &opened)), 0);
    }

    /// Interleaving 35: a program that makes a runtime for each piece of work leaves nothing behind.
    #[test]
    fn what_belonged_to_an_ended_runtime_is_forgotten() {
        let (lines, opened) = (PerRuntime::new(), AtomicUsize::new(0));
        for _ in 0..100 {
            runtime().block_on(numbered(&lines, &opened));
        }
        assert_eq!((opened.into_inner(), lines.len()), (100, 0));
    }

    /// The task that watches over what was forgotten ends later than what comes next begins.
    #[test]
    fn what_is_opened_right_after_clearing_stays() {
        let (lines, opened) = (PerRuntime::new(), AtomicUsize::new(0));
        runtime().block_on(async {
            numbered(&lines, &opened).await;
            lines.clear();
            assert_eq!(numbered(&lines, &opened).await, 1);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!((numbered(&lines, &opened).await, lines.len()), (1, 1));
        });
    }

    /// As a blocking thread finds it that outlives its runtime.
    #[test]
    fn on_a_runtime_that_has_ended_nothing_is_opened_and_nobody_waits() {
        let lines = Arc::new(PerRuntime::<usize>::new());
        let ended = runtime();
        let (handle, of_thread) = (ended.handle().clone(), Arc::clone(&lines));
        ended.shutdown_background();
        let (done, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _inside = handle.enter();
            let opening = pollster::block_on(of_thread.get_or_open(|| async { Ok(1) }));
            done.send(opening.map_err(|error| error.kind())).unwrap();
        });
        let opening = told.recv_timeout(std::time::Duration::from_secs(10)).expect("nobody waits");
        assert_eq!(opening, Err(ErrorKind::Unavailable));
        assert!(lines.is_empty());
    }

    #[test]
    fn a_failure_to_open_is_tried_again_by_the_next() {
        let lines = PerRuntime::new();
        let runtime = runtime();
        let refused = || Error::new(ErrorKind::Unavailable, "connection refused");
        assert!(runtime.block_on(lines.get_or_open(|| async { Err(refused()) })).is_err());
        assert_eq!(runtime.block_on(lines.get_or_open(|| async { Ok(7) })).unwrap(), 7);
    }

    #[test]
    fn outside_a_runtime_nothing_is_opened() {
        let lines = PerRuntime::new();
        let opening = pollster::block_on(lines.get_or_open(|| async { Ok(1) }));
        assert_eq!(opening.unwrap_err().kind(), ErrorKind::Internal);
        assert!(lines.is_empty());
    }
}
