//! Claims that were withdrawn while an attempt may still land.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::contest::Party;
use crate::clock::Moment;
use crate::id::{ClaimId, SessionId};

/// The shortest life of a mark: far longer than an attempt of a step can be under way.
const SHORTEST: Duration = Duration::from_secs(60);

/// Short-lived marks that make a late attempt of a withdrawn claim void. They end with their session,
/// after which no attempt of it can land anyway.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Voids {
    until: BTreeMap<Party, Moment>,
    order: BTreeSet<(Moment, Party)>,
}

impl Voids {
    /// Marks the claim for the session's time to live, and a minute at least.
    pub(super) fn insert(&mut self, party: Party, now: Moment, ttl: Duration) {
        let until = now + ttl.max(SHORTEST);
        if let Some(earlier) = self.until.insert(party, until) {
            self.order.remove(&(earlier, party));
        }
        self.order.insert((until, party));
    }

    pub(super) fn contains(&self, party: Party) -> bool {
        self.until.contains_key(&party)
    }

    pub(super) fn expire(&mut self, now: Moment) {
        while let Some(&(until, party)) = self.order.first()
            && until <= now
        {
            self.order.pop_first();
            self.until.remove(&party);
        }
    }

    pub(super) fn forget(&mut self, session: SessionId) {
        let first = (session, ClaimId::from_bytes([0; 16]));
        let last = (session, ClaimId::from_bytes([0xff; 16]));
        let parties: Vec<Party> = self.until.range(first..=last).map(|(party, _)| *party).collect();
        for party in parties {
            if let Some(until) = self.until.remove(&party) {
                self.order.remove(&(until, party));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.until.len()
    }
}
