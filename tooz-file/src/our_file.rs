//! Open files that were found to be ours.

use std::fs::File;
use std::ops::Deref;

use rustix::fs::Stat;

/// Which file a name or a descriptor stands for. That of an open file never changes, and while it is open no
/// other file gets the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of_stat(stat: &Stat) -> Self {
        // The widths differ between systems.
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
        Self { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
    }
}

/// An open file that was checked when it was opened, and is recognised without asking again.
#[derive(Debug)]
pub(crate) struct OurFile {
    file: File,
    identity: Identity,
}

impl OurFile {
    pub(crate) fn new(file: File, identity: Identity) -> Self {
        Self { file, identity }
    }

    /// Which file it is.
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }
}

impl Deref for OurFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
impl From<File> for OurFile {
    fn from(file: File) -> Self {
        let identity = Identity::of_stat(&rustix::fs::fstat(&file).unwrap());
        Self { file, identity }
    }
}
