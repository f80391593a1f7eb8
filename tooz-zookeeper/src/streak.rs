//! Taking the same seat again and again with nobody in between: then there is no queue to read.
//!
//! A directory numbers its children as they come, without gaps. Where this session held a seat alone with number
//! `n`, has let go of it, and is given `n + 1`, nobody has come in between, and whoever was there before `n` was gone
//! when that held. The one way round is another directory of the same name, whose count begins at zero again: to get
//! to `n + 1` it must have been made after the old one was removed, and `n + 1` children in it. Each of these is a
//! transaction with a number of its own, so it did not happen where fewer than that lie between the two claims.
//! Nobody enters a queue several times in one transaction.

use std::collections::HashMap;
use std::sync::Mutex;

use tooz_core::{ClaimId, Seat};

use crate::session::locked;

/// A guess that is wrong costs a round trip: so many claims in a row make it worth while.
const ENOUGH: u32 = 3;
/// At most so many seats are remembered.
const MOST: usize = 10_000;

/// As which child of its directory, and by which transaction, a node was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) number: i64,
    pub(crate) transaction: i64,
}

impl Made {
    /// Whether nobody can be before this one if nobody was before `last`, which is gone.
    pub(crate) fn follows(self, last: Self) -> bool {
        // The upper half counts leaders.
        let same_leader = self.transaction >> 32 == last.transaction >> 32;
        let between = self.transaction - last.transaction - 1;
        // The removal of the last one, that of its directory, another directory, and all children before this one.
        let other_directory = self.number + 3;
        self.number > 0
            && self.number == last.number + 1
            && same_leader
            && (0..other_directory).contains(&between)
    }
}

/// The last claim with which this session held a seat alone.
#[derive(Clone, Copy, Debug)]
struct Streak {
    claim: ClaimId,
    made: Made,
    gone: bool,
    length: u32,
}

/// The seats that this session took.
#[derive(Debug, Default)]
pub(crate) struct Streaks(Mutex<HashMap<Seat, Streak>>);

impl Streaks {
    /// The claim was entered and holds the seat alone.
    pub(crate) fn held(&self, seat: &Seat, claim: ClaimId, made: Made) {
        let mut streaks = locked(&self.0);
        let last = streaks.get(seat).filter(|last| last.gone && made.follows(last.made));
        let streak = Streak { claim, made, gone: false, length: last.map_or(0, |last| last.length) + 1 };
        if streaks.len() >= MOST {
            streaks.clear();
        }
        streaks.insert(seat.clone(), streak);
    }

    /// The claim's node was removed.
    pub(crate) fn left(&self, seat: &Seat, claim: ClaimId) {
        if let Some(streak) = locked(&self.0).get_mut(seat)
            && streak.claim == claim
        {
            streak.gone = true;
        }
    }

    /// Somebody else came in between.
    pub(crate) fn broken(&self, seat: &Seat) {
        locked(&self.0).remove(seat);
    }

    /// What the next claim is expected to follow.
    pub(crate) fn last(&self, seat: &Seat) -> Option<Made> {
        let streaks = locked(&self.0);
        streaks.get(seat).filter(|last| last.gone && last.length >= ENOUGH).map(|last| last.made)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tooz_core::Name;

    use super::*;

    fn made(number: i64, transaction: i64) -> Made {
        Made { number, transaction }
    }

    #[test]
    fn only_the_next_number_follows_and_only_where_no_other_directory_fits_in_between() {
        let last = made(4, 100);
        assert!(made(5, 102).follows(last));
        assert!(made(5, 108).follows(last), "seven in between, and another directory takes eight");
        assert!(!made(5, 109).follows(last));
        assert!(!made(6, 102).follows(last));
        assert!(!made(4, 102).follows(last));
        assert!(!made(5, 99).follows(last));
        assert!(!made(5, (1 << 32) + 1).follows(last), "another leader");
        assert!(!made(i64::from(i32::MIN), 5).follows(made(i64::from(i32::MIN) - 1, 1)));
    }

    #[test]
    fn a_streak_counts_from_the_third_claim_and_ends_with_anybody_else() {
        let (streaks, seat) = (Streaks::default(), Seat::Lock(Name::new("nightly").unwrap()));
        let claims: [ClaimId; 3] = std::array::from_fn(|_| ClaimId::random());
        for (number, claim) in (0..).zip(claims) {
            assert_eq!(streaks.last(&seat), None);
            streaks.held(&seat, claim, made(number, 10 + 2 * number));
            assert_eq!(streaks.last(&seat), None, "it still holds");
            streaks.left(&seat, claims[0]);
            streaks.left(&seat, claim);
        }
        assert_eq!(streaks.last(&seat), Some(made(2, 14)));
        streaks.held(&seat, ClaimId::random(), made(4, 20));
        streaks.left(&seat, claims[2]);
        assert_eq!(streaks.last(&seat), None);
        streaks.broken(&seat);
        assert_eq!(streaks.last(&seat), None);
    }

    /// What may happen to a directory between two claims of ours, each a transaction.
    #[derive(Clone, Copy, Debug)]
    enum Deed {
        Come,
        Go,
        Elsewhere,
        Replace,
    }

    fn deed() -> impl Strategy<Value = Deed> {
        prop_oneof![
            8 => Just(Deed::Come),
            4 => Just(Deed::Go),
            1 => Just(Deed::Elsewhere),
            1 => Just(Deed::Replace),
        ]
    }

    proptest! {
        #[test]
        fn who_follows_itself_is_the_first(start in 0_i64..6, deeds in prop::collection::vec(deed(), 0..16)) {
            // Our last node had number `start` and was the first; it is removed by the next transaction.
            let (mut transaction, mut next) = (51, start + 1);
            let mut there = Vec::new();
            for deed in deeds {
                transaction += 1;
                match deed {
                    Deed::Come => {
                        there.push(next);
                        next += 1;
                    }
                    Deed::Go => drop(there.pop()),
                    Deed::Elsewhere => {}
                    Deed::Replace if there.is_empty() => {
                        transaction += 1; // removed and made again
                        next = 0;
                    }
                    Deed::Replace => {}
                }
            }
            let own = made(next, transaction + 1);
            prop_assert!(there.is_empty() || !own.follows(made(start, 50)), "{there:?} are before {own:?}");
        }
    }
}
