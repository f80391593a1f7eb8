//! The folder of one seat: who is in it, and who of them lives.

use std::path::PathBuf;

use tooz_core::{ErrorKind, Result, Seat};

use crate::flock;
use crate::folder::Folder;
use crate::keys::{Entry, Segment};
use crate::our_file::OurFile;
use crate::session::Session;

/// The file whose kernel lock *is* the lock.
pub(crate) const LOCK: &str = "lock";

/// Where a name too long for a file name is written down.
pub(crate) const NAME: &str = "name";

/// The open folder of one seat.
pub(crate) struct Contest {
    pub(crate) folder: Folder,
}

/// A seat's folder, by its name.
pub(crate) struct Inside(Segment);

impl Inside {
    /// What an entry is called outside.
    pub(crate) fn path_of(&self, entry: &str) -> String {
        format!("{}/{entry}", self.0.as_str())
    }
}

/// What became of an entry.
pub(crate) enum Life {
    /// Its process has it open.
    Alive(OurFile),
    /// Its process is gone.
    Dead,
    /// It is no longer there, or never was ours.
    Gone,
}

impl Contest {
    /// Opens a seat's folder; `None` if nobody ever contended for the seat.
    pub(crate) fn find(session: &Session, seat: &Seat) -> Result<Option<Self>> {
        let (parent, segment) = place(session, seat);
        Ok(parent.sub(segment.as_str())?.map(|folder| Self { folder }))
    }

    /// Opens a seat's folder, made where missing.
    pub(crate) fn enter(session: &Session, seat: &Seat) -> Result<Self> {
        let (parent, segment) = place(session, seat);
        if let Some(folder) = parent.sub(segment.as_str())? {
            return Ok(Self { folder });
        }
        if !segment.is_spelled() {
            session.build(parent, segment.as_str(), &[(NAME, seat.name().as_str().as_bytes())])?;
        }
        Ok(Self { folder: parent.sub_or_make(segment.as_str())? })
    }

    /// The folder a seat's folder is in, and how entries of the latter are called there. Enough to move and remove
    /// what is known by its full name, at any time and without a descriptor: were a link in the way, it would lead to
    /// no other file of that name.
    pub(crate) fn place_of<'a>(session: &'a Session, seat: &Seat) -> (&'a Folder, Inside) {
        let (parent, segment) = place(session, seat);
        (parent, Inside(segment))
    }

    /// Where a seat's folder is or would be: its parent, and its name there.
    pub(crate) fn whereabouts(session: &Session, seat: &Seat) -> (PathBuf, String) {
        let (parent, segment) = place(session, seat);
        (parent.path().to_path_buf(), segment.as_str().to_owned())
    }

    /// All claims in it.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>> {
        self.folder.list(Entry::read)
    }

    /// Whether the process behind an entry has it open.
    pub(crate) fn life(&self, entry: &Entry) -> Result<Life> {
        life(&self.folder, &entry.file_name())
    }

    /// Removes the entries among these whose processes are gone.
    pub(crate) fn bury(&self, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            if matches!(self.life(entry)?, Life::Dead) {
                self.folder.remove(&entry.file_name())?;
            }
        }
        Ok(())
    }
}

fn place<'a>(session: &'a Session, seat: &Seat) -> (&'a Folder, Segment) {
    let parent = match seat {
        Seat::Lock(_) => &session.root.locks,
        Seat::Leader(_) => &session.root.leaders,
    };
    (parent, Segment::of(seat.name()))
}

/// Whether the one who placed this file has it open.
///
/// A file is locked before it is placed, and replaced before it is closed: one that is not locked and still
/// stands under its name belongs to nobody.
pub(crate) fn life(folder: &Folder, name: &str) -> Result<Life> {
    for _ in 0..64 {
        let file = match folder.look(name) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Life::Gone),
            // Planted by somebody: it stalls nobody.
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Denied) => {
                return Ok(Life::Gone);
            }
            Err(error) => return Err(error),
        };
        let owned = flock::is_owned(&file)
            .map_err(|error| crate::error::failed("probe", &folder.path_of(name), error))?;
        if owned {
            return Ok(Life::Alive(file));
        }
        if folder.shows(name, &file)? {
            return Ok(Life::Dead);
        }
    }
    // Replaced over and over: somebody is very much alive, and will be looked at again.
    Ok(Life::Gone)
}
