//! Whether a possession is still ours: one atomic deadline that only ever ends.

use super::validity::Deadline;
use crate::clock::Moment;
use crate::lost::Cause;
use crate::signal::{Signal, Signalled};
use crate::sync::{AtomicU64, Ordering};

/// The state behind `is_held()` and `lost()`: a deadline, or lost for good.
///
/// Whoever sees the deadline pass makes it lost for good, so a good answer that arrives later never
/// revives what somebody already saw end.
#[derive(Debug)]
pub(crate) struct Tenure {
    until: AtomicU64,
    lost: Signal<Option<Cause>>,
}

impl Tenure {
    pub(crate) fn new() -> Self {
        Self { until: AtomicU64::new(Deadline::OVER.bits()), lost: Signal::new(None) }
    }

    /// Begins; called once, before anyone else looks.
    pub(crate) fn begin(&self, until: Deadline) {
        self.until.store(until.bits(), Ordering::Release);
    }

    /// Whether it is valid at `now`. Seeing it expired makes it lost for good.
    pub(crate) fn is_valid(&self, now: Moment) -> bool {
        self.remaining(now).is_some()
    }

    /// The deadline, unless it is over at `now`.
    pub(crate) fn remaining(&self, now: Moment) -> Option<Deadline> {
        let mut bits = self.until.load(Ordering::Acquire);
        loop {
            let until = Deadline::from_bits(bits);
            if until == Deadline::OVER {
                return None;
            }
            if !until.is_over(now) {
                return Some(until);
            }
            match self.swap(bits, Deadline::OVER) {
                Ok(()) => {
                    self.tell(Cause::Expired);
                    return None;
                }
                Err(seen) => bits = seen,
            }
        }
    }

    /// Moves the deadline forward; `now` is read after the proving answer arrived.
    pub(crate) fn renew(&self, now: Moment, until: Deadline) {
        let mut bits = self.until.load(Ordering::Acquire);
        while self.remaining(now).is_some() && bits < until.bits() {
            match self.swap(bits, until) {
                Ok(()) => return,
                Err(seen) => bits = seen,
            }
        }
    }

    /// Ends it for good; `true` for the one call that did.
    pub(crate) fn lose(&self, cause: Cause) -> bool {
        let ended = self.until.swap(Deadline::OVER.bits(), Ordering::AcqRel) != Deadline::OVER.bits();
        if ended {
            self.tell(cause);
        }
        ended
    }

    /// The deadline as it stands, [`Deadline::OVER`] once lost.
    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::from_bits(self.until.load(Ordering::Acquire))
    }

    /// Tells of the loss; ends with an error when the tenure is dropped.
    pub(crate) fn subscribe(&self) -> Signalled<Option<Cause>> {
        self.lost.subscribe()
    }

    /// Why it ended, once it did.
    pub(crate) fn cause(&self) -> Option<Cause> {
        self.lost.get()
    }

    /// Ends when it is lost.
    pub(crate) async fn lost(&self) -> Cause {
        let mut lost = self.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(Some(cause)) => cause,
            // The sender is `self`, which outlives this call.
            Ok(None) | Err(_) => Cause::SessionEnded,
        }
    }

    fn swap(&self, seen: u64, until: Deadline) -> Result<(), u64> {
        let (ok, failed) = (Ordering::AcqRel, Ordering::Acquire);
        // Zero is terminal: nothing is ever swapped out of it.
        if seen == Deadline::OVER.bits() {
            return Err(seen);
        }
        self.until.compare_exchange(seen, until.bits(), ok, failed).map(|_| ())
    }

    fn tell(&self, cause: Cause) {
        self.lost.modify(|slot| {
            let first = slot.is_none();
            slot.get_or_insert(cause);
            first
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(ms: u64) -> Moment {
        Moment::ORIGIN + Duration::from_millis(ms)
    }

    fn until(ms: u64) -> Deadline {
        Deadline::at(at(ms))
    }

    fn begun(ms: u64) -> Tenure {
        let tenure = Tenure::new();
        tenure.begin(until(ms));
        tenure
    }

    #[test]
    fn renewal_moves_the_deadline_forward_never_back() {
        let tenure = begun(100);
        tenure.renew(at(10), until(200));
        tenure.renew(at(20), until(150));
        assert!(tenure.is_valid(at(199)));
        assert!(!tenure.is_valid(at(200)));
    }

    #[test]
    fn what_was_seen_expired_is_never_revived() {
        let tenure = begun(100);
        assert!(!tenure.is_valid(at(100)));
        tenure.renew(at(99), until(500));
        assert!(!tenure.is_valid(at(1)));
        assert_eq!(tenure.cause(), Some(Cause::Expired));
    }

    #[test]
    fn late_answer_does_not_revive_even_if_nobody_looked() {
        let tenure = begun(100);
        tenure.renew(at(100), until(500));
        assert!(!tenure.is_valid(at(100)));
    }

    #[test]
    fn first_cause_wins() {
        let tenure = begun(100);
        assert!(tenure.lose(Cause::Ousted));
        assert!(!tenure.lose(Cause::Closed));
        assert!(!tenure.is_valid(at(1)));
        assert_eq!(tenure.cause(), Some(Cause::Ousted));
    }

    #[test]
    fn kernel_tenure_ends_only_by_cause() {
        let tenure = Tenure::new();
        tenure.begin(Deadline::NEVER);
        assert!(tenure.is_valid(at(u64::MAX / 2_000_000)));
        tenure.renew(at(1), until(100));
        assert!(tenure.is_valid(at(1_000)));
        assert!(tenure.lose(Cause::Orphaned));
        assert!(!tenure.is_valid(at(1)));
    }

    #[tokio::test]
    async fn lost_answers_also_when_asked_afterwards() {
        let tenure = begun(100);
        tenure.lose(Cause::Closed);
        assert_eq!(tenure.lost().await, Cause::Closed);
    }
}
