//! The kernel's locks on open files.
//!
//! A lock belongs to an open file description: it ends when the last descriptor of it is closed, by whatever
//! way, `kill -9` included. Only closing is announced to those who listen, unlocking is not.

use std::fs::File;
use std::io;

use fs4::{FileExt, TryLockError};
use tooz_core::Mode;

/// Tries to lock; never blocks. `false` if another open file has it.
pub(crate) fn try_lock(file: &File, mode: Mode) -> io::Result<bool> {
    let tried = match mode {
        Mode::Exclusive => FileExt::try_lock(file),
        Mode::Shared => FileExt::try_lock_shared(file),
    };
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Lets go without closing: the lock is free whoever else has a descriptor of this open file.
pub(crate) fn unlock(file: &File) -> io::Result<()> {
    FileExt::unlock(file)
}

/// Whether the one who created and locked this file still has it open. Only ever asked of a file that marks
/// somebody's life, never of the lock itself: the look takes a shared lock for an instant.
pub(crate) fn is_owned(file: &File) -> io::Result<bool> {
    try_lock(file, Mode::Shared).map(|free| !free)
}

/// Who has a lock on the file, for an error message, where the system tells.
pub(crate) fn owner(file: &File) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let inode = file.metadata().ok()?.ino();
    // Lines may be left out while other locks come and go: read it more than once.
    let pid = (0..8).find_map(|_| {
        let table = std::fs::read_to_string("/proc/locks").ok()?;
        table.lines().find_map(|line| owner_in(line, inode))
    })?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("process {pid} ({})", name.trim_end().escape_debug()))
}

/// The process in a line like `1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF`, if it is about the inode.
fn owner_in(line: &str, inode: u64) -> Option<u32> {
    let mut words = line.split_whitespace().skip(1);
    let kind = words.next()?;
    let pid = words.nth(2)?;
    let file = words.next()?;
    let same = file.rsplit(':').next()?.parse() == Ok(inode);
    (kind == "FLOCK" && same).then(|| pid.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_opens_of_one_process_exclude_each_other_and_closing_releases() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (a, b) = (file.reopen().unwrap(), file.reopen().unwrap());
        assert!(try_lock(&a, Mode::Exclusive).unwrap());
        assert!(!try_lock(&b, Mode::Shared).unwrap() && is_owned(&b).unwrap());
        drop(a);
        assert!(!is_owned(&b).unwrap());
    }

    #[test]
    fn owner_is_read_from_the_lock_table() {
        let line = "1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF";
        assert_eq!(owner_in(line, 1234), Some(4711));
        assert_eq!(owner_in(line, 234), None);
        assert_eq!(owner_in("1: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 EOF", 1234), None);
        assert_eq!(owner_in("nonsense", 1234), None);
    }
}
