//! What this coordinator has in the store, or wants there: claims and memberships.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::gate::Gate;
use super::place::Place;
use super::stage::Stage;
use crate::backend::Enrolment;
use crate::claim::Seat;
use crate::clock::Moment;
use crate::group::Enrolled;
use crate::id::{ClaimId, SessionId};
use crate::lost::Cause;
use crate::name::Name;

/// So many groups are remembered in which something was left behind.
const LEFT_BEHIND: usize = 64;

/// The claims and memberships of a coordinator. Locked for moments only, never across an await.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    /// Ordered, so that a beat names its claims in one order whatever the process.
    places: BTreeMap<ClaimId, Weak<Place>>,
    /// Detached claims, which nobody else holds on to.
    kept: HashMap<ClaimId, Arc<Place>>,
    gates: HashMap<Seat, Weak<Gate>>,
    /// One membership per group: a coordinator is one member.
    enrolled: BTreeMap<Name, Arc<Enrolled>>,
    /// Sessions under which a membership that is over may still stand, the latest group last.
    left_behind: VecDeque<(Name, Vec<SessionId>)>,
}

impl Ledger {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The gate of a seat's withdrawals.
    pub(crate) fn gate(&self, seat: &Seat) -> Arc<Gate> {
        let mut books = self.books();
        if let Some(gate) = books.gates.get(seat).and_then(Weak::upgrade) {
            return gate;
        }
        // Amortized: forgotten seats are swept when the table has doubled.
        if books.gates.len() >= 64 && books.gates.len().is_power_of_two() {
            books.gates.retain(|_, gate| gate.strong_count() > 0);
        }
        let gate = Arc::new(Gate::default());
        books.gates.insert(seat.clone(), Arc::downgrade(&gate));
        gate
    }

    /// Enters a claim before it is first sent.
    pub(crate) fn enter(&self, place: &Arc<Place>) {
        self.books().places.insert(place.id(), Arc::downgrade(place));
    }

    /// Strikes a claim that the store has no more.
    pub(crate) fn strike(&self, id: ClaimId) {
        let mut books = self.books();
        books.places.remove(&id);
        let kept = books.kept.remove(&id);
        drop(books);
        // Its drop sends to the janitor: not under the lock.
        drop(kept);
    }

    /// Whether the claim is on the books, also while it is being withdrawn.
    pub(crate) fn knows(&self, id: ClaimId) -> bool {
        self.books().places.contains_key(&id)
    }

    /// Keeps a claim although its guard is given up; it ends with its session. One that is struck already is not kept.
    pub(crate) fn keep(&self, place: Arc<Place>) {
        let mut books = self.books();
        let struck = if books.places.contains_key(&place.id()) {
            books.kept.insert(place.id(), place)
        } else {
            Some(place)
        };
        drop(books);
        // Its drop sends to the janitor: not under the lock.
        drop(struck);
    }

    /// Every place that somebody still holds on to.
    pub(crate) fn places(&self) -> Vec<Arc<Place>> {
        self.books().places.values().filter_map(Weak::upgrade).collect()
    }

    /// The places a beat of this session renews: those whose grant or queue entry has been answered.
    pub(crate) fn renewable(&self, epoch: u64) -> Vec<Arc<Place>> {
        let mut places = self.places();
        places
            .retain(|place| place.epoch() == epoch && matches!(place.stage(), Stage::Held | Stage::Waiting));
        places
    }

    /// Ends every held claim of sessions up to this one; says how many there were.
    pub(crate) fn lose_all(&self, epoch: u64, cause: Cause) -> usize {
        let mut lost = 0;
        for place in self.places().iter().filter(|place| place.epoch() <= epoch) {
            lost += usize::from(place.lose_with_session(cause));
        }
        lost
    }

    /// Until when holders of sessions up to this one, whose claims expired, rely on them.
    pub(crate) fn relied_on(&self, epoch: u64) -> Moment {
        let places = self.places();
        let until = places.iter().filter(|place| place.epoch() <= epoch).map(|place| place.relied_on());
        until.max().unwrap_or(Moment::ORIGIN)
    }

    /// Takes the one membership slot of a group; `Err` with whoever has it.
    pub(crate) fn enrol(&self, enrolled: &Arc<Enrolled>) -> Result<(), Arc<Enrolled>> {
        let mut books = self.books();
        let group = enrolled.group().clone();
        if let Some(there) = books.enrolled.get(&group) {
            return Err(Arc::clone(there));
        }
        books.enrolled.insert(group, Arc::clone(enrolled));
        Ok(())
    }

    /// Frees the membership slot of a group, if it is still this one's.
    pub(crate) fn resign(&self, enrolled: &Arc<Enrolled>) {
        let mut books = self.books();
        if books.enrolled.get(enrolled.group()).is_some_and(|there| Arc::ptr_eq(there, enrolled)) {
            books.enrolled.remove(enrolled.group());
        }
    }

    /// The membership is over here, but the store may still show it under these sessions.
    pub(crate) fn leave_behind(&self, group: &Name, sessions: Vec<SessionId>) {
        let mut books = self.books();
        books.left_behind.retain(|(there, _)| there != group);
        if sessions.is_empty() {
            return;
        }
        if books.left_behind.len() == LEFT_BEHIND {
            books.left_behind.pop_front();
        }
        books.left_behind.push_back((group.clone(), sessions));
    }

    /// What was left behind in a group, for the next membership to replace.
    pub(crate) fn take_left_behind(&self, group: &Name) -> Vec<SessionId> {
        let mut books = self.books();
        let at = books.left_behind.iter().position(|(there, _)| there == group);
        at.and_then(|at| books.left_behind.remove(at)).map_or_else(Vec::new, |(_, sessions)| sessions)
    }

    /// All memberships.
    pub(crate) fn enrolled(&self) -> Vec<Arc<Enrolled>> {
        self.books().enrolled.values().cloned().collect()
    }

    /// The memberships a beat renews: those that stand under this session.
    pub(crate) fn enrolments(&self, epoch: u64) -> Vec<Enrolment> {
        self.enrolled().iter().filter_map(|enrolled| enrolled.standing_under(epoch)).collect()
    }
}
