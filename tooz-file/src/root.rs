//! The directory a URL names: made where missing, refused where unsafe.

use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::Path;

use tooz_core::{Error, ErrorKind, Result};

use crate::config::Config;
use crate::error::failed;
use crate::folder::{Folder, not_a_folder};

/// The newest format this driver reads and writes. It would also read the one before, if there were one.
const FORMAT: u32 = 1;

/// What the file `format` says, before the number.
const FORMAT_WORD: &str = "tooz-file ";

/// The folders everything lives in, kept open.
#[derive(Debug)]
pub(crate) struct Root {
    /// The directory itself.
    pub(crate) folder: Folder,
    /// One folder per lock.
    pub(crate) locks: Folder,
    /// One folder per group that ever had an election.
    pub(crate) leaders: Folder,
    /// One folder per group.
    pub(crate) groups: Folder,
    /// One folder per channel that was ever published to.
    pub(crate) topics: Folder,
    /// One folder per session, for files in the making.
    pub(crate) sessions: Folder,
    /// The network file system it is on, if it is on one.
    pub(crate) network: Option<&'static str>,
}

impl Root {
    /// Opens the directory, creating it with its parents where missing.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let path = &config.root;
        if std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            create_with_parents(path)?;
        }
        let refuse = |error: Error| error.while_doing("open the root directory");
        let folder = Folder::open(path)
            .map_err(refuse)?
            .ok_or_else(|| refuse(failed("open", path, rustix::io::Errno::NOENT)))?;
        let network = network(&folder)?;
        if let Some(kind) = network.filter(|_| !config.allow_network_fs) {
            let text = format!(
                "root directory {path:?} is on a network file system ({kind}), where kernel locks may not hold \
                 between hosts: use a local disk, or accept the risk with ?allow_network_fs=true"
            );
            return Err(Error::new(ErrorKind::Denied, text));
        }
        agree_on_format(&folder)?;
        Ok(Self {
            locks: folder.sub_or_make("locks")?,
            leaders: folder.sub_or_make("leaders")?,
            groups: folder.sub_or_make("groups")?,
            topics: folder.sub_or_make("topics")?,
            sessions: folder.sub_or_make("sessions")?,
            network,
            folder,
        })
    }
}

fn create_with_parents(path: &Path) -> Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|part| !part.exists()).collect();
    for part in missing.into_iter().rev().filter(|part| !part.as_os_str().is_empty()) {
        match std::fs::DirBuilder::new().mode(0o700).create(part) {
            // The umask may have taken bits away.
            Ok(()) => std::fs::set_permissions(part, std::fs::Permissions::from_mode(0o700)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(Error::new(ErrorKind::Denied, not_a_folder(part.parent().unwrap_or(part))));
            }
            Err(error) => Err(error),
        }
        .map_err(|error| failed("create the root directory", part, error))?;
    }
    Ok(())
}

fn agree_on_format(root: &Folder) -> Result<()> {
    let path = root.path_of("format");
    let file = root.file_or_create("format")?;
    let mut text = [0; 64];
    let length = file.read_at(&mut text, 0).map_err(|error| failed("read", &path, error))?;
    let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned();
    if text.is_empty() {
        // Everyone who finds it empty writes the same bytes to the same place.
        let ours = format!("{FORMAT_WORD}{FORMAT}\n");
        return file.write_all_at(ours.as_bytes(), 0).map_err(|error| failed("write", &path, error));
    }
    match text.strip_prefix(FORMAT_WORD).and_then(|rest| rest.trim_end().parse::<u32>().ok()) {
        Some(FORMAT) => Ok(()),
        Some(newer) if newer > FORMAT => {
            let text = format!(
                "{:?} has format {newer}, this version reads up to {FORMAT}: update the program that says so",
                root.path()
            );
            Err(Error::new(ErrorKind::Unsupported, text))
        }
        _ => {
            let text = format!(
                "{path:?} says {text:?} instead of \"{FORMAT_WORD}{FORMAT}\": not a directory of ours"
            );
            Err(Error::new(ErrorKind::Corrupt, text))
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn network(folder: &Folder) -> Result<Option<&'static str>> {
    let stat = rustix::fs::fstatfs(folder).map_err(|errno| failed("look at", folder.path(), errno))?;
    // Signed and of various widths; the magic is its low 32 bits.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(network_by_magic(stat.f_type as u32))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn network(_: &Folder) -> Result<Option<&'static str>> {
    Ok(None)
}

/// File systems whose `flock` may mean nothing to another host. FUSE counts: behind it may be anything.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn network_by_magic(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "nfs",
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => "smb",
        0x0102_1997 => "9p",
        0x6573_5546 => "fuse",
        0x00C3_6400 => "ceph",
        0x5346_414F | 0x6B41_4653 => "afs",
        0x7375_7245 => "coda",
        0x0116_1970 => "gfs2",
        0x7461_636F => "ocfs2",
        0x0BD0_0BD0 => "lustre",
        0x1983_0326 => "beegfs",
        0x4750_4653 => "gpfs",
        0x786F_4256 => "vboxsf",
        0x564C => "ncp",
        _ => return None,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_and_local_ones_are_not() {
        for magic in [0x6969, 0xFF53_4D42, 0x6573_5546, 0x0102_1997] {
            assert!(network_by_magic(magic).is_some(), "{magic:x}");
        }
        for (magic, name) in
            [(0xEF53, "ext4"), (0x0102_1994, "tmpfs"), (0x9123_683E, "btrfs"), (0x794C_7630, "overlay")]
        {
            assert_eq!(network_by_magic(magic), None, "{name}");
        }
    }
}
