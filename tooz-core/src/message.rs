//! What is published.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;

use crate::name::Name;
use crate::offset::Offset;

/// The largest payload in bytes: 1 MiB. A store may carry less, see
/// [`TopicProfile::largest_body`](crate::backend::TopicProfile).
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// A 128-bit id chosen before a message is first sent, so that a retry is recognised as the same message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Uuid);

impl MessageId {
    /// A new random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id as stored: 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads 32 hex digits, as [`Display`](fmt::Display) writes them.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 {
            return None;
        }
        Uuid::try_parse(text).ok().map(Self)
    }
}

/// 32 lower-case hex digits.
impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// A message as it stands in its channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it stands: subscribe after it to go on from here.
    pub offset: Offset,
    /// Chosen by the publisher; the same for all subscribers.
    pub id: MessageId,
    /// Who published it.
    pub sender: Name,
    /// What was published.
    pub payload: Bytes,
    /// When, by the store's or the publisher's wall clock, where known.
    pub published_at: Option<SystemTime>,
}

/// Shows how much was published, not what.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("offset", &self.offset)
            .field("id", &self.id)
            .field("sender", &self.sender)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
