//! Looks that show the past, though never an earlier one than the look before.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

use tooz_core::backend::{Queue, RosterFact};
use tooz_core::{Name, Seat};

use super::locked;

/// What the last look at each subject would have shown.
#[derive(Debug, Default)]
pub(super) struct Stale {
    pub(super) queues: Mutex<HashMap<Seat, Queue>>,
    pub(super) rosters: Mutex<HashMap<Name, Option<RosterFact>>>,
}

/// Keeps what is shown now for the next look, and gives what was kept if this look is to be stale.
pub(super) fn perhaps<K: Eq + Hash, V: Clone>(
    kept: &Mutex<HashMap<K, V>>,
    subject: K,
    now: V,
    is_stale: bool,
) -> V {
    let before = locked(kept).insert(subject, now.clone());
    before.filter(|_| is_stale).unwrap_or(now)
}
