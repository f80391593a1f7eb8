//! A message as it is stored, and where what is retained begins. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tooz_core::backend::Publication;
use tooz_core::{Incarnation, MessageId, Name};

/// The largest body that stands in its message; a larger one stands beside it, in parts.
pub(crate) const INLINE: usize = 2048;

/// A part of a large body. A node with its request has to fit `jute.maxbuffer`, 1 MiB unless configured
/// otherwise, and the largest body of all is to be no more than two parts.
pub(crate) const PART: usize = 528 * 1024;

const VERSION: u8 = 1;
/// Version, kind, id, length of the sender's name, length of the body.
const HEAD: usize = 1 + 1 + 16 + 2 + 4;

/// A message without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: MessageId,
    pub(crate) sender: Name,
    /// How long the body is.
    pub(crate) bytes: usize,
    /// `None` where it stands beside.
    pub(crate) body: Option<Bytes>,
}

impl Entry {
    pub(crate) fn of(publication: &Publication) -> Self {
        let body = &publication.body;
        Self {
            id: publication.id,
            sender: publication.sender.clone(),
            bytes: body.len(),
            body: (body.len() <= INLINE).then(|| body.clone()),
        }
    }

    /// In how many parts the body stands beside.
    pub(crate) fn parts(&self) -> usize {
        if self.body.is_some() { 0 } else { self.bytes.div_ceil(PART) }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let sender = self.sender.as_str().as_bytes();
        let inline = self.body.as_deref().unwrap_or_default();
        let mut out = Vec::with_capacity(HEAD + sender.len() + inline.len());
        out.extend([VERSION, u8::from(self.body.is_none())]);
        out.extend(self.id.as_bytes());
        // A name has at most 255 bytes, a body fits four bytes by far.
        out.extend(u16::try_from(sender.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(u32::try_from(self.bytes).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(sender);
        out.extend(inline);
        out
    }

    /// What stands in the store; `None` where it is nothing of ours.
    pub(crate) fn decode(stored: &[u8]) -> Option<Self> {
        let (head, rest) = stored.split_first_chunk::<HEAD>()?;
        let [VERSION, kind, id @ .., n1, n0, b3, b2, b1, b0] = *head else { return None };
        let (sender, inline) = rest.split_at_checked(usize::from(u16::from_be_bytes([n1, n0])))?;
        let bytes = usize::try_from(u32::from_be_bytes([b3, b2, b1, b0])).ok()?;
        let body = match kind {
            0 if bytes <= INLINE && inline.len() == bytes => Some(Bytes::copy_from_slice(inline)),
            1 if bytes > INLINE && bytes <= 2 * PART && inline.is_empty() => None,
            _ => return None,
        };
        let sender = Name::new(std::str::from_utf8(sender).ok()?).ok()?;
        Some(Self { id: MessageId::from_bytes(id), sender, bytes, body })
    }
}

/// The server's clock.
pub(crate) fn at(ms: i64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(ms).ok()?))
}

/// Where what is retained begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The first retained message has this number.
    pub(crate) number: u64,
    /// Buckets that begin before this number are dealt with: removed, or somebody else's nodes are in them.
    pub(crate) freed: u64,
    /// The head stood here …
    pub(crate) stood: u64,
    /// … at this time, in milliseconds of the server's clock: what is before is long let go of some time later.
    pub(crate) stood_ms: i64,
}

impl Head {
    /// Nothing was let go of yet.
    pub(crate) const START: Self = Self { number: 1, freed: 1, stood: 1, stood_ms: 0 };

    pub(crate) fn encode(&self, incarnation: Incarnation) -> String {
        format!("{incarnation} {} {} {} {}", self.number, self.freed, self.stood, self.stood_ms)
    }

    /// What stands in the store. What is damaged or of another incarnation retains everything.
    pub(crate) fn decode(stored: &[u8], incarnation: Incarnation) -> Self {
        let read = || {
            let mut words = std::str::from_utf8(stored).ok()?.split(' ');
            (words.next()? == incarnation.to_string()).then_some(())?;
            let mut next = || words.next()?.parse::<u64>().ok();
            let (number, freed, stood) = (next()?, next()?, next()?);
            let stood_ms = words.next()?.parse().ok()?;
            Some(Self { number, freed, stood, stood_ms })
        };
        let sound = |head: &Self| head.number > 0 && head.freed <= head.number && head.stood <= head.number;
        read().filter(sound).unwrap_or(Self::START)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tooz_core::Channel;
    use tooz_core::backend::TopicProfile;

    use super::*;

    fn publication(bytes: usize) -> Publication {
        let sender = Name::new("é/x").unwrap();
        let channel = Channel::Topic(sender.clone());
        Publication { id: MessageId::random(), channel, sender, body: vec![7; bytes].into() }
    }

    #[test]
    fn an_entry_reads_back_and_only_small_bodies_stand_in_it() {
        for (bytes, parts) in
            [(0, 0), (INLINE, 0), (INLINE + 1, 1), (PART, 1), (PART + 1, 2), (TopicProfile::FULL_BODY, 2)]
        {
            let entry = Entry::of(&publication(bytes));
            let written = entry.encode();
            assert!(written.len() <= INLINE + 300);
            assert_eq!(Entry::decode(&written), Some(entry.clone()));
            assert_eq!((entry.parts(), entry.bytes), (parts, bytes));
        }
    }

    #[test]
    fn what_is_cut_longer_or_of_another_version_is_no_entry() {
        let written = Entry::of(&publication(10)).encode();
        for cut in 0..written.len() {
            assert_eq!(Entry::decode(&written[..cut]), None);
        }
        assert_eq!(Entry::decode(&[&written[..], b"x"].concat()), None);
        assert_eq!(Entry::decode(&[&[2], &written[1..]].concat()), None);
    }

    #[test]
    fn a_head_reads_back_in_its_own_incarnation_only() {
        let [life, other] = [1, 2].map(|byte| Incarnation::from_bytes([byte; 16]));
        let head = Head { number: 7, freed: 3, stood: 5, stood_ms: 99 };
        let written = head.encode(life);
        assert_eq!(Head::decode(written.as_bytes(), life), head);
        assert_eq!(Head::decode(written.as_bytes(), other), Head::START);
        assert_eq!(Head::decode(format!("{life} 0 0 0 0").as_bytes(), life), Head::START);
        assert_eq!(Head::decode(format!("{life} 5 6 1 0").as_bytes(), life), Head::START);
    }

    proptest! {
        #[test]
        fn what_others_wrote_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Entry::decode(&bytes);
            let _ = Entry::decode(&[&[VERSION, 0], &bytes[..]].concat());
            let _ = Head::decode(&bytes, Incarnation::from_bytes([1; 16]));
        }
    }
}
