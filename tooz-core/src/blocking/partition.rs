//! Partitioning without async. A [`Partitioner`] itself never waits: it is the same one.

use std::ops::Deref;

use super::block_on;
use crate::error::Result;
use crate::{Moves, Partitioner};

/// See [`crate::Partitioned`]. Dropping it leaves the group in the background.
#[must_use = "dropping it leaves the group"]
#[derive(Debug)]
pub struct Partitioned {
    pub(super) inner: crate::Partitioned,
}

impl Partitioned {
    /// See [`crate::Partitioned::partitioner`].
    pub fn partitioner(&self) -> &Partitioner {
        self.inner.partitioner()
    }

    /// What moves to and away from this member, from the ring as of now.
    pub fn changes(&self) -> Changes {
        Changes { inner: self.inner.changes() }
    }

    /// See [`crate::Partitioned::set_weight`].
    ///
    /// # Errors
    /// As there.
    pub fn set_weight(&self, weight: u32) -> Result<()> {
        block_on(self.inner.set_weight(weight))
    }

    /// See [`crate::Partitioned::leave`].
    ///
    /// # Errors
    /// As there.
    pub fn leave(self) -> Result<()> {
        block_on(self.inner.leave())
    }
}

impl Deref for Partitioned {
    type Target = Partitioner;

    fn deref(&self) -> &Partitioner {
        self.inner.partitioner()
    }
}

/// See [`crate::Changes`].
#[derive(Clone, Debug)]
pub struct Changes {
    inner: crate::Changes,
}

impl Changes {
    /// Blocks until the ring changes; see [`crate::Changes::next`].
    ///
    /// # Errors
    /// As there.
    #[allow(clippy::should_implement_trait, reason = "an iterator has no errors, and never ends by itself")]
    pub fn next(&mut self) -> Result<Moves> {
        block_on(self.inner.next())
    }
}

/// For a [`Partitioner`] that is not one's own membership's.
impl From<crate::Changes> for Changes {
    fn from(inner: crate::Changes) -> Self {
        Self { inner }
    }
}
