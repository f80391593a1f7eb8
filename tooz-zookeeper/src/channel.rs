//! Names of a channel's nodes, and how its messages are spread over buckets. Pure.
//!
//! A message's node is named by the server: by how many were made in its directory before it. So its number is
//! known from its name and where its directory, a *bucket*, begins, and nothing needs be listed to read on.

use std::fmt;

use tooz_core::{Channel, Incarnation, MessageId};

use crate::keys::Keys;

/// A bucket with so many messages is closed with the next one.
pub(crate) const BUCKET: u64 = 256;

/// What stands before the server's ten digits.
const MESSAGE: char = 'm';

/// A directory of messages that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bucket {
    /// The number of its first message.
    pub(crate) first: u64,
    /// Part of its name, so that nobody appends to another life of the channel by mistake.
    pub(crate) incarnation: Incarnation,
}

impl Bucket {
    /// Reads the name of a bucket; `None` for anything else.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (first, incarnation) = name.split_once('-')?;
        let bucket = Self {
            first: u64::from_str_radix(first, 16).ok().filter(|first| *first > 0)?,
            incarnation: Incarnation::parse(incarnation)?,
        };
        (bucket.to_string() == name).then_some(bucket)
    }

    /// The number of the message that has this place in it.
    pub(crate) fn number(&self, place: u64) -> u64 {
        self.first.saturating_add(place)
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.first, self.incarnation)
    }
}

/// The nodes of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelKeys {
    root: String,
}

impl ChannelKeys {
    pub(crate) fn of(keys: &Keys, channel: &Channel) -> Self {
        Self { root: keys.channel(channel) }
    }

    /// The channel's directory.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// The directory that it stands in.
    pub(crate) fn parent(&self) -> &str {
        self.root.rsplit_once('/').map_or("", |(parent, _)| parent)
    }

    /// Written by every publish; names the bucket of the newest message.
    pub(crate) fn count(&self) -> String {
        format!("{}/count", self.root)
    }

    /// Where what is retained begins.
    pub(crate) fn head(&self) -> String {
        format!("{}/head", self.root)
    }

    /// The directory of ids.
    pub(crate) fn ids(&self) -> String {
        format!("{}/i", self.root)
    }

    /// Stands while the channel knows the id.
    pub(crate) fn id(&self, id: MessageId) -> String {
        format!("{}/i/{id}", self.root)
    }

    /// The directory of buckets.
    pub(crate) fn buckets(&self) -> String {
        format!("{}/m", self.root)
    }

    pub(crate) fn bucket(&self, bucket: Bucket) -> String {
        format!("{}/m/{bucket}", self.root)
    }

    /// What the name of a message in this bucket begins with.
    pub(crate) fn messages(&self, bucket: Bucket) -> String {
        format!("{}/m/{bucket}/{MESSAGE}", self.root)
    }

    /// The message of this number, as long as the bucket has it.
    pub(crate) fn message(&self, bucket: Bucket, number: u64) -> String {
        format!("{}/m/{bucket}/{MESSAGE}{:010}", self.root, number.saturating_sub(bucket.first))
    }

    /// The directory of large bodies.
    pub(crate) fn bodies(&self) -> String {
        format!("{}/p", self.root)
    }

    /// The large bodies of a bucket.
    pub(crate) fn parts(&self, bucket: Bucket) -> String {
        format!("{}/p/{bucket}", self.root)
    }

    /// A part of a large body.
    pub(crate) fn part(&self, bucket: Bucket, id: MessageId, part: usize) -> String {
        format!("{}/p/{bucket}/{id}-{part}", self.root)
    }
}

/// The place in its bucket that a message's path or name tells; `None` for what is no message of ours.
pub(crate) fn place_of(path: &str) -> Option<u64> {
    let name = path.rsplit('/').next()?.strip_prefix(MESSAGE)?;
    let is_plain = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| name.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tooz_core::Name;

    use super::*;

    fn keys() -> ChannelKeys {
        ChannelKeys::of(&Keys::new("tooz", false), &Channel::Topic(Name::new("a/b").unwrap()))
    }

    #[test]
    fn a_messages_node_tells_its_place_and_others_tell_none() {
        let bucket = Bucket { first: 513, incarnation: Incarnation::from_bytes([7; 16]) };
        let path = keys().message(bucket, 515);
        assert!(path.starts_with(&keys().messages(bucket)), "{path}");
        assert_eq!(place_of(&path), Some(2));
        assert_eq!(bucket.number(2), 515);
        for foreign in ["m1", "m00000000001", "x0000000001", "m-000000001", "0000000001", "m000000000x", ""] {
            assert_eq!(place_of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_bucket_reads_back_and_nothing_else_does() {
        let bucket = Bucket { first: 513, incarnation: Incarnation::from_bytes([0xab; 16]) };
        let name = bucket.to_string();
        assert_eq!(Bucket::parse(&name), Some(bucket));
        let none = Bucket { first: 0, ..bucket }.to_string();
        for foreign in [name.to_uppercase(), format!("{name}0"), name[1..].to_owned(), none, "-".to_owned()] {
            assert_eq!(Bucket::parse(&foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_channel_stands_in_its_parent() {
        let keys = keys();
        assert_eq!(keys.root(), format!("{}/a%2Fb", keys.parent()));
    }

    proptest! {
        #[test]
        fn what_others_named_is_read_without_a_panic(name in "\\PC{0,60}|[0-9a-f]{16}-[0-9a-f]{32}") {
            if let Some(bucket) = Bucket::parse(&name) {
                prop_assert_eq!(bucket.to_string(), name);
            } else {
                let _ = place_of(&name);
            }
        }
    }
}
