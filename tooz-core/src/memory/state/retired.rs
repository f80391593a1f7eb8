//! Marks of seats nobody holds or wants any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::claim::Seat;

/// How many seats are remembered. A watcher of one forgotten in between looks once more for nothing.
const REMEMBERED: usize = 1024;

/// A seat that falls vacant is dropped, but whoever looked before that must still learn of it: its last
/// mark stays for a while, and then a floor under which every mark counts as old.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Retired {
    marks: BTreeMap<Seat, u64>,
    order: BTreeSet<(u64, Seat)>,
    floor: u64,
}

impl Retired {
    pub(super) fn mark(&self, seat: &Seat) -> u64 {
        self.marks.get(seat).copied().unwrap_or(self.floor)
    }

    pub(super) fn insert(&mut self, seat: Seat, mark: u64) {
        self.remove(&seat);
        self.marks.insert(seat.clone(), mark);
        self.order.insert((mark, seat));
        if self.order.len() > REMEMBERED
            && let Some((mark, seat)) = self.order.pop_first()
        {
            self.marks.remove(&seat);
            self.floor = mark;
        }
    }

    pub(super) fn remove(&mut self, seat: &Seat) {
        if let Some((seat, mark)) = self.marks.remove_entry(seat) {
            self.order.remove(&(mark, seat));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn seat(i: u64) -> Seat {
        Seat::Lock(Name::new(i.to_string()).unwrap())
    }

    #[test]
    fn a_forgotten_seat_shows_a_newer_mark_never_an_older_one() {
        let mut retired = Retired::default();
        for i in 1..=REMEMBERED as u64 {
            retired.insert(seat(i), i);
        }
        assert_eq!((retired.mark(&seat(1)), retired.mark(&seat(0))), (1, 0));

        let more = REMEMBERED as u64 + 5;
        for i in REMEMBERED as u64 + 1..=more {
            retired.insert(seat(i), i);
        }
        assert_eq!(retired.mark(&seat(1)), 5, "forgotten: at least as new as its own last mark");
        assert_eq!(retired.mark(&seat(more)), more);
        assert_eq!((retired.marks.len(), retired.order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn retiring_again_replaces_the_old_mark() {
        let mut retired = Retired::default();
        retired.insert(seat(1), 1);
        retired.insert(seat(1), 7);
        assert_eq!((retired.mark(&seat(1)), retired.order.len()), (7, 1));
    }
}
