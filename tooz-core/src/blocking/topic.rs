//! Topics without async.

use std::time::Duration;

use bytes::Bytes;

use super::{Group, block_on};
use crate::backend::Retention;
use crate::engine::Lane;
use crate::error::{ErrorKind, Result};
use crate::{Delivery, From, Mail, Offset};

/// See [`crate::Topic`].
#[derive(Clone, Debug)]
pub struct Topic {
    pub(super) inner: crate::Topic,
}

impl Topic {
    /// See [`crate::Topic::retain`].
    #[must_use]
    pub fn retain(self, retention: Retention) -> Self {
        Self { inner: self.inner.retain(retention) }
    }

    /// See [`crate::Topic::publish`].
    ///
    /// # Errors
    /// As there.
    pub fn publish(&self, payload: impl Into<Bytes>) -> Result<Offset> {
        block_on(self.inner.publish(payload))
    }

    /// See [`crate::Topic::subscribe`].
    ///
    /// # Errors
    /// As there.
    pub fn subscribe(&self, from: From) -> Result<Subscription> {
        block_on(self.inner.subscribe(from)).map(|inner| Subscription { inner })
    }

    /// See [`crate::Topic::last`].
    ///
    /// # Errors
    /// As there.
    pub fn last(&self) -> Result<Option<Offset>> {
        block_on(self.inner.last())
    }

    /// See [`crate::Topic::trim`].
    ///
    /// # Errors
    /// As there.
    pub fn trim(&self) -> Result<u64> {
        block_on(self.inner.trim())
    }
}

/// See [`crate::Subscription`]: an iterator that blocks until the next delivery and ends with the
/// coordinator.
#[derive(Debug)]
pub struct Subscription {
    inner: crate::Subscription,
}

impl Iterator for Subscription {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Self::Item> {
        until_closed(block_on(self.inner.next()))
    }
}

/// See [`crate::Inbox`]: an iterator that blocks until the next letter and ends with the coordinator.
#[derive(Debug)]
pub struct Inbox {
    inner: crate::Inbox,
}

impl Iterator for Inbox {
    type Item = Result<Mail>;

    fn next(&mut self) -> Option<Self::Item> {
        until_closed(block_on(self.inner.next()))
    }
}

fn until_closed<T>(next: Result<T>) -> Option<Result<T>> {
    match next {
        Err(end) if end.kind() == ErrorKind::Closed => None,
        next => Some(next),
    }
}

impl Group {
    /// See [`crate::Group::broadcast`].
    ///
    /// # Errors
    /// As there.
    pub fn broadcast(&self, payload: impl Into<Bytes>) -> Result<Offset> {
        block_on(self.inner.broadcast(payload))
    }

    /// See [`crate::Group::messages`].
    ///
    /// # Errors
    /// As there.
    pub fn messages(&self, from: From) -> Result<Subscription> {
        block_on(self.inner.messages(from)).map(|inner| Subscription { inner })
    }

    /// See [`crate::Group::send`].
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, member: impl AsRef<str>, payload: impl Into<Bytes>) -> Result<Offset> {
        block_on(self.inner.send(member, payload))
    }

    /// See [`crate::Group::inbox`].
    ///
    /// # Errors
    /// As there.
    pub fn inbox(&self) -> Result<Inbox> {
        block_on(self.inner.inbox()).map(|inner| Inbox { inner })
    }

    /// See [`crate::Group::inbox_from`].
    ///
    /// # Errors
    /// As there.
    pub fn inbox_from(&self, from: From) -> Result<Inbox> {
        block_on(self.inner.inbox_from(from)).map(|inner| Inbox { inner })
    }

    /// See [`crate::Group::request`].
    ///
    /// # Errors
    /// As there.
    pub fn request(
        &self,
        member: impl AsRef<str>,
        payload: impl Into<Bytes>,
        limit: Duration,
    ) -> Result<Option<Bytes>> {
        block_on(self.inner.request(member, payload, limit))
    }
}

impl crate::Letter {
    /// [`reply`](Self::reply) for callers that block their thread.
    ///
    /// # Errors
    /// As there.
    pub fn reply_blocking(&self, payload: impl Into<Bytes>) -> Result<()> {
        // Not on the runtime whose thread this blocks.
        block_on(self.reply_on(Lane::Engine, payload.into()))
    }
}
