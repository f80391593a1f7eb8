//! The lock file, open: whoever has locked it holds the seat.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, ops};

use tooz_core::Mode;

use crate::flock;
use crate::our_file::OurFile;

/// An open lock file. Dropping it lets go.
///
/// Closing alone would do, were it not for forks: between `fork` and `exec`, a child that some other thread
/// starts has a copy of every descriptor, and keeps the lock with it. So letting go is said outright, unless
/// a tether was given out to do just that; and because the kernel announces only the *last* closing, it is
/// announced by a change of the file, which is empty anyway.
///
/// A child that was forked and goes on without `exec` drops its copies some day, too. The kernel's lock is one
/// for both, so that the child only closes: saying it outright would take the lock from its parent.
#[derive(Debug)]
pub(crate) struct Latch {
    file: OurFile,
    /// The process that opened it.
    process: u32,
    locked: AtomicBool,
    tethered: AtomicBool,
}

impl Latch {
    pub(crate) fn new(file: impl Into<OurFile>) -> Self {
        Self {
            file: file.into(),
            process: std::process::id(),
            locked: AtomicBool::new(false),
            tethered: AtomicBool::new(false),
        }
    }

    /// Tries to lock; never blocks. `false` if another open file has it.
    pub(crate) fn try_lock(&self, mode: Mode) -> io::Result<bool> {
        let locked = flock::try_lock(&self.file, mode)?;
        self.locked.fetch_or(locked, Ordering::AcqRel);
        Ok(locked)
    }

    /// Another descriptor of the same open file: the lock is held until both are closed.
    pub(crate) fn tether(&self) -> Option<OwnedFd> {
        let tether = self.file.try_clone().ok()?;
        self.tethered.store(true, Ordering::Release);
        Some(OwnedFd::from(tether))
    }
}

impl ops::Deref for Latch {
    type Target = OurFile;

    fn deref(&self) -> &OurFile {
        &self.file
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        let (locked, tethered) = (*self.locked.get_mut(), *self.tethered.get_mut());
        if locked && !tethered && self.process == std::process::id() {
            // Should either fail, the closing that follows does the same a little later.
            let _ = flock::unlock(&self.file);
            let _ = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropping_lets_go_even_if_a_forked_child_has_a_copy_but_not_past_a_tether() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let latch = Latch::new(file.reopen().unwrap());
        assert!(latch.try_lock(Mode::Exclusive).unwrap());
        let childs_copy = latch.try_clone().unwrap();
        drop(latch);
        assert!(!flock::is_owned(&file.reopen().unwrap()).unwrap());
        drop(childs_copy);

        let latch = Latch::new(file.reopen().unwrap());
        assert!(latch.try_lock(Mode::Exclusive).unwrap());
        let tether = latch.tether().unwrap();
        drop(latch);
        assert!(flock::is_owned(&file.reopen().unwrap()).unwrap());
        drop(tether);
        assert!(!flock::is_owned(&file.reopen().unwrap()).unwrap());
    }

    #[test]
    fn dropping_a_forked_childs_copy_lets_the_parents_lock_be() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let parents = Latch::new(file.reopen().unwrap());
        assert!(parents.try_lock(Mode::Exclusive).unwrap());
        // What a child has after a fork: the same open file, the same memory, another process id.
        let mut childs = Latch::new(parents.try_clone().unwrap());
        childs.locked = AtomicBool::new(true);
        childs.process = parents.process.wrapping_add(1);
        drop(childs);
        assert!(flock::is_owned(&file.reopen().unwrap()).unwrap());

        drop(parents);
        assert!(!flock::is_owned(&file.reopen().unwrap()).unwrap());
    }

    #[test]
    fn a_latch_that_never_locked_lets_nobody_elses_lock_go() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let (held, waits) = (Latch::new(file.reopen().unwrap()), Latch::new(file.reopen().unwrap()));
        assert!(held.try_lock(Mode::Exclusive).unwrap() && !waits.try_lock(Mode::Exclusive).unwrap());
        drop(waits);
        assert!(flock::is_owned(&file.reopen().unwrap()).unwrap());
    }
}
