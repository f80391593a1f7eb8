//! The claim deadline: until when a grant may be relied on. Pure arithmetic, no clock.
//!
//! A guard must stop claiming *before* the store may grant anyone else. So its deadline counts from the
//! moment before the proving request was sent, uses the time to live the store granted, and ends a margin
//! early:
//!
//! ```text
//! claim_until = max over acknowledged renewals of (sent + ttl) − margin,   margin = ttl/100 + 20 ms
//! ```
//!
//! The margin covers clocks that run at different rates (1 %) and the steps between reading the clock and
//! acting on it. The same counting is used by openraft's leader lease and by Chubby's client.

use std::time::Duration;

use crate::backend::Proof;
use crate::clock::Moment;

/// The shortest time to live the arithmetic makes sense for.
pub(crate) const SHORTEST_TTL: Duration = Duration::from_millis(200);

/// Until when something is valid, as one number that an atomic can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(u64);

impl Deadline {
    /// Already over.
    pub(crate) const OVER: Self = Self(0);
    /// The kernel keeps it: no deadline.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn at(moment: Moment) -> Self {
        Self(moment.as_nanos().clamp(1, u64::MAX - 1))
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) fn is_over(self, now: Moment) -> bool {
        now.as_nanos() >= self.0
    }

    pub(crate) fn moment(self) -> Option<Moment> {
        (self != Self::NEVER).then_some(Moment::from_nanos(self.0))
    }

    /// Whether it lies more than `span` ahead.
    pub(crate) fn is_beyond(self, now: Moment, span: Duration) -> bool {
        self == Self::NEVER || !self.is_over(now + span)
    }
}

/// How long before the store a guard gives up, unless the user chose it.
pub(crate) fn margin(ttl: Duration) -> Duration {
    ttl / 100 + Duration::from_millis(20)
}

/// Until when a proof lets its subject be relied on.
pub(crate) fn claim_until(proof: Proof, chosen_margin: Option<Duration>) -> Deadline {
    match proof {
        Proof::Kernel => Deadline::NEVER,
        Proof::Lease { sent, ttl } => {
            Deadline::at(sent + ttl.saturating_sub(chosen_margin.unwrap_or_else(|| margin(ttl))))
        }
    }
}

/// How long before the deadline `lost()` is told, so that it fires before it on a live runtime.
pub(crate) fn notice(ttl: Duration) -> Duration {
    Duration::from_millis(60).min(ttl / 4)
}

/// How often deadlines are looked at, since timers stand still while the machine sleeps.
pub(crate) fn recheck(ttl: Duration) -> Duration {
    Duration::from_millis(250).min(ttl / 20).max(Duration::from_millis(5))
}

/// The time from one beat to the next; `dice` in 0..1 spreads many sessions over ±10 %.
pub(crate) fn beat_interval(ttl: Duration, dice: f64) -> Duration {
    (ttl / 3).mul_f64(0.9 + 0.2 * dice.clamp(0.0, 1.0))
}

/// How long one attempt of a beat may take before the next is sent beside it.
pub(crate) fn beat_timeout(ttl: Duration) -> Duration {
    ttl / 6
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(ms)
    }

    #[test]
    fn deadline_counts_from_before_the_request_was_sent() {
        let until = claim_until(Proof::Lease { sent: at(1_000), ttl: T }, None);
        assert_eq!(until, Deadline::at(at(11_000 - 120)));
    }

    #[test]
    fn margin_is_one_percent_and_20_ms_unless_chosen() {
        assert_eq!(margin(T), Duration::from_millis(120));
        let until = claim_until(Proof::Lease { sent: at(0), ttl: T }, Some(Duration::from_secs(1)));
        assert_eq!(until, Deadline::at(at(9_000)));
    }

    #[test]
    fn margin_larger_than_the_ttl_never_extends_a_claim() {
        let until = claim_until(Proof::Lease { sent: at(5), ttl: Duration::from_millis(3) }, None);
        assert!(until.is_over(at(5)));
    }

    #[test]
    fn deadline_itself_is_already_over() {
        let until = Deadline::at(at(100));
        assert!(!until.is_over(Moment::from_nanos(at(100).as_nanos() - 1)));
        assert!(until.is_over(at(100)));
    }

    #[test]
    fn kernel_claims_have_no_deadline() {
        let until = claim_until(Proof::Kernel, None);
        assert_eq!(until, Deadline::NEVER);
        assert_eq!(until.moment(), None);
        assert!(until.is_beyond(Moment::from_nanos(u64::MAX - 1), Duration::MAX));
    }

    #[test]
    fn valid_for_is_strict() {
        let until = Deadline::at(at(100));
        assert!(until.is_beyond(at(40), Duration::from_millis(59)));
        assert!(!until.is_beyond(at(40), Duration::from_millis(60)));
    }

    #[test]
    fn notice_comes_before_the_deadline_also_for_short_ttls() {
        assert_eq!(notice(T), Duration::from_millis(60));
        assert!(notice(SHORTEST_TTL) + margin(SHORTEST_TTL) < SHORTEST_TTL);
    }

    #[test]
    fn two_lost_beats_are_survived() {
        let latest_third = beat_interval(T, 1.0) * 2 + beat_timeout(T);
        assert!(latest_third < T - margin(T));
        assert!(beat_interval(T, 0.0) >= T.mul_f64(0.29) && beat_interval(T, 1.0) <= T.mul_f64(0.37));
    }
}
