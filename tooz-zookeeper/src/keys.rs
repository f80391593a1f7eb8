//! Names in the store. Pure.
//!
//! What Python tooz shares lies under `/<namespace>`, everything of our own under `/tooz-rs/<namespace>`. Names
//! that ZooKeeper or Python's layout cannot carry are written with percent-escapes and so are not shared with
//! Python: those with a slash, a control character or one beyond 16 bits (🔒), `.` and `..`, the member `leader`
//! and the group `locks`.

use std::fmt::Write as _;

use tooz_core::{Channel, ClaimId, Name, Seat};

/// Where everything of our own lies.
pub(crate) const OWN_ROOT: &str = "tooz-rs";
/// Beside Python's groups: its locks.
pub(crate) const LOCKS: &str = "locks";
/// Beside Python's members: its election.
pub(crate) const LEADER: &str = "leader";

/// The paths of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    shared: String,
    own: String,
    python_elections: bool,
}

impl Keys {
    /// Those of `namespace`; elections in Python's places if asked for.
    pub(crate) fn new(namespace: &str, python_elections: bool) -> Self {
        let shared = format!("/{namespace}");
        Self { own: format!("/{OWN_ROOT}/{namespace}"), shared, python_elections }
    }

    /// Our own root: its data is the version of our layout.
    pub(crate) fn own(&self) -> &str {
        &self.own
    }

    /// The persistent directories a session needs, parents first.
    pub(crate) fn directories(&self) -> Vec<String> {
        let own =
            ["leaders", "notices", "sessions", "values", "voids"].map(|room| format!("{}/{room}", self.own));
        let mut all = vec![self.shared.clone(), format!("{}/{LOCKS}", self.shared)];
        all.extend(own);
        all
    }

    /// The directory of a seat's contenders.
    pub(crate) fn seat(&self, seat: &Seat) -> String {
        match seat {
            Seat::Lock(name) => format!("{}/{LOCKS}/{}", self.shared, spell(name.as_str(), "")),
            Seat::Leader(group) if self.python_elections => format!("{}/{LEADER}", self.group(group)),
            Seat::Leader(group) => format!("{}/leaders/{}", self.own, spell(group.as_str(), "")),
        }
    }

    /// Whether a seat's directory may carry [word](crate::turn) of its last holder: what stands in an election of
    /// Python's is read as a member's capabilities.
    pub(crate) fn takes_word(&self, seat: &Seat) -> bool {
        matches!(seat, Seat::Lock(_)) || !self.python_elections
    }

    /// Reads the path of a contender's node: its seat and its node's name.
    pub(crate) fn contender<'a>(&self, path: &'a str) -> Option<(Seat, &'a str)> {
        let (directory, node) = path.rsplit_once('/')?;
        let lock = directory.strip_prefix(&self.shared).and_then(|rest| rest.strip_prefix("/locks/"));
        if let Some(name) = lock {
            return Some((Seat::Lock(Name::new(unspell(name, "")).ok()?), node));
        }
        let group = match self.python_elections {
            true => directory.strip_prefix(&self.shared)?.strip_prefix('/')?.strip_suffix("/leader")?,
            false => directory.strip_prefix(&self.own)?.strip_prefix("/leaders/")?,
        };
        let reserved = if self.python_elections { LOCKS } else { "" };
        Some((Seat::Leader(Name::new(unspell(group, reserved)).ok()?), node))
    }

    /// Where channels are, made with the first of each kind.
    pub(crate) fn channels(&self) -> [String; 4] {
        ["topics", "talks", "inboxes", "replies"].map(|room| format!("{}/{room}", self.own))
    }

    /// A channel's directory.
    pub(crate) fn channel(&self, channel: &Channel) -> String {
        let name = |name: &Name| spell(name.as_str(), "");
        match channel {
            Channel::Topic(topic) => format!("{}/topics/{}", self.own, name(topic)),
            Channel::Group(group) => format!("{}/talks/{}", self.own, name(group)),
            Channel::Inbox { group, member } => {
                format!("{}/inboxes/{}/{}", self.own, name(group), name(member))
            }
            Channel::Replies { group, member } => {
                format!("{}/replies/{}/{}", self.own, name(group), name(member))
            }
        }
    }

    /// The directory of the groups.
    pub(crate) fn groups(&self) -> &str {
        &self.shared
    }

    /// A group's node.
    pub(crate) fn group(&self, group: &Name) -> String {
        format!("{}/{}", self.shared, spell(group.as_str(), LOCKS))
    }

    /// A member's node.
    pub(crate) fn member(&self, group: &Name, member: &Name) -> String {
        format!("{}/{}", self.group(group), spell(member.as_str(), LEADER))
    }

    /// The node of the session that ZooKeeper knows under this number.
    pub(crate) fn session(&self, owner: i64) -> String {
        format!("{}/sessions/{owner:016x}", self.own)
    }

    /// Where others name the claims of that session that they have dealt with.
    pub(crate) fn notices(&self, owner: i64) -> String {
        format!("{}/notices/{owner:016x}", self.own)
    }

    /// The value that goes with a claim.
    pub(crate) fn value(&self, claim: ClaimId) -> String {
        format!("{}/values/{claim}", self.own)
    }

    /// The mark that makes a claim void.
    pub(crate) fn void(&self, claim: ClaimId) -> String {
        format!("{}/voids/{claim}", self.own)
    }
}

/// The group of this node, if it is one's.
pub(crate) fn group_of(node: &str) -> Option<Name> {
    (node != LOCKS).then(|| Name::new(unspell(node, LOCKS)).ok()).flatten()
}

/// The member of this node, if it is one's.
pub(crate) fn member_of(node: &str) -> Option<Name> {
    (node != LEADER).then(|| Name::new(unspell(node, LEADER)).ok()).flatten()
}

/// One name as one node name. Different names get different ones, none gets `reserved`.
///
/// A percent sign is escaped only where it could be taken for the beginning of an escape, so that Python sees
/// all other names as they are.
fn spell(name: &str, reserved: &str) -> String {
    let whole = name == "." || name == ".." || (!reserved.is_empty() && name == reserved);
    let mut out = String::with_capacity(name.len());
    let mut rest = name.chars();
    let mut first = true;
    while let Some(letter) = rest.next() {
        let looks_escaped = letter == '%' && starts_with_hex_digits(rest.as_str());
        if (whole && first) || looks_escaped || letter == '/' || is_refused(letter) {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                // Writing to a string does not fail.
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(letter);
        }
        first = false;
    }
    out
}

/// The name of a node; one that [`spell`] would never write is taken as it is.
fn unspell(node: &str, reserved: &str) -> String {
    let plain = unescape(node);
    match plain {
        Some(name) if spell(&name, reserved) == node => name,
        _ => node.to_owned(),
    }
}

fn unescape(node: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(node.len());
    let mut rest = node;
    while let Some(letter) = rest.chars().next() {
        let tail = rest.get(letter.len_utf8()..)?;
        if letter == '%' && starts_with_hex_digits(tail) {
            bytes.push(u8::from_str_radix(tail.get(..2)?, 16).ok()?);
            rest = tail.get(2..)?;
        } else {
            bytes.extend_from_slice(rest.get(..letter.len_utf8())?.as_bytes());
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn starts_with_hex_digits(text: &str) -> bool {
    let mut bytes = text.bytes();
    let mut digit = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
    digit() && digit()
}

/// What ZooKeeper takes in no path. Its server sees letters beyond 16 bits as two halves, and refuses those.
fn is_refused(letter: char) -> bool {
    matches!(u32::from(letter), 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn ordinary_names_lie_where_python_looks_for_them() {
        let keys = Keys::new("tooz", true);
        for text in ["nightly", "50%", "a b", "é", "{a}", "..a"] {
            assert_eq!(keys.seat(&Seat::Lock(name(text))), format!("/tooz/locks/{text}"));
            assert_eq!(keys.group(&name(text)), format!("/tooz/{text}"));
        }
        assert_eq!(keys.seat(&Seat::Leader(name("blue"))), "/tooz/blue/leader");
        assert_eq!(keys.member(&name("blue"), &name("w")), "/tooz/blue/w");
        assert_eq!(Keys::new("tooz", false).seat(&Seat::Leader(name("blue"))), "/tooz-rs/tooz/leaders/blue");
    }

    /// Interleaving 25: no name means two things.
    #[test]
    fn reserved_and_impossible_names_are_escaped() {
        let keys = Keys::new("tooz", false);
        assert_eq!(keys.group(&name("locks")), "/tooz/%6Cocks");
        assert_eq!(keys.member(&name("locks"), &name("leader")), "/tooz/%6Cocks/%6Ceader");
        assert_eq!(keys.seat(&Seat::Lock(name("locks"))), "/tooz/locks/locks");
        assert_eq!(spell("a/b", ""), "a%2Fb");
        assert_eq!(spell("a%2Fb", ""), "a%252Fb");
        assert_eq!(
            (spell(".", ""), spell("..", ""), spell("...", "")),
            ("%2E".into(), "%2E.".into(), "...".into())
        );
        assert_eq!((group_of("locks"), member_of("leader")), (None, None));
        assert_eq!((group_of("%6Cocks"), member_of("%6Ceader")), (Some(name("locks")), Some(name("leader"))));
    }

    #[test]
    fn contenders_are_read_back_from_their_paths() {
        for python in [false, true] {
            let keys = Keys::new("tooz", python);
            for seat in [Seat::Lock(name("a/b")), Seat::Leader(name("a/b")), Seat::Leader(name("locks"))] {
                let path = format!("{}/x__lock__0000000001", keys.seat(&seat));
                assert_eq!(keys.contender(&path), Some((seat, "x__lock__0000000001")));
            }
            assert_eq!(keys.contender("/tooz/blue/member"), None);
        }
    }

    #[test]
    fn channels_of_one_name_and_names_that_join_to_one_text_are_apart() {
        let keys = Keys::new("tooz", false);
        let inbox = |group, member| Channel::Inbox { group: name(group), member: name(member) };
        let channels = [
            Channel::Topic(name("a")),
            Channel::Group(name("a")),
            inbox("a", "b"),
            Channel::Replies { group: name("a"), member: name("b") },
            inbox("a/b", "c"),
            inbox("a", "b/c"),
        ];
        for (at, one) in channels.iter().enumerate() {
            for other in &channels[at + 1..] {
                let (one, other) = (keys.channel(one) + "/", keys.channel(other) + "/");
                assert!(!one.starts_with(&other) && !other.starts_with(&one), "{one} {other}");
            }
        }
        assert_eq!(keys.channel(&inbox("a/b", ".")), "/tooz-rs/tooz/inboxes/a%2Fb/%2E");
    }

    #[test]
    fn names_of_strangers_are_shown_as_they_are() {
        for text in ["%41", "%zz", "%", "%6c", "%FF"] {
            assert_eq!(unspell(text, ""), text);
        }
    }

    proptest! {
        #[test]
        fn every_name_is_one_segment_and_is_read_back(text in "\\PC{1,40}|[%/.a2F\\x00]{1,12}", of_group in any::<bool>()) {
            let reserved = if of_group { LOCKS } else { LEADER };
            let node = spell(&text, reserved);
            prop_assert!(!node.contains('/') && node != "." && node != ".." && node != reserved);
            prop_assert_eq!(unspell(&node, reserved), text);
        }

        #[test]
        fn two_names_never_meet(a in "[%/.a2F]{1,6}", b in "[%/.a2F]{1,6}") {
            prop_assert_eq!(spell(&a, "") == spell(&b, ""), a == b);
        }
    }
}
