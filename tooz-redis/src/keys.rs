//! Names of keys and channels: only names, nothing is decided here.
//!
//! Keys that Python's clients use too are named as they name them. Keys of our own stand in the cluster slot
//! of the key they belong to, and none begins as Python's do, since a lock may have any name.

use std::sync::LazyLock;

use tooz_core::{Channel, ClaimId, Error, ErrorKind, Name, Result, Seat, SessionId};

/// A lock whose name begins so would share its key with something else of Python's: with a leadership, a
/// group or a sign of life. Or with such a lock, once that is escaped.
const AMBIGUOUS: &[&str] = &["leader_of_", "group:", "beats:", ESCAPE];

/// What stands before the name of an ambiguous lock. Python knows nothing of it: those are not shared.
const ESCAPE: &str = "tooz-rs:";

/// The field of a group's hash that says that there is a group.
const CREATED: &str = "__created__";

/// What stands between the namespace and a channel's name.
const CHANNELS: &[&str] = &[":topic:", ":said:", ":inbox:", ":replies:"];

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// The names under one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    namespace: String,
}

/// The keys of one seat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SeatKeys {
    /// Who holds: Python's key.
    pub(crate) main: Vec<u8>,
    stem: Vec<u8>,
}

/// The keys of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupKeys {
    /// The members: Python's key.
    pub(crate) group: Vec<u8>,
    /// Whose session each member is, and until when.
    pub(crate) sessions: Vec<u8>,
}

/// The keys of one channel of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelKeys {
    /// The messages; the channel of news has the same name.
    pub(crate) log: Vec<u8>,
    stem: Vec<u8>,
}

impl Keys {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    /// The keys of a seat.
    pub(crate) fn seat(&self, seat: &Seat) -> SeatKeys {
        let namespace = &self.namespace;
        let main = match seat {
            Seat::Lock(name) => {
                let ambiguous = AMBIGUOUS.iter().any(|head| name.as_str().starts_with(head));
                let escape = if ambiguous { ESCAPE } else { "" };
                format!("{namespace}_{escape}{}_lock", name.as_str())
            }
            Seat::Leader(group) => format!("{namespace}_leader_of_{}_lock", group.as_str()),
        };
        SeatKeys { stem: stem(&main), main: main.into_bytes() }
    }

    /// The keys of a group.
    pub(crate) fn group(&self, group: &Name) -> GroupKeys {
        let main = format!("{}_group:{}", self.namespace, group.as_str());
        GroupKeys { sessions: side(&stem(&main), "sessions"), group: main.into_bytes() }
    }

    /// The keys of a channel of messages. The length of a group's name tells where the member's begins.
    pub(crate) fn channel_of(&self, channel: &Channel) -> ChannelKeys {
        let namespace = &self.namespace;
        let of_member = |kind: &str, group: &Name, member: &Name| {
            let (group, member) = (group.as_str(), member.as_str());
            format!("tooz-rs:{namespace}:{kind}:{}:{group}:{member}", group.len())
        };
        let log = match channel {
            Channel::Topic(name) => format!("tooz-rs:{namespace}:topic:{}", name.as_str()),
            Channel::Group(group) => format!("tooz-rs:{namespace}:said:{}", group.as_str()),
            Channel::Inbox { group, member } => of_member("inbox", group, member),
            Channel::Replies { group, member } => of_member("replies", group, member),
        };
        ChannelKeys { stem: stem(&log), log: log.into_bytes() }
    }

    /// The set of all groups.
    pub(crate) fn groups(&self) -> Vec<u8> {
        format!("{}_groups", self.namespace).into_bytes()
    }

    /// The sign of life of a member that Python looks at.
    pub(crate) fn beat(&self, member: &Name) -> Vec<u8> {
        format!("{}_beats:{}", self.namespace, member.as_str()).into_bytes()
    }

    /// A session: the key that lives as long, and the channel of news for it.
    pub(crate) fn session(&self, session: SessionId) -> Vec<u8> {
        let mut name = self.sessions();
        name.extend_from_slice(session.to_string().as_bytes());
        name
    }

    /// What the name of every session begins with.
    pub(crate) fn sessions(&self) -> Vec<u8> {
        format!("tooz-rs:{}:session:", self.namespace).into_bytes()
    }

    /// The channel that tells of changes to a seat.
    pub(crate) fn seat_channel(&self, seat: &SeatKeys) -> Vec<u8> {
        self.channel("seat:", &seat.main)
    }

    /// The channel that tells of changes to a group.
    pub(crate) fn group_channel(&self, group: &GroupKeys) -> Vec<u8> {
        self.channel("group:", &group.group)
    }

    fn channel(&self, kind: &str, of: &[u8]) -> Vec<u8> {
        let mut name = format!("tooz-rs:{}:{kind}", self.namespace).into_bytes();
        name.extend_from_slice(of);
        name
    }
}

impl SeatKeys {
    /// What we know of the seat.
    pub(crate) fn seat(&self) -> Vec<u8> {
        side(&self.stem, "seat")
    }

    /// Who waits, in order.
    pub(crate) fn queue(&self) -> Vec<u8> {
        side(&self.stem, "queue")
    }

    /// Who shares it, and until when.
    pub(crate) fn readers(&self) -> Vec<u8> {
        side(&self.stem, "readers")
    }

    /// The mark that a claim was withdrawn before it may have arrived.
    pub(crate) fn void(&self, claim: ClaimId) -> Vec<u8> {
        side(&self.stem, &format!("void:{claim}"))
    }

    /// The keys every script of a seat is given first.
    pub(crate) fn all(&self) -> Vec<Vec<u8>> {
        vec![self.main.clone(), self.seat(), self.queue(), self.readers()]
    }
}

impl ChannelKeys {
    /// What every script that reads is given: what is known of the channel, and its messages.
    pub(crate) fn to_read(&self) -> Vec<Vec<u8>> {
        vec![side(&self.stem, "log"), self.log.clone()]
    }

    /// What every script that writes is given: the ids that are known, too, in two halves.
    pub(crate) fn to_write(&self) -> Vec<Vec<u8>> {
        let mut keys = self.to_read();
        keys.extend([side(&self.stem, "ids:1"), side(&self.stem, "ids:2")]);
        keys
    }
}

/// The field of a member in a group's hash. The name of the mark of existence is moved out of its way.
pub(crate) fn field(member: &Name) -> Vec<u8> {
    let mut field = member.as_str().as_bytes().to_vec();
    if field.strip_prefix(CREATED.as_bytes()).is_some_and(|rest| rest.iter().all(|byte| *byte == 0)) {
        field.push(0);
    }
    field
}

/// The member of a field, if it names one.
pub(crate) fn member_of(field: &[u8]) -> Option<Name> {
    let escaped =
        field.strip_prefix(CREATED.as_bytes()).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
    let text = if escaped { field.strip_suffix(&[0])? } else { field };
    Name::new(std::str::from_utf8(text).ok()?).ok()
}

/// Refuses a namespace under which our own keys could not be told from Python's.
pub(crate) fn check_namespace(namespace: &str) -> Result<()> {
    if let Some(kind) = CHANNELS.iter().find(|kind| format!("{namespace}:").contains(**kind)) {
        let text =
            format!("namespace {namespace:?} has {kind:?} in it, as keys of our own do: choose another");
        return Err(Error::new(ErrorKind::InvalidOption, text));
    }
    if namespace.starts_with('{') || namespace.starts_with("tooz-rs:") {
        let text = format!(
            "namespace {namespace:?} begins like keys of our own: choose one that does not begin with '{{' or tooz-rs:"
        );
        return Err(Error::new(ErrorKind::InvalidOption, text));
    }
    Ok(())
}

fn side(stem: &[u8], kind: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(stem.len() + kind.len());
    key.extend_from_slice(stem);
    key.extend_from_slice(kind.as_bytes());
    key
}

/// What the side keys of `main` begin with: its own hash tag, so that they fall into its cluster slot.
fn stem(main: &str) -> Vec<u8> {
    if !main.contains('}') {
        return format!("{{{main}}}:").into_bytes();
    }
    match hash_tag(main) {
        Some(tag) => format!("{{{tag}}}:tooz:{main}:").into_bytes(),
        None => format!("{{{}}}:tooz:{main}:", number_in(slot(main.as_bytes()))).into_bytes(),
    }
}

/// What of a key decides its slot, if it is not all of it.
fn hash_tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    let (tag, _) = rest.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

/// The cluster slot of a key.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = std::str::from_utf8(key).ok().and_then(hash_tag);
    slot(tag.map_or(key, str::as_bytes))
}

fn slot(bytes: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(bytes) % SLOTS
}

/// The smallest number whose digits fall into `wanted`.
fn number_in(wanted: u16) -> u32 {
    NUMBERS.get(usize::from(wanted)).copied().unwrap_or_default()
}

/// For each slot the smallest number whose digits fall into it: looked for once, with the first name that needs one.
static NUMBERS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut found: Vec<Option<u32>> = vec![None; usize::from(SLOTS)];
    let mut missing = found.len();
    // Six digits reach every slot.
    for number in 0..1_000_000_u32 {
        let place = found.get_mut(usize::from(slot(number.to_string().as_bytes())));
        if let Some(place @ None) = place {
            *place = Some(number);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    found.into_iter().map(Option::unwrap_or_default).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_slot_is_the_smallest_that_is_in_it() {
        let mut seen = std::collections::HashSet::new();
        for number in 0.. {
            let slot = slot(number.to_string().as_bytes());
            if seen.insert(slot) {
                assert_eq!(number_in(slot), number, "slot {slot}");
            }
            if seen.len() == usize::from(SLOTS) {
                break;
            }
        }
    }

    fn lock(name: &str) -> SeatKeys {
        Keys::new("_tooz").seat(&Seat::Lock(Name::new(name).unwrap()))
    }

    fn text(key: &[u8]) -> &str {
        std::str::from_utf8(key).unwrap()
    }

    #[test]
    fn pythons_keys_are_named_as_python_names_them() {
        let keys = Keys::new("_tooz");
        let name = Name::new("a b").unwrap();
        assert_eq!(text(&lock("a b").main), "_tooz_a b_lock");
        assert_eq!(text(&keys.seat(&Seat::Leader(name.clone())).main), "_tooz_leader_of_a b_lock");
        assert_eq!(text(&keys.beat(&name)), "_tooz_beats:a b");
        assert_eq!(text(&keys.group(&name).group), "_tooz_group:a b");
        assert_eq!(text(&keys.groups()), "_tooz_groups");
    }

    /// Interleaving 25: a lock named like a leadership, a group or a beat is none.
    #[test]
    fn a_lock_never_has_the_key_of_something_else() {
        let keys = Keys::new("_tooz");
        let name = |text: &str| Name::new(text).unwrap();
        let others = [
            keys.seat(&Seat::Leader(name("g"))).main,
            keys.group(&name("g_lock")).group,
            keys.beat(&name("m_lock")),
            lock("tooz-rs:leader_of_g").main,
        ];
        for tricky in ["leader_of_g", "group:g_lock", "group:g", "beats:m", "tooz-rs:leader_of_g"] {
            let main = lock(tricky).main;
            assert!(
                others.iter().filter(|other| **other == main).count()
                    <= usize::from(tricky.starts_with(ESCAPE))
            );
        }
        let mut mains: Vec<_> = ["leader_of_g", "tooz-rs:leader_of_g", "tooz-rs:tooz-rs:leader_of_g", "g"]
            .map(|name| lock(name).main)
            .to_vec();
        mains.sort();
        mains.dedup();
        assert_eq!(mains.len(), 4);
    }

    /// Interleaving 26: whatever braces a name has, everything of a seat is in one slot.
    #[test]
    fn side_keys_are_in_the_slot_of_their_main_key() {
        for name in ["a", "{a}", "{a}b", "a}b{", "{}", "a{}{b}", "a{{b}c", "}", "{", "é{ü}", "x}{y}"] {
            let keys = lock(name);
            let wanted = slot_of(&keys.main);
            for key in keys.all().into_iter().chain([keys.void(ClaimId::random())]) {
                assert_eq!(slot_of(&key), wanted, "{name}: {}", text(&key));
            }
            let group = Keys::new("_tooz").group(&Name::new(name).unwrap());
            assert_eq!(slot_of(&group.group), slot_of(&group.sessions), "{name}");
            assert!(!keys.seat().starts_with(b"_tooz_"));
            let (group, member) = (Name::new(name).unwrap(), Name::new("m}{").unwrap());
            for channel in [Channel::Topic(group.clone()), Channel::Inbox { group, member }] {
                let keys = Keys::new("_tooz").channel_of(&channel).to_write();
                let slots: std::collections::BTreeSet<_> = keys.iter().map(|key| slot_of(key)).collect();
                assert_eq!(slots.len(), 1, "{channel:?}");
            }
        }
    }

    /// The two examples of the cluster specification, and `CLUSTER KEYSLOT` of a server.
    #[test]
    fn slots_are_counted_as_servers_count_them() {
        assert_eq!(slot_of(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), slot(b"foo{}{bar}"));
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot(b"{bar"));
        assert_eq!(slot_of(b"somekey"), 11_058);
    }

    #[test]
    fn every_slot_has_a_short_number() {
        for wanted in [0, 1, 8_191, 16_383] {
            let number = number_in(wanted);
            assert_eq!(slot(number.to_string().as_bytes()), wanted);
            assert!(number < 1_000_000, "{number}");
        }
    }

    #[test]
    fn a_member_named_like_the_mark_of_existence_is_a_member() {
        for text in ["a", "__created__", "__created__\0", "__created__x", "created"] {
            let name = Name::new(text).unwrap();
            assert_ne!(field(&name), CREATED.as_bytes());
            assert_eq!(member_of(&field(&name)), Some(name));
        }
        assert_eq!(member_of(CREATED.as_bytes()), None);
        assert_eq!(member_of(b"\xff"), None);
        assert_eq!(member_of(b""), None);
    }

    #[test]
    fn a_namespace_that_could_be_read_as_a_channel_is_refused() {
        for namespace in ["a:topic", "a:topic:b", "x:said", "x:inbox:", "y:replies", "{a", "tooz-rs:a"] {
            assert!(check_namespace(namespace).is_err(), "{namespace}");
        }
        for namespace in ["_tooz", "topic", "a:topics", "said"] {
            assert!(check_namespace(namespace).is_ok(), "{namespace}");
        }
    }
}
