//! One connection for each runtime that steps run on.

use std::collections::HashMap;
use std::fmt;
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
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(&runtime.id()) {
            return Ok(Arc::clone(&slot.cell));
        }
        let witness = Witness { slots: Arc::downgrade(&self.slots), runtime: runtime.id() };
        let witness = runtime.spawn(async move {
            let _ends_with_the_runtime = witness;
            std::future::pending::<()>().await;
        });
        let slot = Slot { cell: Arc::default(), witness: witness.abort_handle() };
        Ok(Arc::clone(&slots.entry(runtime.id()).or_insert(slot).cell))
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
}

impl<T> Drop for Witness<T> {
    fn drop(&mut self) {
        let Some(slots) = self.slots.upgrade() else { return };
        let forgotten = lock(&slots).remove(&self.runtime);
        // Closing a connection may take a while and may come back here: not under the lock.
        drop(forgotten);
    }
}

fn lock<T>(slots: &Slots<T>) -> MutexGuard<'_, HashMap<Id, Slot<T>>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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
