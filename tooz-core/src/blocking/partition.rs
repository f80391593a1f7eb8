//! Partitioning without async. A [`Partitioner`] itself never waits: it is the same one.

use std::ops::Deref;

use super::{Membership, block_on};
use crate::error::Result;
use crate::partition::Weight;
use crate::{Moves, Partitioner};

/// See [`crate::Partitioned`]. Dropping it leaves the group in the background.
#[must_use = "dropping it leaves the group"]
#[derive(Debug)]
pub struct Partitioned {
    membership: Membership,
    partitioner: Partitioner,
}

impl From<crate::Partitioned> for Partitioned {
    fn from(joined: crate::Partitioned) -> Self {
        let (inner, partitioner) = joined.into_parts();
        Self { membership: Membership { inner }, partitioner }
    }
}

impl Partitioned {
    /// See [`crate::Partitioned::membership`].
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// See [`crate::Partitioned::partitioner`].
    pub fn partitioner(&self) -> &Partitioner {
        &self.partitioner
    }

    /// What moves to and away from this member, from the ring as of now.
    pub fn changes(&self) -> Changes {
        Changes { inner: self.partitioner.changes() }
    }

    /// See [`crate::Partitioned::set_weight`].
    ///
    /// # Errors
    /// As there.
    pub fn set_weight(&self, weight: u32) -> Result<()> {
        self.membership.update(&Weight { weight })
    }

    /// See [`crate::Partitioned::leave`].
    ///
    /// # Errors
    /// As there.
    pub fn leave(self) -> Result<()> {
        self.membership.leave()
    }
}

impl Deref for Partitioned {
    type Target = Partitioner;

    fn deref(&self) -> &Partitioner {
        &self.partitioner
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
