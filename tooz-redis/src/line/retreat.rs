//! How long to wait before the next attempt.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The shortest wait, before the second attempt.
const FIRST: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST: Duration = Duration::from_millis(500);

/// Waits that grow from attempt to attempt, different in every process: clients that lost one server
/// together do not come back in lock-step.
#[derive(Debug)]
pub(super) struct Retreat {
    seed: RandomState,
    attempt: u32,
}

impl Retreat {
    /// Before the first attempt.
    pub(super) fn new() -> Self {
        Self { seed: RandomState::new(), attempt: 0 }
    }

    /// The wait before the next attempt: half to all of what is due.
    pub(super) fn next(&mut self) -> Duration {
        let due = FIRST.saturating_mul(1 << self.attempt.min(8)).min(LONGEST);
        let chance = self.seed.hash_one(self.attempt) % 1000;
        self.attempt = self.attempt.saturating_add(1);
        let jitter = due.mul_f64(chance as f64 / 2000.0);
        due - jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_differ_between_clients() {
        let waits = || {
            let mut retreat = Retreat::new();
            (0..20).map(|_| retreat.next()).collect::<Vec<_>>()
        };
        let mine = waits();
        assert!(mine[0] <= FIRST && mine[0] >= FIRST / 2);
        assert!(mine[10..].iter().all(|wait| *wait <= LONGEST && *wait >= LONGEST / 2));
        assert_ne!(mine, waits());
    }
}
