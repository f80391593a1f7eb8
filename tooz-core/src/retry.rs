//! How long to wait before trying again. Pure; the dice are thrown by the caller.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(2);

/// The wait before try number `tries` (1 for the first repetition): doubling from 20 ms to 2 s, of which
/// `dice` in 0..1 takes between half and all, so that many clients do not return in lock-step.
pub(crate) fn back_off(tries: u32, dice: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << tries.saturating_sub(1).min(10));
    doubled.min(LONGEST).mul_f64(0.5 + 0.5 * dice.clamp(0.0, 1.0))
}

/// A throw of dice in 0..1.
pub(crate) fn dice() -> f64 {
    rand::random()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_limit_and_are_spread() {
        assert_eq!(back_off(1, 1.0), FIRST);
        assert_eq!(back_off(1, 0.0), FIRST / 2);
        assert_eq!(back_off(2, 1.0), FIRST * 2);
        assert_eq!(back_off(u32::MAX, 1.0), LONGEST);
    }
}
