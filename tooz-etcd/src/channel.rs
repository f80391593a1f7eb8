//! Names of a channel's keys, and how messages are spread over buckets. Pure.
//!
//! A publisher does not know the number its message will get, so that messages stand in buckets of so many
//! numbers: which bucket the next message belongs to is known nearly always, and the transaction compares it.
//! Within a bucket the order is that of create revisions.

use tooz_core::{Channel, MessageId};

use crate::keys::{ROOT, segment};

/// So many messages share a bucket.
pub(crate) const BUCKET: u64 = 128;

/// The bits of a place that tell a message from another of the same revision, after a restore.
const ID_BITS: u32 = 20;

/// The bucket of the message of this number.
pub(crate) fn bucket_of(number: u64) -> u64 {
    number.saturating_sub(1) / BUCKET
}

/// The first number of a bucket.
pub(crate) fn first_of(bucket: u64) -> u64 {
    bucket.saturating_mul(BUCKET).saturating_add(1)
}

/// The bucket that an id's value names.
pub(crate) fn bucket_in(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// What an offset notes of a message: its create revision, and some of its id, because a store that was
/// restored from a copy gives revisions again.
pub(crate) fn place(revision: i64, id: MessageId) -> u64 {
    let [a, b, c, ..] = *id.as_bytes();
    let some = u64::from(u32::from_be_bytes([0, a, b, c]) & ((1 << ID_BITS) - 1));
    u64::try_from(revision).unwrap_or(0) << ID_BITS | some
}

/// The create revision in a place.
pub(crate) fn revision_of(place: u64) -> i64 {
    i64::try_from(place >> ID_BITS).unwrap_or(i64::MAX)
}

/// The keys of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelKeys {
    prefix: String,
}

impl ChannelKeys {
    pub(crate) fn of(channel: &Channel) -> Self {
        let prefix = match channel {
            Channel::Topic(name) => format!("{ROOT}topic/{}/", segment(name.as_str())),
            Channel::Group(group) => format!("{ROOT}talk/{}/", segment(group.as_str())),
            Channel::Inbox { group, member } => {
                format!("{ROOT}inbox/{}/{}/", segment(group.as_str()), segment(member.as_str()))
            }
            Channel::Replies { group, member } => {
                format!("{ROOT}replies/{}/{}/", segment(group.as_str()), segment(member.as_str()))
            }
        };
        Self { prefix }
    }

    /// Which incarnation it is.
    pub(crate) fn begin(&self) -> String {
        format!("{}begin", self.prefix)
    }

    /// Put by every publish, so that its version counts them.
    pub(crate) fn count(&self) -> String {
        format!("{}count", self.prefix)
    }

    /// Where what is retained begins.
    pub(crate) fn head(&self) -> String {
        format!("{}head", self.prefix)
    }

    /// Before the ids that the channel knows.
    pub(crate) fn ids(&self) -> String {
        format!("{}i/", self.prefix)
    }

    /// Stands while the channel knows the id.
    pub(crate) fn id(&self, id: MessageId) -> String {
        format!("{}i/{id}", self.prefix)
    }

    /// Whether the key is that of an id.
    pub(crate) fn is_id(&self, key: &[u8]) -> bool {
        let id = key.strip_prefix(self.ids().as_bytes()).and_then(|id| std::str::from_utf8(id).ok());
        id.is_some_and(|id| MessageId::parse(id).is_some_and(|parsed| parsed.to_string() == id))
    }

    /// Before the messages of a bucket; buckets sort by their number.
    pub(crate) fn bucket(&self, bucket: u64) -> String {
        format!("{}m/{bucket:016x}/", self.prefix)
    }

    /// A message.
    pub(crate) fn message(&self, bucket: u64, id: MessageId) -> String {
        format!("{}m/{bucket:016x}/{id}", self.prefix)
    }

    /// Before the large bodies of a bucket.
    pub(crate) fn bodies(&self, bucket: u64) -> String {
        format!("{}b/{bucket:016x}/", self.prefix)
    }

    /// The body of a message that is too large to stand in it.
    pub(crate) fn body(&self, bucket: u64, id: MessageId) -> String {
        format!("{}b/{bucket:016x}/{id}", self.prefix)
    }

    /// The bucket and the id that a message's key names; `None` for what is no message of ours.
    pub(crate) fn message_of(&self, key: &[u8]) -> Option<(u64, MessageId)> {
        let rest = key.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b"m/")?;
        let (bucket, id) = std::str::from_utf8(rest).ok()?.split_once('/')?;
        let is_plain =
            bucket.len() == 16 && bucket.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let id = MessageId::parse(id).filter(|parsed| parsed.to_string() == id)?;
        is_plain.then(|| u64::from_str_radix(bucket, 16).ok().map(|bucket| (bucket, id)))?
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tooz_core::Name;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_messages_key_reads_back_and_others_are_none() {
        let keys = ChannelKeys::of(&Channel::Topic(name("a/b")));
        let id = MessageId::random();
        assert_eq!(keys.message_of(keys.message(70_000, id).as_bytes()), Some((70_000, id)));
        assert!(keys.is_id(keys.id(id).as_bytes()) && !keys.is_id((keys.id(id) + "x").as_bytes()));
        assert_eq!((bucket_in(b"12"), bucket_in(b"x"), bucket_in(b"")), (Some(12), None, None));
        let upper = keys.message(1, id).to_uppercase();
        for foreign in [keys.count(), keys.id(id), keys.bucket(3), keys.message(1, id) + "x", upper] {
            assert_eq!(keys.message_of(foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn channels_of_one_name_and_names_that_join_to_one_text_are_apart() {
        let inbox = |group, member| Channel::Inbox { group: name(group), member: name(member) };
        let replies = Channel::Replies { group: name("a"), member: name("b") };
        let channels = [
            Channel::Topic(name("a")),
            Channel::Group(name("a")),
            inbox("a", "b"),
            replies,
            inbox("a/b", "c"),
            inbox("a", "b/c"),
        ];
        for (at, one) in channels.iter().enumerate() {
            for other in &channels[at + 1..] {
                let (one, other) = (ChannelKeys::of(one).prefix, ChannelKeys::of(other).prefix);
                assert!(!one.starts_with(&other) && !other.starts_with(&one), "{one} {other}");
            }
        }
    }

    proptest! {
        #[test]
        fn numbers_and_buckets_agree(number in 1..u64::MAX / 2) {
            let bucket = bucket_of(number);
            prop_assert!(first_of(bucket) <= number && number < first_of(bucket + 1));
        }

        #[test]
        fn a_place_tells_its_revision(revision in 0..1_i64 << 43, id in any::<[u8; 16]>()) {
            prop_assert_eq!(revision_of(place(revision, MessageId::from_bytes(id))), revision);
        }

        #[test]
        fn what_others_wrote_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let keys = ChannelKeys::of(&Channel::Topic(name("a")));
            let _ = keys.message_of(&bytes);
            let _ = keys.message_of(&[keys.bucket(1).as_bytes(), &bytes].concat());
        }
    }
}
