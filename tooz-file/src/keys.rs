//! Names only: how locks, groups, members and claims are called on disk. Pure.

use sha2::{Digest, Sha256};
use tooz_core::{Channel, ClaimId, Mode, Name};

/// The longest segment that spells its name out. Longer ones are hashed; either fits a file name (255
/// bytes) with room for a prefix.
const LONGEST_SPELLED: usize = 200;

/// What a hashed segment begins with; no spelled one does.
const HASHED: &str = "=";

/// A name as one safe file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    text: String,
    spelled: bool,
}

impl Segment {
    /// Letters, digits, `-`, `_` and an inner `.` stand for themselves, every other byte is `%XX`; what gets
    /// too long is `=` and the SHA-256 in hex.
    pub(crate) fn of(name: &Name) -> Self {
        let text = spell(name.as_str());
        if text.len() <= LONGEST_SPELLED {
            return Self { text, spelled: true };
        }
        Self { text: hashed(name.as_str()), spelled: false }
    }

    /// The file name.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the segment alone tells the name.
    pub(crate) fn is_spelled(&self) -> bool {
        self.spelled
    }
}

/// A channel as one safe file name: its kind, and its name or names as in a segment; what gets too long is
/// hashed.
pub(crate) fn channel_folder(channel: &Channel) -> String {
    let (kind, text) = match channel {
        Channel::Topic(name) => ("t", spell(name.as_str())),
        Channel::Group(group) => ("g", spell(group.as_str())),
        Channel::Inbox { group, member } => ("i", spell_both(group, member)),
        Channel::Replies { group, member } => ("r", spell_both(group, member)),
    };
    if text.len() <= LONGEST_SPELLED { format!("{kind}-{text}") } else { format!("{kind}-{}", hashed(&text)) }
}

/// No spelled name has a tilde.
fn spell_both(group: &Name, member: &Name) -> String {
    format!("{}~{}", spell(group.as_str()), spell(member.as_str()))
}

/// What a file name says about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It spells this one.
    Spelled(Name),
    /// It is the hash of one that is written down elsewhere.
    Hashed,
    /// It is none of ours.
    Foreign,
}

/// Reads a file name back. Only what [`Segment::of`] writes is ours.
pub(crate) fn read_segment(text: &str) -> Reading {
    if let Some(hex) = text.strip_prefix(HASHED) {
        let ours = hex.len() == 64 && is_hex(hex);
        return if ours { Reading::Hashed } else { Reading::Foreign };
    }
    unspell(text)
        .and_then(|name| Name::new(name).ok())
        .filter(|name| Segment::of(name).text == text)
        .map_or(Reading::Foreign, Reading::Spelled)
}

fn hashed(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{HASHED}{hex}")
}

/// Text with every unsafe byte as `%XX`.
pub(crate) fn spell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || (byte == b'.' && at > 0) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What [`spell`] wrote.
pub(crate) fn unspell(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            out.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

/// Where a claim stands, as the first letter of its file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    /// It waits.
    Queued,
    /// It holds.
    Holding,
    /// It holds and was told to let go.
    Told,
    /// It was removed although its process may not have heard.
    Evicted,
}

/// The letters, for those who listen to a seat's folder.
pub(crate) const PLACES: &[&str] = &["q-", "h-", "t-", "x-"];

impl Place {
    fn letter(self) -> char {
        match self {
            Self::Queued => 'q',
            Self::Holding => 'h',
            Self::Told => 't',
            Self::Evicted => 'x',
        }
    }

    fn of_letter(letter: &str) -> Option<Self> {
        Some(match letter {
            "q" => Self::Queued,
            "h" => Self::Holding,
            "t" => Self::Told,
            "x" => Self::Evicted,
            _ => return None,
        })
    }

    /// Whether a claim here holds the seat.
    pub(crate) fn holds(self) -> bool {
        matches!(self, Self::Holding | Self::Told)
    }
}

/// One claim's file, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    /// Where it stands.
    pub(crate) place: Place,
    /// The ticket's number, or the grant's token.
    pub(crate) number: u64,
    /// Whose it is.
    pub(crate) claim: ClaimId,
    /// Alone or together with others.
    pub(crate) mode: Mode,
    /// Since when, in microseconds since boot.
    pub(crate) since_us: u64,
}

impl Entry {
    /// The same claim elsewhere.
    pub(crate) fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// The file name.
    pub(crate) fn file_name(&self) -> String {
        let mode = match self.mode {
            Mode::Exclusive => 'x',
            Mode::Shared => 's',
        };
        format!("{}-{:020}-{}-{mode}-{:016x}", self.place.letter(), self.number, self.claim, self.since_us)
    }

    /// Reads a file name. Only what [`file_name`](Self::file_name) writes is ours. A long queue is read
    /// at every turn, so this makes no text of its own to compare with.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let place = Place::of_letter(parts.next()?)?;
        let number =
            parts.next().filter(|digits| digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit()))?;
        let claim = parts.next().filter(|digits| is_hex(digits))?;
        let mode = match parts.next()? {
            "x" => Mode::Exclusive,
            "s" => Mode::Shared,
            _ => return None,
        };
        let since = parts.next().filter(|digits| digits.len() == 16 && is_hex(digits))?;
        if parts.next().is_some() {
            return None;
        }
        Some(Self {
            place,
            number: number.parse().ok()?,
            claim: ClaimId::parse(claim)?,
            mode,
            since_us: u64::from_str_radix(since, 16).ok()?,
        })
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn channels_of_all_kinds_and_names_are_apart() {
        let name = |text: &str| Name::new(text).unwrap();
        let inbox = |group: &str, member: &str| {
            channel_folder(&Channel::Inbox { group: name(group), member: name(member) })
        };
        assert_eq!(channel_folder(&Channel::Topic(name("a/b"))), "t-a%2Fb");
        assert_eq!(channel_folder(&Channel::Group(name("a"))), "g-a");
        assert_eq!(inbox("a", "b~c"), "i-a~b%7Ec");
        assert_ne!(inbox("a~b", "c"), inbox("a", "b~c"));
        let (long, wide) = ("x".repeat(255), "é".repeat(127));
        assert_ne!(inbox(&long, "a"), inbox("a", &long));
        assert_ne!(inbox(&long, &wide), inbox(&wide, &long));
        assert!(inbox(&long, &wide).len() < 80);
    }

    #[test]
    fn odd_names_become_one_safe_segment() {
        let shown = |text: &str| Segment::of(&Name::new(text).unwrap()).text;
        assert_eq!(shown("nightly"), "nightly");
        assert_eq!(shown(".."), "%2E.");
        assert_eq!(shown("../x"), "%2E.%2Fx");
        assert_eq!(shown("a\0b\n%"), "a%00b%0A%25");
        assert_eq!(shown("é"), "%C3%A9");
        assert_eq!(shown("=x"), "%3Dx");
        let long = Segment::of(&Name::new("/".repeat(255)).unwrap());
        assert!(!long.is_spelled() && long.text.len() == 65 && long.text.starts_with('='));
    }

    #[test]
    fn other_spellings_of_a_name_are_foreign() {
        for text in ["", ".", "..", "%61", "%2e.", "%", "%C3", "a b", "a/b", "=", "=xyz", "%FF"] {
            assert_eq!(read_segment(text), Reading::Foreign, "{text}");
        }
    }

    #[test]
    fn entries_are_read_only_as_they_are_written() {
        let entry = Entry {
            place: Place::Told,
            number: u64::MAX,
            claim: ClaimId::random(),
            mode: Mode::Shared,
            since_us: 77,
        };
        let name = entry.file_name();
        assert_eq!(Entry::read(&name), Some(entry));
        let bads = [
            name.replace("t-", "z-"),
            name.replace("-s-", "-y-"),
            name.replace("-s-", "-S-"),
            format!("{name}0"),
            format!("{name}-"),
            name.replace("t-1", "t-01"),
            name.replace("t-1", "t-+"),
            name.replace("t-1", "t-9"),
            name.replace("-000000000000004d", "-000000000000004D"),
            name.to_uppercase(),
        ];
        for bad in bads {
            assert_eq!(Entry::read(&bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_name_is_safe_distinct_and_comes_back(a in "\\PC{1,60}|[\\x00-\\x7f]{1,85}", b in "\\PC{1,60}") {
            let (a, b) = (Name::new(&a).unwrap(), Name::new(&b).unwrap());
            let (sa, sb) = (Segment::of(&a), Segment::of(&b));
            prop_assert!(sa.text.len() <= LONGEST_SPELLED && !sa.text.starts_with('.'));
            prop_assert!(sa.text.bytes().all(|c| c.is_ascii_graphic() && c != b'/'));
            prop_assert_eq!(a == b, sa == sb);
            match read_segment(&sa.text) {
                Reading::Spelled(name) => prop_assert_eq!(name, a),
                Reading::Hashed => prop_assert!(!sa.is_spelled()),
                Reading::Foreign => prop_assert!(false, "{:?} is not read back", sa),
            }
        }
    }
}
