//! Being a member that takes its part of the keys.

use std::ops::Deref;

use serde::Serialize;

use super::partitioner::Partitioner;
use crate::error::Result;
use crate::group::Membership;

/// What a member of a partitioned group says about itself, as Python members do.
#[derive(Serialize)]
pub(crate) struct Weight {
    pub(crate) weight: u32,
}

/// A membership of a partitioned group together with its [`Partitioner`].
///
/// # On drop
/// Leaves the group in the background.
#[must_use = "dropping it leaves the group"]
#[derive(Debug)]
pub struct Partitioned {
    membership: Membership,
    partitioner: Partitioner,
}

impl Partitioned {
    pub(crate) fn new(membership: Membership, partitioner: Partitioner) -> Self {
        Self { membership, partitioner }
    }

    pub(crate) fn into_parts(self) -> (Membership, Partitioner) {
        (self.membership, self.partitioner)
    }

    /// The membership.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// The partitioner, which goes on after the membership if it is cloned.
    pub fn partitioner(&self) -> &Partitioner {
        &self.partitioner
    }

    /// Asks for another part of the keys. Python members go on with the weight that they saw at first.
    ///
    /// # Errors
    /// As for [`Membership::update`].
    ///
    /// # Cancel safety
    /// As for [`Membership::update`].
    ///
    /// # Round trips
    /// As for [`Membership::update`].
    pub async fn set_weight(&self, weight: u32) -> Result<()> {
        self.membership.update(&Weight { weight }).await
    }

    /// Leaves the group, so that the others take over, and stops following it.
    ///
    /// # Errors
    /// As for [`Membership::leave`].
    ///
    /// # Cancel safety
    /// Leaving goes on when the future is dropped.
    ///
    /// # Round trips
    /// As for [`Membership::leave`].
    pub async fn leave(self) -> Result<()> {
        self.membership.leave().await
    }
}

impl Deref for Partitioned {
    type Target = Partitioner;

    fn deref(&self) -> &Partitioner {
        &self.partitioner
    }
}
