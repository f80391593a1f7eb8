//! How long to wait before trying or looking again. Pure; dice and time come from the caller.

use std::time::Duration;

use crate::clock::Moment;

const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(2);

/// The wait before try number `tries` (1 for the first repetition): doubling from 20 ms to 2 s, of which
/// `dice` in 0..1 takes between half and all, so that many clients do not return in lock-step.
pub(crate) fn back_off(tries: u32, dice: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << tries.saturating_sub(1).min(10));
    doubled.min(LONGEST).mul_f64(0.5 + 0.5 * dice.clamp(0.0, 1.0))
}

/// How fast something that seems to change all the time is looked at: the first looks in a row come at once,
/// the rest at a bearable rate. A wait that always ends early must not become a storm of requests.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<Moment>,
    hurried: u32,
}

impl Pace {
    /// Looks closer together than this are hurried.
    const CALM: Duration = Duration::from_millis(50);
    /// So many hurried looks in a row come at once.
    const FREE: u32 = 16;

    /// The wait before the look that is wanted at `now`.
    pub(crate) fn pause(&mut self, now: Moment) -> Duration {
        let is_hurried = self.last.is_some_and(|last| now.since(last) < Self::CALM * 2);
        self.hurried = if is_hurried { self.hurried.saturating_add(1) } else { 0 };
        let pause = match self.hurried.checked_sub(Self::FREE) {
            None => Duration::ZERO,
            Some(beyond) => Self::CALM.min(Duration::from_millis(1) * (1 << beyond.min(6))),
        };
        self.last = Some(now + pause);
        pause
    }
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

    #[test]
    fn hurried_looks_are_slowed_down_and_a_calm_moment_makes_them_free_again() {
        let (mut pace, mut now) = (Pace::default(), Moment::ORIGIN);
        let mut looks = 0;
        while now.since(Moment::ORIGIN) < Duration::from_secs(1) {
            now = now + pace.pause(now) + Duration::from_micros(10);
            looks += 1;
        }
        assert!((30..60).contains(&looks), "{looks} looks in a second");

        now = now + Duration::from_secs(1);
        assert_eq!(pace.pause(now), Duration::ZERO);
        assert_eq!(pace.pause(now), Duration::ZERO);
    }
}
