//! A value that many tasks wait on, told to them in the order in which they began to wait.
//!
//! Tokio's watch channel does the same but wakes its receivers in an order drawn at random. Which task acts
//! first after a session is lost would then differ from run to run, and no simulation could be played again.

use std::sync::{Arc, PoisonError};

use crate::sync::{Mutex, MutexGuard, Notify};

/// The value's owner. Dropping it ends every wait.
#[derive(Debug)]
pub(crate) struct Signal<T>(Arc<Shared<T>>);

/// One who waits for the value to change. Does not keep the owner.
#[derive(Debug)]
pub(crate) struct Signalled<T> {
    shared: Arc<Shared<T>>,
    /// The version seen last.
    seen: u64,
}

/// The value changes no more: it was the last, or the owner is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

#[derive(Debug)]
struct Shared<T> {
    slot: Mutex<Slot<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct Slot<T> {
    value: T,
    version: u64,
    gone: bool,
}

impl<T: Clone> Signal<T> {
    pub(crate) fn new(value: T) -> Self {
        let slot = Mutex::new(Slot { value, version: 0, gone: false });
        Self(Arc::new(Shared { slot, changed: Notify::new() }))
    }

    /// The value as it is.
    pub(crate) fn get(&self) -> T {
        self.0.slot().value.clone()
    }

    /// Replaces the value and tells.
    pub(crate) fn set(&self, value: T) {
        let mut slot = self.0.slot();
        let before = std::mem::replace(&mut slot.value, value);
        slot.version += 1;
        drop(slot);
        self.0.changed.notify_waiters();
        // Not under the lock: its end may ask for what stands here now.
        drop(before);
    }

    /// Lets `change` look at the value and change it; tells if it says that it did.
    pub(crate) fn modify(&self, change: impl FnOnce(&mut T) -> bool) {
        let mut slot = self.0.slot();
        if !change(&mut slot.value) {
            return;
        }
        slot.version += 1;
        drop(slot);
        self.0.changed.notify_waiters();
    }

    /// Replaces the value by its last: nobody waits for another. It is told once.
    pub(crate) fn end_with(&self, value: T) {
        let mut slot = self.0.slot();
        if slot.gone {
            return;
        }
        let before = std::mem::replace(&mut slot.value, value);
        slot.version += 1;
        slot.gone = true;
        drop(slot);
        self.0.changed.notify_waiters();
        drop(before);
    }

    /// Waits for changes from now on.
    pub(crate) fn subscribe(&self) -> Signalled<T> {
        let seen = self.0.slot().version;
        Signalled { shared: Arc::clone(&self.0), seen }
    }
}

impl<T> Drop for Signal<T> {
    fn drop(&mut self) {
        self.0.slot().gone = true;
        self.0.changed.notify_waiters();
    }
}

impl<T> Clone for Signalled<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T: Clone> Signalled<T> {
    /// The value as it is.
    pub(crate) fn get(&self) -> T {
        self.shared.slot().value.clone()
    }

    /// The value as it is, which counts as seen.
    pub(crate) fn look(&mut self) -> T {
        let slot = self.shared.slot();
        self.seen = slot.version;
        slot.value.clone()
    }

    /// Ends when the value is another than the one seen last.
    pub(crate) async fn changed(&mut self) -> Result<(), Gone> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // Before looking, so that no change falls in between.
            changed.as_mut().enable();
            {
                let slot = self.shared.slot();
                if slot.version != self.seen {
                    self.seen = slot.version;
                    return Ok(());
                }
                if slot.gone {
                    return Err(Gone);
                }
            }
            changed.await;
        }
    }

    /// Ends with the first value that `is_it`, at once if that is the present one.
    pub(crate) async fn wait_for(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Result<T, Gone> {
        loop {
            {
                // Not kept for the wait: it may be what somebody else lets go of meanwhile.
                let value = self.look();
                if is_it(&value) {
                    return Ok(value);
                }
            }
            self.changed().await?;
        }
    }
}

impl<T> Shared<T> {
    fn slot(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_told_in_the_order_in_which_they_began() {
        let signal = Signal::new(0);
        let told: Arc<Mutex<Vec<usize>>> = Arc::default();
        let mut tasks = Vec::new();
        for nth in 0..40 {
            let (mut signalled, told) = (signal.subscribe(), Arc::clone(&told));
            tasks.push(tokio::spawn(async move {
                signalled.changed().await.unwrap();
                told.lock().unwrap().push(nth);
            }));
        }
        tokio::task::yield_now().await;

        signal.set(1);

        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*told.lock().unwrap(), (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn a_change_between_two_waits_is_not_missed_and_none_is_invented() {
        let signal = Signal::new(0);
        let mut signalled = signal.subscribe();
        assert!(signalled.changed().now_or_never().is_none());
        signal.modify(|_| false);
        assert!(signalled.changed().now_or_never().is_none());

        signal.set(7);

        assert_eq!(signalled.changed().now_or_never(), Some(Ok(())));
        assert!(signalled.changed().now_or_never().is_none());
        assert_eq!(signalled.wait_for(|value| *value == 7).now_or_never(), Some(Ok(7)));
    }

    #[test]
    fn waits_end_with_their_owner_after_the_last_value() {
        let signal = Signal::new(0);
        let mut signalled = signal.subscribe();
        signal.set(3);
        drop(signal);
        assert_eq!(signalled.wait_for(|value| *value == 3).now_or_never(), Some(Ok(3)));
        assert_eq!(signalled.wait_for(|value| *value == 4).now_or_never(), Some(Err(Gone)));
    }

    #[test]
    fn the_last_value_is_told_once_and_no_other_is_waited_for() {
        let signal = Signal::new(0);
        let mut signalled = signal.subscribe();

        signal.end_with(3);
        signal.end_with(3);

        assert_eq!(signalled.changed().now_or_never(), Some(Ok(())));
        assert_eq!(signalled.changed().now_or_never(), Some(Err(Gone)));
        assert_eq!(signalled.get(), 3);
        assert_eq!(signal.subscribe().wait_for(|value| *value == 4).now_or_never(), Some(Err(Gone)));
    }
}
