//! Whom a claim waits for. Pure.

use tooz_core::Mode;

use crate::keys::{Entry, Place};

/// The tickets that go before a claim, the nearest first: the first of them that lives is the one to wait
/// for. Without a number the claim has no ticket yet and comes after all.
///
/// Whoever wants the seat alone waits for everyone before; a shared claim waits only for those who want it
/// alone, so that all readers at the head of the queue get in together.
pub(crate) fn before(entries: &[Entry], number: Option<u64>, mode: Mode) -> Vec<Entry> {
    let mut before: Vec<Entry> = entries
        .iter()
        .filter(|entry| entry.place == Place::Queued)
        .filter(|entry| number.is_none_or(|number| entry.number < number))
        .filter(|entry| mode == Mode::Exclusive || entry.mode == Mode::Exclusive)
        .copied()
        .collect();
    before.sort_by_key(|entry| std::cmp::Reverse(entry.number));
    before
}

/// How many claims are before the one with this ticket, holders included, dead ones not yet cleared away
/// included too.
pub(crate) fn ahead(entries: &[Entry], number: u64) -> u64 {
    let count = entries
        .iter()
        .filter(|entry| entry.place.holds() || (entry.place == Place::Queued && entry.number < number))
        .count();
    count as u64
}

/// The records a new holder looks at, to remove those of the dead. A sole holder looks at all: there should
/// be none. One of many readers looks at two, or n readers would look n² times.
pub(crate) fn to_tidy(entries: &[Entry], mode: Mode, token: u64) -> Vec<Entry> {
    let records: Vec<Entry> = entries.iter().filter(|entry| entry.place != Place::Queued).copied().collect();
    let count = match mode {
        Mode::Exclusive => records.len(),
        Mode::Shared => records.len().min(2),
    };
    let start = usize::try_from(token).unwrap_or(0).checked_rem(records.len()).unwrap_or(0);
    records.into_iter().cycle().skip(start).take(count).collect()
}

#[cfg(test)]
mod tests {
    use tooz_core::ClaimId;

    use super::*;

    fn entry(place: Place, number: u64, mode: Mode) -> Entry {
        Entry { place, number, claim: ClaimId::random(), mode, since_us: 0 }
    }

    fn numbers(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn writers_wait_for_everyone_before_and_readers_for_writers() {
        use Mode::{Exclusive, Shared};
        let queue = [
            entry(Place::Queued, 5, Shared),
            entry(Place::Queued, 2, Exclusive),
            entry(Place::Queued, 7, Exclusive),
            entry(Place::Queued, 1, Shared),
            entry(Place::Holding, 9, Exclusive),
            entry(Place::Evicted, 8, Exclusive),
        ];
        assert_eq!(numbers(&before(&queue, Some(7), Exclusive)), [5, 2, 1]);
        assert_eq!(numbers(&before(&queue, Some(5), Shared)), [2]);
        assert_eq!(numbers(&before(&queue, Some(1), Shared)), []);
        assert_eq!(numbers(&before(&queue, None, Shared)), [7, 2]);
        assert_eq!(numbers(&before(&queue, None, Exclusive)), [7, 5, 2, 1]);
        assert_eq!(ahead(&queue, 5), 3);
    }

    #[test]
    fn a_sole_holder_tidies_everything_and_a_reader_two_in_turn() {
        let records: Vec<Entry> = (0..5).map(|n| entry(Place::Holding, n, Mode::Shared)).collect();
        assert_eq!(to_tidy(&records, Mode::Exclusive, 3).len(), 5);
        assert_eq!(numbers(&to_tidy(&records, Mode::Shared, 4)), [4, 0]);
        assert!(to_tidy(&[], Mode::Shared, 4).is_empty());
        assert_eq!(numbers(&to_tidy(&records[..1], Mode::Shared, 9)), [0]);
    }
}
