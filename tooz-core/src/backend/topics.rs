//! Steps, waits and facts of topics.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::Mark;
use crate::channel::Channel;
use crate::error::Result;
use crate::id::MessageId;
use crate::message::Message;
use crate::name::Name;
use crate::offset::Offset;

/// Steps and waits of topics and of all other channels.
///
/// A channel is a log: one total order, the same for everybody. It needs no creation and no session: it is
/// there with its first message, outlives whoever published to it, and may be forgotten by the store when
/// all its messages are. From its first message on it has an
/// [`Incarnation`](crate::Incarnation) and counts its messages from 1 without gaps, those no longer
/// retained included; a channel that was forgotten or lost begins a new incarnation. Core derives from
/// that what a subscriber missed.
///
/// The steps ask little of a store: an append that knows an id again, a count, and a push.
/// *By a script:* count, remember the id and append in one. *By a transaction:* "id key absent → put id key,
/// put message, touch the counter key", the counter being that key's version and the place the revision.
/// *By sequence nodes:* one multi of an id node and a sequential node, the number being the sequence and
/// the place the transaction id.
#[async_trait]
pub trait TopicSteps: Send + Sync {
    /// Step: appends the message and tells its offset. A message of this id that the channel knows already
    /// is not appended again: its offset is told. Ids are known at least as long as their message is
    /// retained, and should be for some minutes more, because a late copy of a request may arrive after
    /// its message was trimmed.
    ///
    /// A message is there as a whole or not at all, whenever the publisher is killed. A body beyond
    /// [`TopicProfile::largest_body`](super::TopicProfile) is refused as
    /// [`ErrorKind::InvalidValue`](crate::ErrorKind::InvalidValue) before anything is sent.
    async fn publish(&self, publication: &Publication) -> Result<Offset>;

    /// Step: the messages after `after`, oldest first, as many as fit the limit; from the oldest retained
    /// one on with `None`, and also, which [`Batch::anew`] tells, where `after` is no offset of the channel
    /// as it is now. Changes nothing, creates nothing, and sees at least what was acknowledged to anybody
    /// before it was sent.
    ///
    /// A message that cannot be read (written by somebody else) is left out, and core takes it as missed.
    /// A driver whose pushes carry the messages may answer from what was pushed, if it is sure that
    /// nothing is missing from `after` on.
    async fn fetch(&self, channel: &Channel, after: Option<Offset>, limit: Limit) -> Result<Batch>;

    /// Step: lets go of the oldest messages beyond the retention and tells how many those were: no fetch
    /// brings them any more, whenever their storage is freed. Core sends it from time to time after a
    /// publish, so it may also renew what keeps an idle channel known.
    async fn trim(&self, channel: &Channel, retention: Retention) -> Result<u64>;

    /// Wait: ends when something may have been published since `mark`, when the channel may have begun a
    /// new incarnation, and when the session ends. Idle, it costs the store nothing.
    async fn stirred(&self, channel: &Channel, mark: Mark);
}

/// One message on its way. Sent again unchanged, it is the same message.
#[derive(Clone, PartialEq, Eq)]
pub struct Publication {
    /// Chosen before sending.
    pub id: MessageId,
    /// Where it goes.
    pub channel: Channel,
    /// Who publishes.
    pub sender: Name,
    /// What is published.
    pub body: Bytes,
}

/// Shows how much is published, not what.
impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("id", &self.id)
            .field("channel", &self.channel)
            .field("sender", &self.sender)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// How much one fetch may bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// At most so many messages; with zero only [`Batch::last`] is asked for.
    pub messages: usize,
    /// No further message once the bodies have so many bytes; the first always comes.
    pub bytes: usize,
}

impl Limit {
    /// No messages, only how things stand.
    pub const NONE: Self = Self { messages: 0, bytes: 0 };
}

/// What a fetch found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Read before the rest: for `stirred`.
    pub mark: Mark,
    /// The newest message ever published in the present incarnation, retained or not; `None` if the store
    /// knows no such channel. Read together with the messages or before them.
    pub last: Option<Offset>,
    /// Whether `after` was asked for in vain: it is of another incarnation, beyond `last`, or, as far as the
    /// driver can tell by its place, not the message it was (a store restored from a copy).
    pub anew: bool,
    /// What follows, oldest first; with gaps only where messages are no longer retained or unreadable. Empty only if
    /// nothing that can be read follows, up to `last`: whoever asked goes on behind that.
    pub messages: Vec<Message>,
    /// Look again after this time at the latest, where a push may be lost; `None` where `stirred` is sure
    /// to end.
    pub revisit: Option<Duration>,
}

/// Which messages of a channel are kept: the newest `count` of those not older than `age`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// So many.
    pub count: u64,
    /// So old, by the store's clock.
    pub age: Duration,
}

impl Default for Retention {
    /// 10,000 messages, one hour.
    fn default() -> Self {
        Self { count: 10_000, age: Duration::from_secs(3600) }
    }
}
