//! Reading a folder's names.

use std::ffi::CStr;
use std::sync::{Mutex, PoisonError};

use rustix::fd::OwnedFd;
use rustix::io::Result;

/// The reading position of an open folder, which is one for all who share the descriptor.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    moved: Mutex<bool>,
}

impl Listing {
    /// Shows every name from the first to the last, until `each` refuses one. Whoever else lists the same
    /// descriptor waits meanwhile.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn each(&self, fd: &OwnedFd, mut each: impl FnMut(&CStr) -> bool) -> Result<()> {
        use std::mem::MaybeUninit;

        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *moved, true) {
            rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(0))?;
        }
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut entries = rustix::fs::RawDir::new(fd, &mut buffer);
        while let Some(entry) = entries.next() {
            if !each(entry?.file_name()) {
                break;
            }
        }
        Ok(())
    }

    /// Shows every name from the first to the last, until `each` refuses one.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn each(&self, fd: &OwnedFd, mut each: impl FnMut(&CStr) -> bool) -> Result<()> {
        let _alone = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in rustix::fs::Dir::read_from(fd)? {
            if !each(entry?.file_name()) {
                break;
            }
        }
        Ok(())
    }
}
