//! What stands in a claim's or member's file. Written by us, read as if by an enemy.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tooz_core::{Name, SessionId};

use crate::keys::{spell, unspell};

/// The longest body: an election's value or a member's capabilities.
pub(crate) const LONGEST_BODY: usize = 64 * 1024;

/// The longest head: two ids, a name of 255 bytes spelled out, a time.
const LONGEST_HEAD: usize = 2 * 1024;

const FIRST_LINE: &str = "tooz-file record 1";

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Who.
    pub(crate) member: Name,
    /// Which incarnation.
    pub(crate) session: SessionId,
    /// Which process: for people only.
    pub(crate) process: u32,
    /// When it was first written, by the wall clock, in microseconds.
    pub(crate) written_us: u64,
    /// The election's value, or the capabilities.
    pub(crate) body: Bytes,
}

impl Record {
    /// As stored: a first line with the version, one line per field, an empty line, the body.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let head = format!(
            "{FIRST_LINE}\nmember {}\nsession {}\nprocess {}\nwritten {}\nbody {}\n\n",
            spell(self.member.as_str()),
            self.session,
            self.process,
            self.written_us,
            self.body.len()
        );
        [head.as_bytes(), self.body.as_ref()].concat()
    }

    /// Reads what was stored; `None` if it is no whole record of a version we know. Unknown fields are skipped, so
    /// that later versions may add some.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(2).take(LONGEST_HEAD).position(|pair| pair == b"\n\n")?;
        let head = std::str::from_utf8(bytes.get(..end)?).ok()?;
        let body = bytes.get(end + 2..).filter(|body| body.len() <= LONGEST_BODY)?;
        let mut lines = head.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(' ')).collect();
        let field = |name: &str| fields.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        if field("body")?.parse() != Ok(body.len()) {
            return None;
        }
        Some(Self {
            member: Name::new(unspell(field("member")?)?).ok()?,
            session: SessionId::parse(field("session")?)?,
            process: field("process")?.parse().ok()?,
            written_us: field("written")?.parse().ok()?,
            body: Bytes::copy_from_slice(body),
        })
    }

    /// Reads a file, never more of it than a record can have; `None` if it is none or cannot be read.
    pub(crate) fn read(file: &File) -> Option<Self> {
        let length = usize::try_from(file.metadata().ok()?.len()).ok()?;
        let mut bytes = vec![0; length.min(LONGEST_HEAD + LONGEST_BODY + 1)];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        bytes.truncate(filled);
        Self::decode(&bytes)
    }

    /// When it was first written.
    pub(crate) fn written_at(&self) -> SystemTime {
        wall_time(self.written_us)
    }
}

/// The time that the wall clock showed.
pub(crate) fn wall_time(us: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_micros(us)).unwrap_or(UNIX_EPOCH)
}

/// The wall clock in microseconds.
pub(crate) fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The clock that counts from boot, the same for all processes of the machine, in microseconds.
pub(crate) fn boot_us() -> u64 {
    use tooz_core::Clock;
    tooz_core::BootClock.now().as_nanos() / 1_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(body: &[u8]) -> Record {
        Record {
            member: Name::new("w\n\0 1").unwrap(),
            session: SessionId::random(),
            process: 7,
            written_us: 1,
            body: Bytes::copy_from_slice(body),
        }
    }

    #[test]
    fn what_is_written_is_read_back_whatever_the_body() {
        for body in [b"".as_slice(), b"\n\n\0\xff", &[7; LONGEST_BODY]] {
            let record = record(body);
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
    }

    #[test]
    fn later_fields_are_skipped_and_later_versions_refused() {
        let ours = record(b"x");
        let text = String::from_utf8(ours.encode()).unwrap();
        assert_eq!(Record::decode(text.replace("member", "colour blue\nmember").as_bytes()), Some(ours));
        assert_eq!(Record::decode(text.replace("record 1", "record 2").as_bytes()), None);
        assert_eq!(Record::decode(&record(&vec![0; LONGEST_BODY + 1]).encode()), None);
    }

    proptest! {
        #[test]
        fn garbage_is_no_record_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1usize..150) {
            let mut damaged = record(&bytes).encode();
            damaged.truncate(damaged.len().saturating_sub(cut));
            prop_assert_eq!(Record::decode(&damaged), None);
            let _ = Record::decode(&bytes);
        }
    }
}
