//! Elections without async.

use std::time::Duration;

use bytes::Bytes;

use super::{Guard, QueueView, block_on};
use crate::backend::Queue;
use crate::election::proclaim;
use crate::error::Result;
use crate::{Cause, FencingToken, Hold, Leader, Moment, Observation};

/// See [`crate::Election`].
#[derive(Clone, Debug)]
pub struct Election {
    pub(super) inner: crate::Election,
}

impl Election {
    /// See [`crate::Election::campaign`].
    ///
    /// # Errors
    /// As there.
    pub fn campaign(&self, value: impl Into<Bytes>) -> Result<Leadership> {
        block_on(self.inner.campaign(value)).map(Leadership::from)
    }

    /// See [`crate::Election::try_campaign`].
    ///
    /// # Errors
    /// As there.
    pub fn try_campaign(&self, value: impl Into<Bytes>) -> Result<Option<Leadership>> {
        block_on(self.inner.try_campaign(value)).map(|won| won.map(Leadership::from))
    }

    /// See [`crate::Election::campaign_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn campaign_timeout(&self, value: impl Into<Bytes>, limit: Duration) -> Result<Option<Leadership>> {
        block_on(self.inner.campaign_timeout(value, limit)).map(|won| won.map(Leadership::from))
    }

    /// See [`crate::Election::leader`].
    ///
    /// # Errors
    /// As there.
    pub fn leader(&self) -> Result<Option<Leader>> {
        block_on(self.inner.leader())
    }

    /// See [`crate::Election::queue`].
    ///
    /// # Errors
    /// As there.
    pub fn queue(&self) -> Result<Queue> {
        block_on(self.inner.queue())
    }

    /// See [`crate::Election::watch`].
    ///
    /// # Errors
    /// As there.
    pub fn watch(&self) -> Result<QueueView> {
        block_on(self.inner.watch()).map(|inner| QueueView { inner })
    }

    /// See [`crate::Election::observe`].
    ///
    /// # Errors
    /// As there.
    pub fn observe(&self) -> Result<Observer> {
        block_on(self.inner.observe()).map(|inner| Observer { inner })
    }
}

/// See [`crate::Leadership`]. Dropping it resigns in the background.
#[must_use = "dropping the leadership resigns"]
#[derive(Debug)]
pub struct Leadership {
    guard: Guard,
}

impl From<crate::Leadership> for Leadership {
    fn from(inner: crate::Leadership) -> Self {
        Self { guard: Guard { inner: inner.into_guard() } }
    }
}

impl Leadership {
    /// See [`crate::Leadership::term`].
    pub fn term(&self) -> FencingToken {
        self.guard.fencing_token()
    }

    /// See [`crate::Leadership::token`].
    pub fn token(&self) -> FencingToken {
        self.guard.fencing_token()
    }

    /// See [`crate::Leadership::is_held`].
    pub fn is_held(&self) -> bool {
        self.guard.is_held()
    }

    /// See [`crate::Leadership::valid_for`].
    pub fn valid_for(&self, span: Duration) -> bool {
        self.guard.valid_for(span)
    }

    /// See [`crate::Leadership::deadline`].
    pub fn deadline(&self) -> Option<Moment> {
        self.guard.deadline()
    }

    /// See [`crate::Leadership::remaining`].
    pub fn remaining(&self) -> Option<Duration> {
        self.guard.remaining()
    }

    /// Blocks until the leadership is lost; see [`crate::Leadership::lost`].
    pub fn wait_lost(&self) -> Cause {
        self.guard.wait_lost()
    }

    /// See [`crate::Leadership::proclaim`].
    ///
    /// # Errors
    /// As there.
    pub fn proclaim(&self, value: impl Into<Bytes>) -> Result<()> {
        block_on(proclaim(&self.guard.inner, value.into()))
    }

    /// See [`crate::Leadership::resign`].
    ///
    /// # Errors
    /// As there.
    pub fn resign(self) -> Result<()> {
        self.guard.release()
    }

    /// See [`crate::Leadership::detach`].
    pub fn detach(self) {
        self.guard.detach();
    }

    /// See [`crate::Leadership::hold`].
    pub fn hold(&self) -> Hold {
        self.guard.hold()
    }

    /// See [`crate::Leadership::guard`].
    pub fn guard(&self) -> &Guard {
        &self.guard
    }
}

/// See [`crate::Observer`]: an iterator that blocks until the next observation.
#[derive(Debug)]
pub struct Observer {
    inner: crate::Observer,
}

impl Observer {
    /// See [`crate::Observer::borrow`].
    pub fn borrow(&self) -> Observation {
        self.inner.borrow()
    }
}

impl Iterator for Observer {
    type Item = Observation;

    fn next(&mut self) -> Option<Observation> {
        block_on(self.inner.next())
    }
}
