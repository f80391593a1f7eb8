//! Folders and files that trust nothing they find.
//!
//! Every open refuses symbolic links, never blocks on a FIFO, is closed on exec, and checks that what it got
//! is of the expected kind and ours.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Uid;
use tooz_core::{Error, ErrorKind, Result};

use crate::error::{failed, foreign};
use crate::listing::Listing;
use crate::our_file::{Identity, OurFile};

/// More entries in one folder than this are not ours.
const MOST_ENTRIES: usize = 100_000;

/// An open folder of ours.
#[derive(Debug)]
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    /// Whom everything in it has to belong to.
    owner: Uid,
    listing: Listing,
}

const FOLDER_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE_FLAGS: OFlags =
    OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

impl Folder {
    /// Opens a folder by its path. Says why it is refused; `None` if it is missing.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>> {
        match rustix::fs::open(path, FOLDER_FLAGS, Mode::empty()) {
            Ok(fd) => Self::checked(fd, path.to_path_buf(), rustix::process::geteuid()).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                let text = match path.symlink_metadata() {
                    Ok(found) if found.is_symlink() => {
                        format!("{path:?} is a symbolic link: name what it leads to")
                    }
                    _ => not_a_folder(path),
                };
                Err(Error::new(ErrorKind::Denied, text))
            }
            Err(errno) => Err(failed("open", path, errno)),
        }
    }

    /// Opens a folder inside this one; `None` if it is missing.
    pub(crate) fn sub(&self, name: &str) -> Result<Option<Self>> {
        let path = self.path.join(name);
        match rustix::fs::openat(&self.fd, name, FOLDER_FLAGS, Mode::empty()) {
            Ok(fd) => Self::checked(fd, path, self.owner).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::LOOP | Errno::NOTDIR) => Err(foreign(&path, "not a folder of ours")),
            Err(errno) => Err(failed("open", &path, errno)),
        }
    }

    /// Makes a folder inside this one, for us alone whatever the umask; nothing if it exists.
    pub(crate) fn make(&self, name: &str) -> Result<()> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            // Somebody who sweeps may have taken it away again: whoever opens it next finds that out.
            Ok(()) => match rustix::fs::chmodat(&self.fd, name, Mode::RWXU, AtFlags::empty()) {
                Err(Errno::NOENT) => Ok(()),
                done => done,
            },
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno),
        }
        .map_err(|errno| failed("create the folder", &self.path.join(name), errno))
    }

    /// Opens a folder inside this one, making it first where it is missing.
    pub(crate) fn sub_or_make(&self, name: &str) -> Result<Self> {
        for _ in 0..8 {
            if let Some(folder) = self.sub(name)? {
                return Ok(folder);
            }
            self.make(name)?;
        }
        Err(failed("open", &self.path.join(name), Errno::NOENT))
    }

    /// Opens a file for reading and writing; `None` if it is missing.
    pub(crate) fn file(&self, name: &str) -> Result<Option<OurFile>> {
        self.open_file(name, OFlags::RDWR)
    }

    /// Opens a file for reading and writing, for us alone whatever the umask, creating it if it is missing.
    pub(crate) fn file_or_create(&self, name: &str) -> Result<OurFile> {
        // Never `None`: with `CREATE` only the folder itself can be missing.
        self.open_file(name, OFlags::RDWR | OFlags::CREATE)?
            .ok_or_else(|| failed("create", &self.path.join(name), Errno::NOENT))
    }

    /// Creates a file that did not exist.
    pub(crate) fn create(&self, name: &str) -> Result<OurFile> {
        self.open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?
            .ok_or_else(|| failed("create", &self.path.join(name), Errno::NOENT))
    }

    /// Opens a file for a look; `None` if it is missing.
    pub(crate) fn look(&self, name: &str) -> Result<Option<OurFile>> {
        self.open_file(name, OFlags::RDONLY)
    }

    fn open_file(&self, name: &str, flags: OFlags) -> Result<Option<OurFile>> {
        let private = Mode::RUSR | Mode::WUSR;
        let path = || self.path.join(name);
        let fd = match rustix::fs::openat(&self.fd, name, FILE_FLAGS | flags, private) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(foreign(&path(), "a symbolic link")),
            Err(Errno::ISDIR) => return Err(foreign(&path(), "a folder, not a file")),
            Err(Errno::NXIO | Errno::NODEV) => return Err(foreign(&path(), "not a regular file")),
            Err(errno) => return Err(failed("open", &path(), errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failed("look at", &path(), errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(foreign(&path(), "not a regular file"));
        }
        if stat.st_uid != self.owner.as_raw() {
            return Err(foreign(&path(), "somebody else's file"));
        }
        if stat.st_nlink > 1 {
            return Err(foreign(&path(), "a hard link to some other file"));
        }
        if flags.contains(OFlags::CREATE) && Mode::from_raw_mode(stat.st_mode) != private && stat.st_size == 0
        {
            rustix::fs::fchmod(&fd, private).map_err(|errno| failed("protect", &path(), errno))?;
        }
        Ok(Some(OurFile::new(File::from(fd), Identity::of_stat(&stat))))
    }

    fn checked(fd: OwnedFd, path: PathBuf, owner: Uid) -> Result<Self> {
        let stat = rustix::fs::fstat(&fd).map_err(|errno| failed("look at", &path, errno))?;
        if stat.st_uid != owner.as_raw() {
            let text = format!("folder {path:?} belongs to somebody else: use one of your own");
            return Err(Error::new(ErrorKind::Denied, text));
        }
        let mode = Mode::from_raw_mode(stat.st_mode);
        if mode.intersects(Mode::WGRP | Mode::WOTH) && !mode.contains(Mode::SVTX) {
            let text = format!("folder {path:?} can be written by others: make it private with chmod 700");
            return Err(Error::new(ErrorKind::Denied, text));
        }
        Ok(Self { fd, path, owner, listing: Listing::default() })
    }

    /// The folder's path, as it was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of an entry.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Which file stands under the name now.
    pub(crate) fn identity_of(&self, name: &str) -> Result<Option<Identity>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Identity::of_stat(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("look at", &self.path.join(name), errno)),
        }
    }

    /// How long ago the entry was changed last, by the wall clock; `None` if it is missing.
    pub(crate) fn age_of(&self, name: &str) -> Result<Option<Duration>> {
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let changed = Duration::from_secs(u64::try_from(stat.st_mtime).unwrap_or(0));
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Ok(Some(now.saturating_sub(changed)))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("look at", &self.path.join(name), errno)),
        }
    }

    /// Whether the open file is the one that stands under the name.
    pub(crate) fn shows(&self, name: &str, file: &OurFile) -> Result<bool> {
        Ok(self.identity_of(name)? == Some(file.identity()))
    }

    /// The same folder with a reading position of its own. One that is open for long is listed this way: a
    /// forked child shares the position, too.
    pub(crate) fn again(&self) -> Result<Self> {
        let fault = |errno| failed("open", &self.path, errno);
        let fd = rustix::fs::openat(&self.fd, ".", FOLDER_FLAGS, Mode::empty()).map_err(fault)?;
        Self::checked(fd, self.path.clone(), self.owner)
    }

    /// The names inside, in no order. What is no UTF-8 is not ours and left out.
    pub(crate) fn names(&self) -> Result<Vec<String>> {
        self.list(|name| Some(name.to_owned()))
    }

    /// What the names inside are read as, in no order.
    pub(crate) fn list<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
        let mut found = Vec::new();
        let mut count = 0_usize;
        let take = |name: &CStr| {
            let name = name.to_bytes();
            if name == b"." || name == b".." {
                return true;
            }
            found.extend(std::str::from_utf8(name).ok().and_then(&read));
            count += 1;
            count <= MOST_ENTRIES
        };
        self.listing.each(&self.fd, take).map_err(|errno| failed("list", &self.path, errno))?;
        if count > MOST_ENTRIES {
            let text = format!("folder {:?} has more than {MOST_ENTRIES} entries", self.path);
            return Err(Error::new(ErrorKind::Exhausted, text));
        }
        Ok(found)
    }

    /// Renames an entry, replacing what has the new name; `false` if there is no such entry.
    pub(crate) fn rename(&self, from: &str, to: &Self, name: &str) -> Result<bool> {
        match rustix::fs::renameat(&self.fd, from, &to.fd, name) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed("rename to", &to.path.join(name), errno)),
        }
    }

    /// Swaps two entries in one act; `false` if one is missing or the file system cannot.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn swap(&self, one: &str, to: &Self, other: &str) -> Result<bool> {
        match rustix::fs::renameat_with(&self.fd, one, &to.fd, other, rustix::fs::RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::INVAL | Errno::NOSYS) => Ok(false),
            Err(errno) => Err(failed("swap", &to.path.join(other), errno)),
        }
    }

    /// Swaps two entries in one act; `false` if one is missing or the file system cannot.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn swap(&self, _: &str, _: &Self, _: &str) -> Result<bool> {
        Ok(false)
    }

    /// Renames a folder that has entries, replacing none that has; `false` if the name is taken.
    pub(crate) fn place(&self, from: &str, to: &Self, name: &str) -> Result<bool> {
        match rustix::fs::renameat(&self.fd, from, &to.fd, name) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(false),
            Err(Errno::NOTDIR) => Err(foreign(&to.path.join(name), "not a folder of ours")),
            Err(errno) => Err(failed("rename to", &to.path.join(name), errno)),
        }
    }

    /// Waits until the names inside are on the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.fd).map_err(|errno| failed("sync", &self.path, errno))
    }

    /// Removes a file; `false` if there is none.
    pub(crate) fn remove(&self, name: &str) -> Result<bool> {
        self.unlink(name, AtFlags::empty())
    }

    /// Removes a folder and the files in it; `false` if there is none. Never follows a link.
    pub(crate) fn remove_folder(&self, name: &str) -> Result<bool> {
        if let Some(folder) = self.sub(name)? {
            for entry in folder.names()? {
                match rustix::fs::unlinkat(&folder.fd, entry.as_str(), AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::ISDIR | Errno::PERM) => {
                        folder.remove_folder(&entry)?;
                    }
                    Err(errno) => return Err(failed("remove", &folder.path.join(entry), errno)),
                }
            }
        }
        self.unlink(name, AtFlags::REMOVEDIR)
    }

    /// Removes a folder if nothing is in it.
    pub(crate) fn remove_empty(&self, name: &str) -> Result<()> {
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(errno) => Err(failed("remove", &self.path.join(name), errno)),
        }
    }

    fn unlink(&self, name: &str, flags: AtFlags) -> Result<bool> {
        match rustix::fs::unlinkat(&self.fd, name, flags) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed("remove", &self.path.join(name), errno)),
        }
    }

    /// Touches a file's attributes without changing them, which tells everyone who listens to it.
    pub(crate) fn nudge(&self, name: &str) -> Result<()> {
        match rustix::fs::chmodat(&self.fd, name, Mode::RUSR | Mode::WUSR, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed("touch", &self.path.join(name), errno)),
        }
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

pub(crate) fn not_a_folder(path: &Path) -> String {
    format!("{path:?} is not a directory")
}
