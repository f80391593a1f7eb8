//! The fenced register: a resource that refuses tokens below the largest it has seen.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::history::Outcome;

/// A resource that several processes use, in a file: it refuses a token below the largest it has seen and
/// numbers what it accepts. Its own short lock makes one use one act; that lock is not what is tested.
pub struct Register {
    file: File,
}

impl Register {
    /// The register in this file, made if it is missing.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(Self { file })
    }

    /// Uses the resource with a token.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn write(&mut self, token: u64) -> io::Result<Outcome> {
        self.file.lock()?;
        let outcome = self.write_locked(token);
        self.file.unlock()?;
        outcome
    }

    fn write_locked(&mut self, token: u64) -> io::Result<Outcome> {
        let mut text = String::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_string(&mut text)?;
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next().transpose().map_err(io::Error::other);
        let (largest, nth) = (next()?.unwrap_or(0), next()?.unwrap_or(0));
        if token < largest {
            return Ok(Outcome::Refused);
        }
        self.file.seek(SeekFrom::Start(0))?;
        // Fixed width: a longer text is never left behind a shorter one.
        self.file.write_all(format!("{token:020} {:020}\n", nth + 1).as_bytes())?;
        Ok(Outcome::Accepted(nth + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_tokens_are_refused_and_accepted_ones_are_numbered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("register");
        let (mut a, mut b) = (Register::open(&path).unwrap(), Register::open(&path).unwrap());
        assert_eq!(a.write(5).unwrap(), Outcome::Accepted(1));
        assert_eq!(b.write(4).unwrap(), Outcome::Refused);
        assert_eq!(b.write(5).unwrap(), Outcome::Accepted(2));
        assert_eq!(a.write(u64::MAX).unwrap(), Outcome::Accepted(3));
    }
}
