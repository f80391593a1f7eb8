//! Numbers that only grow: fencing tokens and tickets, from one small file per seat.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use tooz_core::{Error, ErrorKind, Result};

use crate::error::failed;
use crate::folder::Folder;
use crate::record::wall_us;
use crate::short::{Patience, ShortLock};

/// The file's name in the seat's folder.
pub(crate) const FILE: &str = "counter";

/// 20 digits and a newline.
const LENGTH: usize = 21;

/// A seat's counter, locked while this lives. It is also the short lock under which the seat's queue and
/// holders change.
pub(crate) struct Sequence {
    file: ShortLock,
    path: PathBuf,
}

impl Sequence {
    /// Locks the seat's counter.
    pub(crate) async fn enter(patience: &Patience, seat: &Folder) -> Result<Self> {
        let path = seat.path_of(FILE);
        for _ in 0..8 {
            if let Some(file) = patience.enter(seat, FILE).await? {
                return Ok(Self { file, path });
            }
            seat.file_or_create(FILE)?;
        }
        Err(failed("lock", &path, rustix::io::Errno::NOENT))
    }

    /// Draws the next number: larger than any drawn before, and not below the wall clock in microseconds, so
    /// that it goes on growing where the counter itself was lost. Nothing is synced to the disk: 4 ms for
    /// what only an interrupted power supply and a wall clock set back *together* could need.
    pub(crate) fn draw(&self) -> Result<u64> {
        let mut bytes = [0; LENGTH + 1];
        let length = self.file.read_at(&mut bytes, 0).map_err(|error| failed("read", &self.path, error))?;
        let last = match bytes.get(..length).unwrap_or_default() {
            [] => self.born_us()?,
            text => read(text).ok_or_else(|| self.damaged("is damaged"))?,
        };
        let next = next(last, wall_us()).ok_or_else(|| self.damaged("has reached the end of numbers"))?;
        self.file
            .write_all_at(format!("{next:020}\n").as_bytes(), 0)
            .map_err(|error| failed("write", &self.path, error))?;
        Ok(next)
    }

    /// A bound for an empty counter: its content may have been lost with the power, but not the time of its
    /// last change, and numbers drawn since it was created kept to that time. A second covers the coarse
    /// clock of file systems.
    fn born_us(&self) -> Result<u64> {
        let changed = self
            .file
            .metadata()
            .and_then(|data| data.modified())
            .map_err(|error| failed("look at", &self.path, error))?;
        let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        // A clock that has not moved on is the common case: a new counter.
        if changed_us > wall_us() { Ok(changed_us.saturating_add(1_000_000)) } else { Ok(0) }
    }

    fn damaged(&self, how: &str) -> Error {
        let text = format!(
            "counter {:?} {how}: no number can be drawn that is sure to be new. Write into it, as 20 digits and a \
             newline, a number above every fencing token in use",
            self.path
        );
        Error::new(ErrorKind::Corrupt, text)
    }
}

/// Reads a counter. Only what [`draw`](Sequence::draw) writes is one.
pub(crate) fn read(text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"\n").filter(|digits| digits.len() == LENGTH - 1)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn next(last: u64, wall_us: u64) -> Option<u64> {
    // The largest number is never handed out: nothing could come after it.
    last.checked_add(1).map(|next| next.max(wall_us)).filter(|next| *next < u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_whatever_the_wall_clock_does() {
        assert_eq!(next(0, 500), Some(500));
        assert_eq!(next(500, 500), Some(501));
        // A reboot with the clock set back.
        assert_eq!(next(500, 3), Some(501));
        assert_eq!(next(u64::MAX, 3), None);
        assert_eq!(next(u64::MAX - 1, 3), None);
    }

    #[test]
    fn only_20_digits_and_a_newline_are_a_counter() {
        assert_eq!(read(b"00000000000000000042\n"), Some(42));
        for text in
            [b"42\n".as_slice(), b"0000000000000000004", b"99999999999999999999\n", b"+0000000000000000042\n"]
        {
            assert_eq!(read(text), None);
        }
    }
}
