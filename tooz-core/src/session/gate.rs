//! Waiting for what was just let go.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Withdrawals of one seat that are still under way: a new claim of the same coordinator waits for them,
/// so that `drop(guard); try_acquire()` succeeds.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    line: Mutex<Line>,
    settled: Notify,
}

/// Withdrawals in the order they were asked for.
#[derive(Debug, Default)]
struct Line {
    next: u64,
    pending: BTreeSet<u64>,
}

impl Gate {
    /// Ends when every withdrawal asked for before is done. Later ones are not waited for: where many come
    /// and go, there would always be one.
    pub(crate) async fn open(&self) {
        let before = self.line().next;
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.line().pending.first().is_none_or(|first| *first >= before) {
                return;
            }
            settled.await;
        }
    }

    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.line().pending.len()
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts as one pending withdrawal until dropped.
#[derive(Debug)]
pub(crate) struct Pending {
    gate: Arc<Gate>,
    number: u64,
}

impl Pending {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        let mut line = gate.line();
        let number = line.next;
        line.next += 1;
        line.pending.insert(number);
        drop(line);
        Self { gate, number }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.gate.line().pending.remove(&self.number);
        self.gate.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_gate_opens_when_what_came_before_is_done_whatever_comes_after() {
        let gate = Arc::new(Gate::default());
        let (first, second) = (Pending::new(Arc::clone(&gate)), Pending::new(Arc::clone(&gate)));
        let mut open = std::pin::pin!(gate.open());
        assert!(open.as_mut().now_or_never().is_none());
        let _later = Pending::new(Arc::clone(&gate));

        drop(second);
        assert!(open.as_mut().now_or_never().is_none());
        drop(first);

        assert!(open.as_mut().now_or_never().is_some());
    }
}
