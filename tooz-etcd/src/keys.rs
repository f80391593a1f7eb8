//! Names of keys, and nothing else.
//!
//! Python's keys carry names raw; a name with a slash would be two of its names at once, so groups and
//! members of such names live under our own root and are not shared with Python. Under our root every name
//! is one escaped segment.

use tooz_core::{ClaimId, Name, Seat};

/// Our root, format version included.
pub(crate) const ROOT: &str = "/tooz-rs/v1/";
/// Says which format is in use; readable by every version.
pub(crate) const FORMAT: &str = "/tooz-rs/format";
/// Python's root of locks: the name follows without a slash.
const LOCKS: &str = "/tooz/locks";
/// Python's root of groups.
pub(crate) const GROUPS: &str = "tooz/groups/";

/// One segment: letters, digits, `.`, `_` and `-` stay, every other byte becomes `%XX`.
pub(crate) fn segment(name: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => out.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Reads what [`segment`] wrote.
pub(crate) fn unsegment(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        if *byte == b'%' {
            let (hex, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The first key after all that begin with `prefix`.
pub(crate) fn after_prefix(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

/// The keys of one seat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SeatKeys {
    /// Held while it exists. A lock's is Python's.
    pub(crate) main: String,
    /// Before everything else of the seat.
    pub(crate) prefix: String,
}

impl SeatKeys {
    pub(crate) fn of(seat: &Seat) -> Self {
        match seat {
            Seat::Lock(name) => Self {
                main: format!("{LOCKS}{}", name.as_str()),
                prefix: format!("{ROOT}lock/{}/", segment(name.as_str())),
            },
            Seat::Leader(group) => {
                let prefix = format!("{ROOT}leader/{}/", segment(group.as_str()));
                Self { main: format!("{prefix}main"), prefix }
            }
        }
    }

    /// Before the places in the queue, ordered by create revision.
    pub(crate) fn queue(&self) -> String {
        format!("{}q/", self.prefix)
    }

    /// Before the records of those who hold.
    pub(crate) fn holders(&self) -> String {
        format!("{}h/", self.prefix)
    }

    /// A claim's place in the queue.
    pub(crate) fn place(&self, id: ClaimId) -> String {
        format!("{}q/{id}", self.prefix)
    }

    /// A holder's record: its create revision is the token.
    pub(crate) fn holder(&self, id: ClaimId) -> String {
        format!("{}h/{id}", self.prefix)
    }

    /// Before the notices to holders; nothing stands between them and the queue.
    pub(crate) fn notices(&self) -> String {
        format!("{}n/", self.prefix)
    }

    /// Tells a holder to let go.
    pub(crate) fn notice(&self, id: ClaimId) -> String {
        format!("{}n/{id}", self.prefix)
    }

    /// Clients that leave no trace in the queue were seen here.
    pub(crate) fn foreign(&self) -> String {
        format!("{}foreign", self.prefix)
    }

    /// Repeats the main key's value while readers hold, under the lease they share.
    pub(crate) fn share(&self) -> String {
        format!("{}share", self.prefix)
    }
}

/// Makes a claim void that may still land.
pub(crate) fn void(id: ClaimId) -> String {
    format!("{ROOT}void/{id}")
}

/// The claim id at the end of a key of the queue or of a holder.
pub(crate) fn claim_of(key: &[u8], prefix: &str) -> Option<ClaimId> {
    ClaimId::parse(std::str::from_utf8(key.strip_prefix(prefix.as_bytes())?).ok()?)
}

/// The seat and the claim that a holder's record speaks of.
pub(crate) fn holding(key: &[u8]) -> Option<(Seat, ClaimId)> {
    claiming(key, "h")
}

/// The seat and the claim that a place in a queue belongs to.
pub(crate) fn waiting(key: &[u8]) -> Option<(Seat, ClaimId)> {
    claiming(key, "q")
}

fn claiming(key: &[u8], what: &str) -> Option<(Seat, ClaimId)> {
    let mut parts = std::str::from_utf8(key).ok()?.strip_prefix(ROOT)?.split('/');
    let (kind, name, room, id) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if room != what || parts.next().is_some() {
        return None;
    }
    let name = Name::new(unsegment(name)?).ok()?;
    let seat = match kind {
        "lock" => Seat::Lock(name),
        "leader" => Seat::Leader(name),
        _ => return None,
    };
    Some((seat, ClaimId::parse(id)?))
}

/// The keys of one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupKeys {
    /// The group itself: exists while the group does. Members of portable names follow it.
    pub(crate) group: String,
    /// Before members whose names Python could not tell from a group.
    pub(crate) odd: String,
    /// Before the sessions that members belong to.
    pub(crate) incarnations: String,
}

impl GroupKeys {
    pub(crate) fn of(group: &Name) -> Self {
        let own = segment(group.as_str());
        let group = match group.as_str().contains('/') {
            false => format!("{GROUPS}{}/", group.as_str()),
            true => format!("{ROOT}groups/{own}/"),
        };
        Self {
            group,
            odd: format!("{ROOT}members/{own}/"),
            incarnations: format!("{ROOT}incarnations/{own}/"),
        }
    }

    /// A member's key.
    pub(crate) fn member(&self, member: &Name) -> String {
        match member.as_str().contains('/') {
            false => format!("{}{}", self.group, member.as_str()),
            true => format!("{}{}", self.odd, segment(member.as_str())),
        }
    }

    /// Which session a member's key belongs to.
    pub(crate) fn incarnation(&self, member: &Name) -> String {
        format!("{}{}", self.incarnations, segment(member.as_str()))
    }

    /// Whose key it is; `None` for the group's own and for what is no member of ours.
    pub(crate) fn member_of(&self, key: &[u8]) -> Option<Name> {
        let key = std::str::from_utf8(key).ok()?;
        if let Some(odd) = key.strip_prefix(&self.odd) {
            return unsegment(odd).and_then(|name| Name::new(name).ok());
        }
        let rest = key.strip_prefix(&self.group)?;
        Name::new(rest).ok().filter(|name| !name.as_str().contains('/'))
    }
}

/// Before the groups whose names Python cannot carry.
pub(crate) fn odd_groups() -> String {
    format!("{ROOT}groups/")
}

/// The group that a key stands for; `None` for members.
pub(crate) fn group_of(key: &[u8]) -> Option<Name> {
    let key = std::str::from_utf8(key).ok()?;
    if let Some(rest) = key.strip_prefix(GROUPS) {
        let name = rest.strip_suffix('/').filter(|name| !name.contains('/'))?;
        return Name::new(name).ok();
    }
    let rest = key.strip_prefix(&odd_groups())?.strip_suffix('/')?;
    if rest.contains('/') {
        return None;
    }
    unsegment(rest).and_then(|name| Name::new(name).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn pythons_keys_are_as_python_writes_them() {
        assert_eq!(SeatKeys::of(&Seat::Lock(name("-x"))).main, "/tooz/locks-x");
        assert_eq!(SeatKeys::of(&Seat::Lock(name("a\nb"))).main, "/tooz/locksa\nb");
        let keys = GroupKeys::of(&name("blue"));
        assert_eq!(keys.group, "tooz/groups/blue/");
        assert_eq!(keys.member(&name("a")), "tooz/groups/blue/a");
    }

    #[test]
    fn a_name_with_a_slash_never_meets_another_name() {
        let inner = GroupKeys::of(&name("G")).member(&name("x/"));
        assert_ne!(inner, GroupKeys::of(&name("G/x")).group);
        assert_eq!(group_of(b"tooz/groups/G/x/"), None);
        assert_eq!(group_of(GroupKeys::of(&name("G/x")).group.as_bytes()), Some(name("G/x")));
        assert_eq!(group_of(b"tooz/groups/G/x"), None);
        assert_eq!(GroupKeys::of(&name("G")).member_of(inner.as_bytes()), Some(name("x/")));
    }

    proptest! {
        #[test]
        fn a_segment_reads_back_and_has_no_slash(text in "\\PC{0,40}|[/%\\x00a-c]{0,12}") {
            let written = segment(&text);
            prop_assert!(!written.contains('/'));
            prop_assert_eq!(unsegment(&written), Some(text));
        }

        #[test]
        fn what_others_wrote_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = unsegment(&String::from_utf8_lossy(&bytes));
            let _ = group_of(&bytes);
            let _ = GroupKeys::of(&name("G")).member_of(&bytes);
        }
    }
}
