//! Locks without async.

use std::sync::Arc;
use std::time::Duration;

use super::block_on;
use crate::backend::{Eviction, Queue};
use crate::error::Result;
use crate::lock::released;
use crate::{Cause, ClaimId, FencingToken, Hold, Moment, Name};

/// See [`crate::Lock`].
#[derive(Clone, Debug)]
pub struct Lock {
    pub(super) inner: crate::Lock,
}

impl Lock {
    /// See [`crate::Lock::shared`].
    #[must_use]
    pub fn shared(self) -> Self {
        Self { inner: self.inner.shared() }
    }

    /// See [`crate::Lock::acquire`].
    ///
    /// # Errors
    /// As there.
    pub fn acquire(&self) -> Result<Guard> {
        block_on(self.inner.acquire()).map(|inner| Guard { inner })
    }

    /// See [`crate::Lock::try_acquire`].
    ///
    /// # Errors
    /// As there.
    pub fn try_acquire(&self) -> Result<Option<Guard>> {
        block_on(self.inner.try_acquire()).map(|won| won.map(|inner| Guard { inner }))
    }

    /// See [`crate::Lock::acquire_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn acquire_timeout(&self, limit: Duration) -> Result<Option<Guard>> {
        block_on(self.inner.acquire_timeout(limit)).map(|won| won.map(|inner| Guard { inner }))
    }

    /// Acquires, runs the work, releases. Blocking work cannot be cancelled: it looks at the hold itself.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire), and `Lost` if the lock was lost before the work had ended. As in
    /// [`crate::Lock::run`], failing to give back work that was done under the lock is no error.
    pub fn run<T>(&self, work: impl FnOnce(Hold) -> T) -> Result<T> {
        let guard = self.acquire()?;
        let done = work(guard.hold());
        released(guard.release()).map(|()| done)
    }

    /// See [`crate::Lock::queue`].
    ///
    /// # Errors
    /// As there.
    pub fn queue(&self) -> Result<Queue> {
        block_on(self.inner.queue())
    }

    /// See [`crate::Lock::watch`].
    ///
    /// # Errors
    /// As there.
    pub fn watch(&self) -> Result<QueueView> {
        block_on(self.inner.watch()).map(|inner| QueueView { inner })
    }

    /// See [`crate::Lock::evict`].
    ///
    /// # Errors
    /// As there.
    pub fn evict(&self, how: Eviction) -> Result<Vec<ClaimId>> {
        block_on(self.inner.evict(how))
    }
}

/// See [`crate::Guard`]. Dropping it gives the lock back in the background.
#[must_use = "the lock is given back when the guard is dropped"]
#[derive(Debug)]
pub struct Guard {
    pub(super) inner: crate::Guard,
}

impl Guard {
    /// See [`crate::Guard::fencing_token`].
    pub fn fencing_token(&self) -> FencingToken {
        self.inner.fencing_token()
    }

    /// See [`crate::Guard::is_held`].
    pub fn is_held(&self) -> bool {
        self.inner.is_held()
    }

    /// See [`crate::Guard::valid_for`].
    pub fn valid_for(&self, span: Duration) -> bool {
        self.inner.valid_for(span)
    }

    /// See [`crate::Guard::deadline`].
    pub fn deadline(&self) -> Option<Moment> {
        self.inner.deadline()
    }

    /// See [`crate::Guard::remaining`].
    pub fn remaining(&self) -> Option<Duration> {
        self.inner.remaining()
    }

    /// Blocks until the lock is lost; see [`crate::Guard::lost`].
    pub fn wait_lost(&self) -> Cause {
        block_on(self.inner.lost())
    }

    /// See [`crate::Guard::release`].
    ///
    /// # Errors
    /// As there.
    pub fn release(self) -> Result<()> {
        block_on(self.inner.release())
    }

    /// See [`crate::Guard::detach`].
    pub fn detach(self) {
        self.inner.detach();
    }

    /// See [`crate::Guard::name`].
    pub fn name(&self) -> Name {
        self.inner.name()
    }

    /// See [`crate::Guard::claim_id`].
    pub fn claim_id(&self) -> ClaimId {
        self.inner.claim_id()
    }

    /// See [`crate::Guard::hold`].
    pub fn hold(&self) -> Hold {
        self.inner.hold()
    }

    /// See [`crate::Guard::tether`].
    #[cfg(unix)]
    pub fn tether(&self) -> Option<std::os::fd::OwnedFd> {
        self.inner.tether()
    }
}

/// See [`crate::QueueView`].
#[derive(Clone, Debug)]
pub struct QueueView {
    pub(super) inner: crate::QueueView,
}

impl QueueView {
    /// See [`crate::QueueView::borrow`].
    pub fn borrow(&self) -> Arc<Queue> {
        self.inner.borrow()
    }

    /// Blocks until there is a newer look; see [`crate::QueueView::changed`].
    ///
    /// # Errors
    /// As there.
    pub fn changed(&mut self) -> Result<()> {
        block_on(self.inner.changed())
    }
}

impl Hold {
    /// [`lost`](Self::lost) for callers that block their thread.
    pub fn lost_blocking(&self) -> Cause {
        block_on(self.lost())
    }
}
