//! Elections without async.

use std::time::Duration;

use bytes::Bytes;

use super::block_on;
use crate::error::Result;
use crate::{Cause, FencingToken, Hold, Leader, Observation};

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
        block_on(self.inner.campaign(value)).map(|inner| Leadership { inner })
    }

    /// See [`crate::Election::try_campaign`].
    ///
    /// # Errors
    /// As there.
    pub fn try_campaign(&self, value: impl Into<Bytes>) -> Result<Option<Leadership>> {
        block_on(self.inner.try_campaign(value)).map(|won| won.map(|inner| Leadership { inner }))
    }

    /// See [`crate::Election::campaign_timeout`].
    ///
    /// # Errors
    /// As there.
    pub fn campaign_timeout(&self, value: impl Into<Bytes>, limit: Duration) -> Result<Option<Leadership>> {
        block_on(self.inner.campaign_timeout(value, limit)).map(|won| won.map(|inner| Leadership { inner }))
    }

    /// See [`crate::Election::leader`].
    ///
    /// # Errors
    /// As there.
    pub fn leader(&self) -> Result<Option<Leader>> {
        block_on(self.inner.leader())
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
    inner: crate::Leadership,
}

impl Leadership {
    /// See [`crate::Leadership::term`].
    pub fn term(&self) -> FencingToken {
        self.inner.term()
    }

    /// See [`crate::Leadership::is_held`].
    pub fn is_held(&self) -> bool {
        self.inner.is_held()
    }

    /// See [`crate::Leadership::valid_for`].
    pub fn valid_for(&self, span: Duration) -> bool {
        self.inner.valid_for(span)
    }

    /// Blocks until the leadership is lost.
    pub fn wait_lost(&self) -> Cause {
        block_on(self.inner.lost())
    }

    /// See [`crate::Leadership::proclaim`].
    ///
    /// # Errors
    /// As there.
    pub fn proclaim(&self, value: impl Into<Bytes>) -> Result<()> {
        block_on(self.inner.proclaim(value))
    }

    /// See [`crate::Leadership::resign`].
    ///
    /// # Errors
    /// As there.
    pub fn resign(self) -> Result<()> {
        block_on(self.inner.resign())
    }

    /// See [`crate::Leadership::hold`].
    pub fn hold(&self) -> Hold {
        self.inner.hold()
    }
}

/// See [`crate::Observer`]: an iterator that blocks until the next observation.
#[derive(Debug)]
pub struct Observer {
    inner: crate::Observer,
}

impl Iterator for Observer {
    type Item = Observation;

    fn next(&mut self) -> Option<Observation> {
        block_on(self.inner.next())
    }
}
