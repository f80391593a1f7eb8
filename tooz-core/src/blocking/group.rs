//! Groups without async.

use std::sync::Arc;

use serde::Serialize;

use super::{Election, Partitioned, Watched, block_on};
use crate::error::Result;
use crate::{Capabilities, Event, MembershipState, Name, Partitioner, Roster};

/// See [`crate::Group`].
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) inner: crate::Group,
}

impl Group {
    /// See [`crate::Group::create`].
    ///
    /// # Errors
    /// As there.
    pub fn create(&self) -> Result<()> {
        block_on(self.inner.create())
    }

    /// See [`crate::Group::create_if_missing`].
    ///
    /// # Errors
    /// As there.
    pub fn create_if_missing(&self) -> Result<bool> {
        block_on(self.inner.create_if_missing())
    }

    /// See [`crate::Group::delete`].
    ///
    /// # Errors
    /// As there.
    pub fn delete(&self) -> Result<()> {
        block_on(self.inner.delete())
    }

    /// See [`crate::Group::exists`].
    ///
    /// # Errors
    /// As there.
    pub fn exists(&self) -> Result<bool> {
        block_on(self.inner.exists())
    }

    /// See [`crate::Group::members`].
    ///
    /// # Errors
    /// As there.
    pub fn members(&self) -> Result<Roster> {
        block_on(self.inner.members())
    }

    /// See [`crate::Group::join`].
    ///
    /// # Errors
    /// As there.
    pub fn join<T: Serialize + ?Sized>(&self, capabilities: &T) -> Result<Membership> {
        block_on(self.inner.join(capabilities)).map(|inner| Membership { inner })
    }

    /// See [`crate::Group::join_with`].
    ///
    /// # Errors
    /// As there.
    pub fn join_with(&self, capabilities: Capabilities) -> Result<Membership> {
        block_on(self.inner.join_with(capabilities)).map(|inner| Membership { inner })
    }

    /// See [`crate::Group::watch`].
    ///
    /// # Errors
    /// As there.
    pub fn watch(&self) -> Result<View> {
        block_on(self.inner.watch()).map(|inner| View { inner })
    }

    /// See [`crate::Group::join_partitioned`].
    ///
    /// # Errors
    /// As there.
    pub fn join_partitioned(&self, weight: u32) -> Result<Partitioned> {
        block_on(self.inner.join_partitioned(weight)).map(Partitioned::from)
    }

    /// See [`crate::Group::partitioner`].
    ///
    /// # Errors
    /// As there.
    pub fn partitioner(&self) -> Result<Partitioner> {
        block_on(self.inner.partitioner())
    }

    /// See [`crate::Group::partitioner_with`].
    ///
    /// # Errors
    /// As there.
    pub fn partitioner_with(&self, partitions: u32) -> Result<Partitioner> {
        block_on(self.inner.partitioner_with(partitions))
    }

    /// See [`crate::Group::election`].
    pub fn election(&self) -> Election {
        Election { inner: self.inner.election() }
    }
}

/// See [`crate::Membership`]. Dropping it leaves the group in the background.
#[must_use = "dropping the membership leaves the group"]
#[derive(Debug)]
pub struct Membership {
    pub(super) inner: crate::Membership,
}

impl Membership {
    /// See [`crate::Membership::group`].
    pub fn group(&self) -> &Name {
        self.inner.group()
    }

    /// See [`crate::Membership::member`].
    pub fn member(&self) -> &Name {
        self.inner.member()
    }

    /// How it stands right now.
    pub fn state(&self) -> MembershipState {
        self.inner.state().borrow()
    }

    /// How it stands, to look at or to wait for; see [`crate::Membership::state`].
    pub fn watch_state(&self) -> Watched<MembershipState> {
        Watched { inner: self.inner.state() }
    }

    /// See [`crate::Membership::update`].
    ///
    /// # Errors
    /// As there.
    pub fn update<T: Serialize + ?Sized>(&self, capabilities: &T) -> Result<()> {
        block_on(self.inner.update(capabilities))
    }

    /// See [`crate::Membership::update_with`].
    ///
    /// # Errors
    /// As there.
    pub fn update_with(&self, capabilities: Capabilities) -> Result<()> {
        block_on(self.inner.update_with(capabilities))
    }

    /// See [`crate::Membership::leave`].
    ///
    /// # Errors
    /// As there.
    pub fn leave(self) -> Result<()> {
        block_on(self.inner.leave())
    }

    /// See [`crate::Membership::detach`].
    pub fn detach(self) {
        self.inner.detach();
    }
}

/// See [`crate::View`].
#[derive(Clone, Debug)]
pub struct View {
    inner: crate::View,
}

impl View {
    /// See [`crate::View::borrow`].
    pub fn borrow(&self) -> Arc<Roster> {
        self.inner.borrow()
    }

    /// Blocks until the members changed; see [`crate::View::changed`].
    ///
    /// # Errors
    /// As there.
    pub fn changed(&mut self) -> Result<()> {
        block_on(self.inner.changed())
    }

    /// Blocks until the next change; see [`crate::View::next_event`].
    ///
    /// # Errors
    /// As there.
    pub fn next_event(&mut self) -> Result<Event> {
        block_on(self.inner.next_event())
    }
}
