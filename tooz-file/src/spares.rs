//! Records that are kept for the next grant.
//!
//! Making a file and removing it again costs more than all the rest of taking a free lock. So a session that
//! takes locks often keeps a few records: locked and open, written once and never changed, moved into a seat's
//! folder by the grant and back by the release. Killed meanwhile, the session leaves a dead record where it
//! held, as ever, and the others in its own folder.

use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tooz_core::{Name, Result};

use crate::our_file::OurFile;

/// How many a session keeps at most.
const MOST: usize = 4;

/// How many grants earn a session one: who takes a lock now and then keeps no file for it.
const EARNS_ONE: u64 = 8;

/// The open, locked record of a claim that holds.
pub(crate) struct Slip {
    file: OurFile,
    /// Whom it names, if it says no more than that and may be used again.
    blank: Option<Name>,
}

impl Slip {
    /// A record for one claim. Whoever was listening to it as a ticket waits for its end, and a value belongs
    /// to one claim alone.
    pub(crate) fn single(file: OurFile) -> Self {
        Self { file, blank: None }
    }

    /// A record without a value, of a claim that never waited.
    pub(crate) fn blank(file: OurFile, member: Name) -> Self {
        Self { file, blank: Some(member) }
    }
}

impl Deref for Slip {
    type Target = OurFile;

    fn deref(&self) -> &OurFile {
        &self.file
    }
}

/// A kept record, in the session's own folder.
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) file: OurFile,
    member: Name,
}

/// The kept records of a session.
#[derive(Default)]
pub(crate) struct Spares {
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    kept: Vec<Spare>,
    wanted: u64,
    closed: bool,
}

impl Spares {
    /// One that names this member, if there is one.
    pub(crate) fn take(&self, member: &Name) -> Option<Spare> {
        let mut shelf = self.shelf();
        shelf.wanted = shelf.wanted.saturating_add(1);
        // The last one kept: what lies below it is warm no more.
        let at = shelf.kept.iter().rposition(|spare| spare.member == *member)?;
        Some(shelf.kept.remove(at))
    }

    /// Keeps a record, if `move_back` finds it where it was and takes it out of sight; hands it back otherwise:
    /// then it is to be removed.
    pub(crate) fn keep(
        &self,
        slip: Slip,
        name: impl FnOnce() -> String,
        move_back: impl FnOnce(&str) -> Result<bool>,
    ) -> Option<Slip> {
        let mut shelf = self.shelf();
        let Slip { file, blank: Some(member) } = slip else { return Some(slip) };
        if !shelf.closed && is_earned(shelf.wanted, shelf.kept.len()) {
            let name = name();
            // With the shelf in hand, so that nothing comes into the session's folder once that is cleared.
            if matches!(move_back(&name), Ok(true)) {
                shelf.kept.push(Spare { name, file, member });
                return None;
            }
        }
        Some(Slip::single(file))
    }

    /// Closes all, and keeps none from now on.
    pub(crate) fn close(&self) {
        let mut shelf = self.shelf();
        shelf.closed = true;
        shelf.kept.clear();
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_earned(wanted: u64, kept: usize) -> bool {
    kept < MOST && wanted / EARNS_ONE > kept as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slip(blank: Option<&str>) -> Slip {
        let file = OurFile::from(tempfile::tempfile().unwrap());
        Slip { file, blank: blank.map(|name| Name::new(name).unwrap()) }
    }

    fn keep(spares: &Spares, slip: Slip) -> bool {
        spares.keep(slip, || "spare".to_owned(), |_| Ok(true)).is_none()
    }

    #[test]
    fn a_few_are_kept_by_those_who_need_them_often() {
        assert!(!is_earned(EARNS_ONE - 1, 0) && is_earned(EARNS_ONE, 0) && !is_earned(EARNS_ONE, 1));
        assert!(is_earned(u64::MAX, MOST - 1) && !is_earned(u64::MAX, MOST));
    }

    #[test]
    fn only_blank_ones_are_kept_for_their_member_and_none_after_the_end() {
        let (spares, me) = (Spares::default(), Name::new("me").unwrap());
        for _ in 0..EARNS_ONE * 2 {
            assert!(spares.take(&me).is_none());
        }
        assert!(!keep(&spares, slip(None)), "a ticket or a value is for one claim");
        assert!(keep(&spares, slip(Some("other"))) && keep(&spares, slip(Some("me"))));
        assert!(!keep(&spares, slip(Some("me"))), "not earned");
        assert!(spares.take(&me).is_some() && spares.take(&me).is_none());

        spares.close();
        assert!(!keep(&spares, slip(Some("me"))) && spares.shelf().kept.is_empty());
    }

    #[test]
    fn one_that_is_no_longer_where_it_was_put_is_handed_back_for_one_use() {
        let (spares, me) = (Spares::default(), Name::new("me").unwrap());
        (0..EARNS_ONE).for_each(|_| drop(spares.take(&me)));
        let back = spares.keep(slip(Some("me")), || "spare".to_owned(), |_| Ok(false)).unwrap();
        assert!(back.blank.is_none() && spares.take(&me).is_none());
    }
}
