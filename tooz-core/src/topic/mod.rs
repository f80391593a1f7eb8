//! Topics: durable logs of messages that everybody sees in the same order.
//!
//! Rooms: `publisher` (one message out, and upkeep of the log now and then), `subscription` (what users
//! read), over a `feed` (fetch, wait, fetch again), over `progress` (pure: what a batch means to whoever
//! stood where). `envelope`, `inbox` and `request` make letters between members of it.

mod envelope;
mod feed;
mod inbox;
mod progress;
mod publisher;
mod request;
mod subscription;
mod upkeep;

use std::fmt;

use bytes::Bytes;
use tracing::Instrument;

pub use inbox::{Inbox, Letter, Mail};
pub use progress::Delivery;
pub use subscription::{From, Subscription};

pub(crate) use envelope::{Envelope, Kind};
pub(crate) use publisher::{Outgoing, publish};
pub(crate) use request::request;
pub(crate) use upkeep::Upkeep;

use crate::backend::{Limit, Retention};
use crate::channel::Channel;
use crate::coordinator::Coordinator;
use crate::error::{Error, ErrorKind, Result};
use crate::message::MAX_PAYLOAD_BYTES;
use crate::name::Name;
use crate::observe;
use crate::offset::Offset;
use crate::session::topics;

/// A topic by name: a log of messages, kept in the store for a while. Cheap to clone; a topic is there with
/// its first message, and looking at one never creates it.
///
/// Every subscriber sees the same messages in the same order, each retained one exactly once.
///
/// # Differs by driver
/// What an acknowledged message survives: on `file` a crash of the process (with `fsync=true` of the
/// machine), on `memory` nothing. How large a message may be: [`Profile::topics`](crate::backend::Profile).
///
/// ```
/// # async fn run() -> tooz_core::Result<()> {
/// # let coord = tooz_core::Registry::embedded().builder("memory://docs-topic").connect().await?;
/// use tooz_core::{Delivery, From};
///
/// let topic = coord.topic("config");
/// let mut changes = topic.subscribe(From::Beginning).await?;
/// topic.publish("colour=blue").await?;
/// match changes.next().await? {
///     Delivery::Message(message) => assert_eq!(&message.payload[..], b"colour=blue"),
///     Delivery::Lagged { missed } => println!("{missed} messages are gone already"),
///     Delivery::Reset => println!("the store has lost the topic: start over"),
/// }
/// # coord.close().await
/// # }
/// # pollster::block_on(run()).unwrap();
/// ```
#[derive(Clone)]
pub struct Topic {
    coord: Coordinator,
    name: Result<Name>,
    retention: Retention,
}

impl Topic {
    pub(crate) fn new(coord: Coordinator, name: &str) -> Self {
        Self { coord, name: Name::new(name), retention: Retention::default() }
    }

    /// The same topic, of which this publisher keeps other messages than the newest 10,000 of the last
    /// hour.
    ///
    /// # Behavior
    /// Publishers enforce the retention, now and then; a little more may stand. Publishers of one topic
    /// should agree, or the strictest prevails.
    #[must_use]
    pub fn retain(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Publishes a message of at most 1 MiB and tells its place.
    ///
    /// # Behavior
    /// Sent again after a lost answer it is still one message: its id is chosen before sending. Calls of
    /// one task are in order; calls at the same time come in any.
    ///
    /// # Errors
    /// `InvalidValue` for a payload that is too large; `Unavailable` if the store stays silent, and then
    /// [`Error::effect`] says whether the message may be there all the same; else those of
    /// [every call](crate::Error#errors-of-every-call).
    ///
    /// # Cancel safety
    /// The message may or may not be published when the future is dropped.
    ///
    /// # Round trips
    /// One; those of a [`trim`](Self::trim) more for the first message and then for every tenth part of what is retained.
    pub async fn publish(&self, payload: impl Into<Bytes>) -> Result<Offset> {
        let channel = self.channel().map_err(|e| self.failed("publish to", e))?;
        let (core, lane) = (self.coord.core(), self.coord.lane());
        let publish = async {
            let payload = checked(payload.into())?;
            publish(
                core,
                lane,
                Outgoing { channel: channel.clone(), body: payload, retention: self.retention },
            )
            .await
        };
        let published = publish.instrument(observe::call("publish", &channel)).await;
        published.map_err(|e| self.failed("publish to", e))
    }

    /// Reads the topic from some place on, and whatever is published from now on.
    ///
    /// # Errors
    /// Those of [every call](crate::Error#errors-of-every-call).
    ///
    /// # Round trips
    /// One. Redis: one more for a topic that was not looked at lately. ZooKeeper: more where there are messages to read.
    pub async fn subscribe(&self, from: From) -> Result<Subscription> {
        let channel = self.channel().map_err(|e| self.failed("subscribe to", e))?;
        let opening = Subscription::open(self.coord.core(), self.coord.lane(), channel.clone(), from);
        let opened = opening.instrument(observe::call("subscribe", &channel)).await;
        opened.map_err(|e| self.failed("subscribe to", e))
    }

    /// The place of the newest message, retained or not; `None` if the store knows none.
    ///
    /// # Errors
    /// Those of [every call](crate::Error#errors-of-every-call).
    ///
    /// # Round trips
    /// One. Redis: one more for a topic that was not looked at lately.
    pub async fn last(&self) -> Result<Option<Offset>> {
        let channel = self.channel().map_err(|e| self.failed("look at", e))?;
        let looked =
            feed::first_look(self.coord.core(), self.coord.lane(), &channel, None, Limit::NONE).await;
        looked.map(|(_, batch)| batch.last).map_err(|e| self.failed("look at", e))
    }

    /// Lets go of what is beyond the retention now, instead of with some publish to come, and tells how many
    /// messages those were. A store may keep more.
    ///
    /// # Errors
    /// Those of [every call](crate::Error#errors-of-every-call).
    ///
    /// # Cancel safety
    /// Some, all or none of them may be gone when the future is dropped.
    ///
    /// # Round trips
    /// One. etcd and ZooKeeper: two at least, and more the more goes.
    pub async fn trim(&self) -> Result<u64> {
        let channel = self.channel().map_err(|e| self.failed("trim", e))?;
        let retention = self.retention;
        let trimmed = self.coord.core().step(self.coord.lane(), "trim", |session| {
            let channel = channel.clone();
            Box::pin(async move { topics(&*session.backend)?.trim(&channel, retention).await })
        });
        trimmed.await.map_err(|e| self.failed("trim", e))
    }

    fn channel(&self) -> Result<Channel> {
        self.name.clone().map(Channel::Topic)
    }

    fn failed(&self, deed: &str, error: Error) -> Error {
        let name = self.name.as_ref().map_or("", Name::as_str).escape_debug();
        error.while_doing(format_args!("{deed} topic \"{name}\" on {}", self.coord.endpoint()))
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", self.name)
    }
}

/// A payload that is not larger than allowed.
pub(crate) fn checked(payload: Bytes) -> Result<Bytes> {
    if payload.len() <= MAX_PAYLOAD_BYTES {
        return Ok(payload);
    }
    let text = format!("the payload has {} bytes: give at most {MAX_PAYLOAD_BYTES} (1 MiB)", payload.len());
    Err(Error::new(ErrorKind::InvalidValue, text))
}
