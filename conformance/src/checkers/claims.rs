//! C3: a guard stops claiming before anybody else knows of the next grant.

use tooz_core::Mode;

use super::{Grant, Violation};

/// C3: the last true `is_held` of a grant was called before the first later grant that excludes it returned.
pub fn claims(grants: &[Grant]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for of_name in grants.chunk_by(|a, b| a.name == b.name) {
        // The first moment at which a later grant was known, from the back.
        let (mut any, mut alone): (Option<&Grant>, Option<&Grant>) = (None, None);
        for grant in of_name.iter().rev() {
            let next = if grant.mode == Mode::Exclusive { any } else { alone };
            if let (Some(next), Some(last)) = (next, grant.last_true)
                && last >= next.known
            {
                let text = format!(
                    "\"{}\": {} still claimed token {} at {last}, {} knew of token {} at {}",
                    grant.name, grant.proc, grant.token, next.proc, next.token, next.known
                );
                violations.push(Violation::new("C3", text).at(last));
            }
            if any.is_none_or(|any| grant.known < any.known) {
                any = Some(grant);
            }
            if grant.mode == Mode::Exclusive && alone.is_none_or(|alone| grant.known < alone.known) {
                alone = Some(grant);
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::grants;
    use super::super::tests::{cycle, record};
    use super::*;
    use crate::history::{Op, Outcome};

    #[test]
    fn a_guard_that_stops_in_time_is_fine() {
        let history = [cycle("a", 0, 10, 1, 1), cycle("b", 20, 30, 2, 2)].concat();
        assert_eq!(claims(&grants(&history)), []);
    }

    #[test]
    fn a_guard_that_claims_too_long_is_found() {
        let mut history = [cycle("a", 0, 10, 1, 1), cycle("b", 20, 30, 2, 2)].concat();
        history.push(record("a", Op::IsHeld, 22, 1, Outcome::Yes));
        assert_eq!(claims(&grants(&history)).len(), 1);
    }

    #[test]
    fn a_guard_that_knows_it_is_lost_is_fine() {
        let mut history = [cycle("a", 0, 10, 1, 1), cycle("b", 20, 30, 2, 2)].concat();
        history.push(record("a", Op::IsHeld, 22, 1, Outcome::No));
        assert_eq!(claims(&grants(&history)), []);
    }

    #[test]
    fn readers_need_not_stop_for_readers() {
        let history = [
            record("a", Op::AcquireShared, 0, 1, Outcome::Yes),
            record("b", Op::AcquireShared, 5, 2, Outcome::Yes),
            record("a", Op::IsHeld, 10, 1, Outcome::Yes),
        ];
        assert_eq!(claims(&grants(&history)), []);
    }
}
