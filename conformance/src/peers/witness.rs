//! A place where only one may be at a time, whatever language it speaks.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A folder that members of all languages enter one at a time, if their lock is worth its name.
///
/// Two things show an overlap: a second one cannot enter while the first is inside, and visits are counted by
/// reading and writing without any lock, so that the sum is wrong after an overlap nobody met.
#[derive(Clone, Debug)]
pub struct Witness(PathBuf);

impl Witness {
    /// The witness in this folder, where nobody has been yet.
    ///
    /// # Errors
    /// If its files cannot be made.
    pub fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("count"), "")?;
        Ok(Self(folder.to_owned()))
    }

    /// The witness in this folder, where others may be.
    pub fn at(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// Enters, counts the visit, leaves.
    ///
    /// # Errors
    /// If another one is inside.
    pub fn visit(&self) -> io::Result<()> {
        let inside = self.0.join("inside");
        OpenOptions::new().write(true).create_new(true).open(&inside)?;
        let count = self.visits()?;
        fs::write(self.0.join("count"), format!("{:020}", count + 1))?;
        fs::remove_file(inside)
    }

    /// How many visits were counted.
    ///
    /// # Errors
    /// If the count cannot be read.
    pub fn visits(&self) -> io::Result<u64> {
        let text = fs::read_to_string(self.0.join("count"))?;
        if text.is_empty() { Ok(0) } else { text.parse().map_err(io::Error::other) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_at_once_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::new(folder.path()).unwrap();
        witness.visit().unwrap();
        witness.visit().unwrap();
        assert_eq!(witness.visits().unwrap(), 2);

        fs::write(folder.path().join("inside"), "").unwrap();
        assert_eq!(witness.visit().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
