//! Chance from a seed.

use super::Odds;

/// A small random number generator of our own, so that a seed replays for ever, whatever a library changes.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
    in_a_row: u8,
}

/// What becomes of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Well,
    Refused,
    LostRequest,
    LostReply,
    Twice,
    Late,
}

impl Dice {
    /// Dice that fall as the seed says.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, in_a_row: 0 }
    }

    /// The next number (SplitMix64).
    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.roll() % n).unwrap_or(0)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, chance: u8) -> bool {
        self.below(100) < usize::from(chance)
    }

    pub(super) fn fate(&mut self, odds: &Odds) -> Fate {
        let throw = self.below(100);
        let table = [
            (odds.refused, Fate::Refused),
            (odds.lost_request, Fate::LostRequest),
            (odds.lost_reply, Fate::LostReply),
            (odds.twice, Fate::Twice),
            (odds.late, Fate::Late),
        ];
        let mut bound = 0;
        let mut fate = Fate::Well;
        for (chance, candidate) in table {
            bound += usize::from(chance);
            if throw < bound {
                fate = candidate;
                break;
            }
        }
        if fate != Fate::Well && self.in_a_row >= odds.in_a_row {
            fate = Fate::Well;
        }
        self.in_a_row = if fate == Fate::Well { 0 } else { self.in_a_row.saturating_add(1) };
        fate
    }
}
