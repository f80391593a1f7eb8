//! One seat: who holds it, who waits, and who is next.

use std::collections::BTreeMap;

use crate::claim::{Claim, FencingToken, Mode};
use crate::clock::Moment;
use crate::id::{ClaimId, SessionId};

/// Whose claim: one session never speaks for another's, even under the same claim id.
pub(super) type Party = (SessionId, ClaimId);

/// The contest for one seat. Either one exclusive holder or any number of shared ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contest {
    /// The store's count of changes when this seat changed last.
    pub(super) mark: u64,
    holders: BTreeMap<FencingToken, Hold>,
    queue: BTreeMap<u64, Entry>,
    /// A claim has one place or none, so no claim can hold and wait at once.
    places: BTreeMap<Party, Place>,
    last_ticket: u64,
}

/// A claim that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) session: SessionId,
    pub(super) claim: Claim,
    pub(super) since: Moment,
    /// Told to let go.
    pub(super) noticed: bool,
}

/// A claim that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) session: SessionId,
    pub(super) claim: Claim,
}

/// Where a claim stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Holds(FencingToken),
    Waits(u64),
}

impl Contest {
    pub(super) fn place(&self, party: Party) -> Option<Place> {
        self.places.get(&party).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether a newcomer may hold at once: nobody in its way, and nobody waiting whom it would overtake.
    pub(super) fn is_free_for(&self, mode: Mode) -> bool {
        self.queue.is_empty() && self.admits(mode)
    }

    /// Claims before the entry of this ticket, holders included.
    pub(super) fn ahead_of(&self, ticket: u64) -> u64 {
        // The newest entry asks most often, and needs no counting.
        let before = if ticket == self.last_ticket {
            self.queue.len().saturating_sub(1)
        } else {
            self.queue.range(..ticket).count()
        };
        (self.holders.len() + before) as u64
    }

    /// Lets the claim hold.
    pub(super) fn seat(&mut self, entry: Entry, token: FencingToken, since: Moment) {
        let Entry { session, claim } = entry;
        self.places.insert((session, claim.id), Place::Holds(token));
        self.holders.insert(token, Hold { session, claim, since, noticed: false });
    }

    /// Puts the claim at the end of the queue.
    pub(super) fn enqueue(&mut self, entry: Entry) -> u64 {
        self.last_ticket += 1;
        self.places.insert((entry.session, entry.claim.id), Place::Waits(self.last_ticket));
        self.queue.insert(self.last_ticket, entry);
        self.last_ticket
    }

    /// Takes the claim out, wherever it stands.
    pub(super) fn remove(&mut self, party: Party) -> Option<Place> {
        let place = self.places.remove(&party)?;
        match place {
            Place::Holds(token) => drop(self.holders.remove(&token)),
            Place::Waits(ticket) => drop(self.queue.remove(&ticket)),
        }
        Some(place)
    }

    /// Takes the head out of the queue if it may hold now.
    pub(super) fn next(&mut self) -> Option<Entry> {
        let mode = self.queue.first_key_value()?.1.claim.mode;
        if !self.admits(mode) {
            return None;
        }
        let (_, entry) = self.queue.pop_first()?;
        self.places.remove(&(entry.session, entry.claim.id));
        Some(entry)
    }

    pub(super) fn hold(&self, party: Party) -> Option<(FencingToken, &Hold)> {
        match self.place(party)? {
            Place::Holds(token) => self.holders.get(&token).map(|hold| (token, hold)),
            Place::Waits(_) => None,
        }
    }

    pub(super) fn hold_mut(&mut self, party: Party) -> Option<&mut Hold> {
        match self.place(party)? {
            Place::Holds(token) => self.holders.get_mut(&token),
            Place::Waits(_) => None,
        }
    }

    /// The claim as it was made, wherever it stands.
    pub(super) fn claim(&self, party: Party) -> Option<&Claim> {
        match self.place(party)? {
            Place::Holds(token) => self.holders.get(&token).map(|hold| &hold.claim),
            Place::Waits(ticket) => self.queue.get(&ticket).map(|entry| &entry.claim),
        }
    }

    /// Oldest grant first.
    pub(super) fn holders(&self) -> impl Iterator<Item = (FencingToken, &Hold)> {
        self.holders.iter().map(|(token, hold)| (*token, hold))
    }

    /// In queue order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Entry> {
        self.queue.values()
    }

    fn admits(&self, mode: Mode) -> bool {
        match self.holders.first_key_value() {
            None => true,
            Some((_, hold)) => mode == Mode::Shared && hold.claim.mode == Mode::Shared,
        }
    }
}
