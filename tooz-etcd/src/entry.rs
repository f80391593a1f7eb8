//! A message as it is stored, and where what is retained begins.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tooz_core::backend::Publication;
use tooz_core::{Error, ErrorKind, Name, Result};

use crate::msgpack;

/// The largest body that stands in its message; a larger one stands beside it, so that a look at many
/// messages is small whatever they carry.
pub(crate) const INLINE: usize = 2048;

/// No stored message is larger: an inline body, a name and a few numbers.
const LARGEST: usize = INLINE + 1024;

/// As stored: a msgpack array, so that later versions can append.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    sender: String,
    /// By the publisher's wall clock.
    written_ms: u64,
    /// How long the body is.
    bytes: u64,
    /// `None` where it stands beside.
    body: Option<Bytes>,
}

impl Entry {
    pub(crate) fn of(publication: &Publication) -> Self {
        let body = &publication.body;
        Self {
            sender: publication.sender.as_str().to_owned(),
            written_ms: wall_ms(),
            bytes: body.len() as u64,
            body: (body.len() <= INLINE).then(|| body.clone()),
        }
    }

    /// One that says nothing.
    #[cfg(test)]
    pub(crate) fn blank() -> Self {
        Self { sender: "a".to_owned(), written_ms: 0, bytes: 0, body: Some(Bytes::new()) }
    }

    pub(crate) fn sender(&self) -> Option<Name> {
        Name::new(&self.sender).ok()
    }

    /// The body, where it stands in the message and is as long as it says.
    pub(crate) fn inline(&self) -> Option<&Bytes> {
        self.body.as_ref().filter(|body| self.fits(body))
    }

    /// Whether the body stands beside the message.
    pub(crate) fn is_apart(&self) -> bool {
        self.body.is_none()
    }

    /// How long the body is.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// Whether this can be its body.
    pub(crate) fn fits(&self, body: &Bytes) -> bool {
        body.len() == self.bytes()
    }

    pub(crate) fn published_at(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_millis(self.written_ms))
    }

    /// How long ago it was written, as far as wall clocks agree.
    pub(crate) fn age(&self, now_ms: u64) -> Duration {
        Duration::from_millis(now_ms.saturating_sub(self.written_ms))
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        rmp_serde::to_vec(self)
            .map_err(|e| Error::new(ErrorKind::Internal, "a message cannot be written").with_source(e))
    }

    /// What stands in the store; `None` where it is nothing of ours.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LARGEST {
            return None;
        }
        msgpack::read(bytes)
    }
}

/// Where what is retained begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    /// The first retained message has this number.
    pub(crate) number: u64,
    /// No retained message is of an earlier revision.
    pub(crate) revision: i64,
    /// Buckets before this one are removed.
    pub(crate) freed: u64,
}

impl Head {
    /// Nothing was let go of yet.
    pub(crate) fn start(revision: i64) -> Self {
        Self { number: 1, revision, freed: 0 }
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        rmp_serde::to_vec(self)
            .map_err(|e| Error::new(ErrorKind::Internal, "a head cannot be written").with_source(e))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > 64 {
            return None;
        }
        msgpack::read(bytes).filter(|head: &Self| head.number > 0)
    }
}

/// The wall clock, in milliseconds.
pub(crate) fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tooz_core::{Channel, MessageId};

    use super::*;

    fn publication(bytes: usize) -> Publication {
        let sender = Name::new("a").unwrap();
        let (id, channel) = (MessageId::random(), Channel::Topic(sender.clone()));
        Publication { id, channel, sender, body: vec![7; bytes].into() }
    }

    #[test]
    fn an_entry_reads_back_and_only_small_bodies_stand_in_it() {
        for (bytes, apart) in [(0, false), (INLINE, false), (INLINE + 1, true), (1 << 20, true)] {
            let entry = Entry::of(&publication(bytes));
            let written = entry.encode().unwrap();
            assert!(written.len() <= LARGEST);
            assert_eq!(Entry::decode(&written), Some(entry.clone()));
            assert_eq!((entry.is_apart(), entry.bytes()), (apart, bytes));
        }
    }

    #[test]
    fn a_head_reads_back() {
        let head = Head { number: 7, revision: i64::MAX, freed: 3 };
        assert_eq!(Head::decode(&head.encode().unwrap()), Some(head));
    }

    proptest! {
        #[test]
        fn what_others_wrote_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Entry::decode(&bytes);
            let _ = Head::decode(&bytes);
        }
    }
}
