//! Taking a seat away from its holders.

use tooz_core::backend::Eviction;
use tooz_core::{ClaimId, Result, Seat};

use crate::contest::{Contest, LOCK, Life};
use crate::keys::Place;
use crate::locks::Locks;
use crate::sequence::Sequence;

impl Locks {
    /// Tells or removes the living holders (those of `only`, if it names any), under the short lock under
    /// which grants are shown. Queue and numbers are not touched.
    ///
    /// The holder hears it through its record, whose name changes. Removing it also takes the lock *file*
    /// away, as soon as no other holder stands on it: nobody can close another's descriptor, but newcomers
    /// find a new file.
    pub(crate) async fn remove_holders(
        &self,
        seat: &Seat,
        how: Eviction,
        only: &[ClaimId],
    ) -> Result<Vec<ClaimId>> {
        let Some(contest) = Contest::find(&self.session, seat)? else { return Ok(Vec::new()) };
        let _sequence = Sequence::enter(&self.session.patience, &contest.folder).await?;
        let mut dealt_with = Vec::new();
        let mut holders = 0_usize;
        for entry in contest.entries()?.into_iter().filter(|entry| entry.place.holds()) {
            if !matches!(contest.life(&entry)?, Life::Alive(_)) {
                continue;
            }
            if !only.is_empty() && !only.contains(&entry.claim) {
                holders += 1;
                continue;
            }
            let name = entry.file_name();
            let place = match how {
                Eviction::Notice => Place::Told,
                Eviction::Force => Place::Evicted,
            };
            let moved = entry.at(place).file_name();
            // One that let go meanwhile needs no telling.
            if entry.place != place && !contest.folder.rename(&name, &contest.folder, &moved)? {
                continue;
            }
            // Waiters sleep through moves; this they hear.
            if how == Eviction::Force {
                contest.folder.nudge(&moved)?;
            }
            dealt_with.push(entry.claim);
        }
        let emptied = holders == 0 && (only.is_empty() || !dealt_with.is_empty());
        if how == Eviction::Force && emptied {
            contest.folder.remove(LOCK)?;
        }
        Ok(dealt_with)
    }
}
