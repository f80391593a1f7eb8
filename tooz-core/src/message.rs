//! What is published.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;

use crate::id::MessageId;
use crate::name::Name;
use crate::offset::Offset;

/// The largest payload in bytes: 1 MiB. A store may carry less, see
/// [`TopicProfile::largest_body`](crate::backend::TopicProfile).
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

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
