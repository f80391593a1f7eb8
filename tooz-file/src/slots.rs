//! What this session has open: the one memory of claims a driver over the kernel's locks may have.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tooz_core::{ClaimId, Seat};

use crate::echo::Echo;
use crate::keys::Entry;
use crate::latch::Latch;
use crate::our_file::OurFile;
use crate::spares::Slip;
use crate::watch::Watch;

/// How long a withdrawn claim that may still arrive is refused, and how many such marks are kept.
const VOID_FOR: Duration = Duration::from_secs(60);
const MOST_VOIDS: usize = 4096;

/// Where a claim of this session stands.
#[derive(Default)]
pub(crate) enum Stand {
    /// Nowhere.
    #[default]
    Nowhere,
    /// In the queue.
    Queued(Queued),
    /// On the seat.
    Held(Held),
}

/// A place in a queue. Dropping it closes everything.
pub(crate) struct Queued {
    pub(crate) entry: Entry,
    pub(crate) ticket: OurFile,
    /// The lock, open but held by others. Opened early and kept: closing it would wake the head for nothing.
    pub(crate) lock: Option<Arc<Latch>>,
    /// Listens to the own ticket.
    pub(crate) own: Watch,
    /// Listens to whom the claim waits for.
    pub(crate) ahead: Option<Watch>,
    /// The looks that follow what was heard of it.
    pub(crate) echo: Echo,
}

/// A held seat. Dropping it closes everything, and so lets go.
pub(crate) struct Held {
    pub(crate) entry: Entry,
    pub(crate) lock: Arc<Latch>,
    pub(crate) record: Slip,
}

/// One claim of this session. The lock is held for the length of a step, so that steps of one claim follow
/// each other.
pub(crate) struct Slot {
    pub(crate) seat: Seat,
    pub(crate) stand: tokio::sync::Mutex<Stand>,
    /// The lock's descriptor while it is held, for a tether.
    pub(crate) lock: Mutex<Weak<Latch>>,
}

/// All claims of this session.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Mutex<HashMap<ClaimId, Arc<Slot>>>,
    voids: Mutex<VecDeque<(ClaimId, Instant)>>,
}

impl Slots {
    /// The slot of a claim, made where missing.
    pub(crate) fn enter(&self, claim: ClaimId, seat: &Seat) -> Arc<Slot> {
        let fresh = || {
            Arc::new(Slot {
                seat: seat.clone(),
                stand: tokio::sync::Mutex::default(),
                lock: Mutex::default(),
            })
        };
        Arc::clone(self.slots().entry(claim).or_insert_with(fresh))
    }

    /// The slot of a claim.
    pub(crate) fn find(&self, claim: ClaimId) -> Option<Arc<Slot>> {
        self.slots().get(&claim).cloned()
    }

    /// Whether this still is the claim's slot.
    pub(crate) fn is_current(&self, claim: ClaimId, slot: &Arc<Slot>) -> bool {
        self.slots().get(&claim).is_some_and(|current| Arc::ptr_eq(current, slot))
    }

    /// Forgets a slot that stands nowhere any more.
    pub(crate) fn forget(&self, claim: ClaimId, slot: &Arc<Slot>) {
        let mut slots = self.slots();
        if slots.get(&claim).is_some_and(|current| Arc::ptr_eq(current, slot)) {
            slots.remove(&claim);
        }
    }

    /// All claims there are.
    pub(crate) fn all(&self) -> Vec<(ClaimId, Arc<Slot>)> {
        self.slots().iter().map(|(claim, slot)| (*claim, Arc::clone(slot))).collect()
    }

    /// Refuses the claim from now on, should it still arrive.
    pub(crate) fn make_void(&self, claim: ClaimId) {
        let mut voids = self.voids();
        voids.push_back((claim, Instant::now()));
        let excess = voids.len().saturating_sub(MOST_VOIDS);
        let old = voids.iter().take_while(|(_, since)| since.elapsed() > VOID_FOR).count();
        voids.drain(..old.max(excess));
    }

    /// Whether the claim was withdrawn before it arrived.
    pub(crate) fn is_void(&self, claim: ClaimId) -> bool {
        self.voids().iter().any(|(void, since)| *void == claim && since.elapsed() <= VOID_FOR)
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<ClaimId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn voids(&self) -> MutexGuard<'_, VecDeque<(ClaimId, Instant)>> {
        self.voids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn void_marks_are_bounded() {
        let slots = Slots::default();
        let first = ClaimId::random();
        slots.make_void(first);
        assert!(slots.is_void(first) && !slots.is_void(ClaimId::random()));
        for _ in 0..MOST_VOIDS {
            slots.make_void(ClaimId::random());
        }
        assert!(!slots.is_void(first));
        assert_eq!(slots.voids().len(), MOST_VOIDS);
    }
}
