//! Files in the making.

use std::os::unix::fs::FileExt;

use tooz_core::{Error, ErrorKind, Mode, Result};

use crate::error::failed;
use crate::flock;
use crate::folder::Folder;
use crate::our_file::OurFile;
use crate::spares::Spare;

/// A file in the making: gone when dropped, unless it was placed.
pub(crate) struct Draft<'a> {
    folder: &'a Folder,
    name: String,
    file: Option<OurFile>,
}

impl<'a> Draft<'a> {
    /// Fills and locks a new file.
    pub(crate) fn write(folder: &'a Folder, name: String, file: OurFile, content: &[u8]) -> Result<Self> {
        let path = folder.path_of(&name);
        let written = file.write_all_at(content, 0).map_err(|error| failed("write", &path, error));
        let locked = written.and_then(|()| {
            flock::try_lock(&file, Mode::Exclusive).map_err(|error| failed("lock", &path, error))
        });
        // From here on it is removed where it fails.
        let draft = Self { folder, name, file: Some(file) };
        match locked? {
            true => Ok(draft),
            false => Err(Error::new(ErrorKind::Unavailable, format!("{path:?} is locked by somebody else"))),
        }
    }

    /// A record that was kept.
    pub(crate) fn spare(folder: &'a Folder, spare: Spare) -> Self {
        Self { folder, name: spare.name, file: Some(spare.file) }
    }

    /// Puts it where another of our records stands. ext4 writes a file to the disk at once that is renamed over
    /// another (2 ms); swapping the two and removing the old one spares that.
    pub(crate) fn replace(mut self, folder: &Folder, name: &str) -> Result<OurFile> {
        if self.folder.swap(&self.name, folder, name)?
            && let Some(file) = self.file.take()
        {
            // Under the draft's name stands the old one now; a later session sweeps what stays.
            let _ = self.folder.remove(&self.name);
            return Ok(file);
        }
        self.place(folder, name)
    }

    /// Puts it where others look, replacing what stands there. Closing the file ends its life.
    pub(crate) fn place(self, folder: &Folder, name: &str) -> Result<OurFile> {
        let missing = || failed("place", &folder.path_of(name), rustix::io::Errno::NOENT);
        self.try_place(folder, name)?.ok_or_else(missing)
    }

    /// The same; `None` if somebody has taken it away, as may happen to a record that was kept for long.
    pub(crate) fn try_place(mut self, folder: &Folder, name: &str) -> Result<Option<OurFile>> {
        Ok(if self.folder.rename(&self.name, folder, name)? { self.file.take() } else { None })
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            // A later session sweeps what cannot be removed now.
            let _ = self.folder.remove(&self.name);
        }
    }
}
