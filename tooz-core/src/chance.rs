//! Where ids and the spread of pauses come from: the system, or a seed that replays.

use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::id::{ClaimId, MessageId, SessionId};

/// A source of chance.
#[derive(Debug, Default)]
pub(crate) struct Chance(Option<Mutex<StdRng>>);

impl Chance {
    /// Falls as the seed says, for one order of questions.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Some(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A throw of dice in 0..1.
    pub(crate) fn dice(&self) -> f64 {
        self.draw().unwrap_or_else(rand::random)
    }

    pub(crate) fn claim_id(&self) -> ClaimId {
        self.draw().map_or_else(ClaimId::random, ClaimId::from_bytes)
    }

    pub(crate) fn session_id(&self) -> SessionId {
        self.draw().map_or_else(SessionId::random, SessionId::from_bytes)
    }

    pub(crate) fn message_id(&self) -> MessageId {
        self.draw().map_or_else(MessageId::random, MessageId::from_bytes)
    }

    fn draw<T>(&self) -> Option<T>
    where
        rand::distr::StandardUniform: rand::distr::Distribution<T>,
    {
        let seeded = self.0.as_ref()?;
        Some(seeded.lock().unwrap_or_else(PoisonError::into_inner).random())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_row_of_ids_and_throws_and_the_system_never_the_same() {
        let row = |chance: &Chance| (chance.claim_id(), chance.session_id(), chance.message_id());
        let (one, again, other) = (Chance::seeded(7), Chance::seeded(7), Chance::seeded(8));
        assert_eq!(row(&one), row(&again));
        assert_eq!(one.dice().to_bits(), again.dice().to_bits());
        assert_ne!(row(&one), row(&other));
        let system = Chance::default();
        assert_ne!(row(&system), row(&system));
        assert!((0.0..1.0).contains(&system.dice()));
    }
}
