//! C1: grants that exclude each other do not overlap.

use tooz_core::Mode;

use super::{Grant, Violation};

/// C1, exact in n log n: in the order of tokens, a grant may only be known after every earlier grant that
/// excludes it has ended. `grants` come ordered, as [`grants`](super::grants) makes them.
pub fn exclusion(grants: &[Grant]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for of_name in grants.chunk_by(|a, b| a.name == b.name) {
        let mut latest: Option<&Grant> = None;
        let mut latest_alone: Option<&Grant> = None;
        for grant in of_name {
            let earlier = if grant.mode == Mode::Exclusive { latest } else { latest_alone };
            if let Some(earlier) = earlier.filter(|earlier| earlier.until > grant.known) {
                let text = format!(
                    "\"{}\": token {} of {} was held until {}, token {} of {} from {}",
                    grant.name,
                    earlier.token,
                    earlier.proc,
                    earlier.until,
                    grant.token,
                    grant.proc,
                    grant.known
                );
                violations.push(Violation::new("C1", text).at(grant.known));
            }
            if latest.is_none_or(|latest| grant.until > latest.until) {
                latest = Some(grant);
            }
            if grant.mode == Mode::Exclusive && latest_alone.is_none_or(|latest| grant.until > latest.until) {
                latest_alone = Some(grant);
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
    fn grants_one_after_the_other_are_fine() {
        let history = [cycle("a", 0, 10, 1, 1), cycle("b", 20, 30, 2, 2)].concat();
        assert_eq!(exclusion(&grants(&history)), []);
    }

    #[test]
    fn overlapping_grants_are_found() {
        let history = [cycle("a", 0, 30, 1, 1), cycle("b", 20, 40, 2, 2)].concat();
        assert_eq!(exclusion(&grants(&history)).len(), 1);
    }

    #[test]
    fn a_grant_inside_a_much_earlier_one_is_found() {
        let history = [cycle("a", 0, 90, 1, 1), cycle("b", 20, 30, 2, 2), cycle("c", 50, 60, 3, 3)].concat();
        assert_eq!(exclusion(&grants(&history)).len(), 2, "b and c overlap a, though not each other");
    }

    #[test]
    fn a_larger_token_that_came_earlier_is_found() {
        let history = [cycle("a", 50, 60, 1, 1), cycle("b", 0, 10, 2, 2)].concat();
        assert_eq!(exclusion(&grants(&history)).len(), 1);
    }

    #[test]
    fn readers_overlap_and_writers_exclude_them() {
        let mut history = vec![
            record("a", Op::AcquireShared, 0, 1, Outcome::Yes),
            record("b", Op::AcquireShared, 5, 2, Outcome::Yes),
            record("a", Op::Release, 30, 1, Outcome::Yes),
            record("b", Op::Release, 20, 2, Outcome::Yes),
        ];
        assert_eq!(exclusion(&grants(&history)), []);
        history.extend(cycle("w", 25, 40, 3, 1));
        assert_eq!(exclusion(&grants(&history)).len(), 1);
    }

    #[test]
    fn a_holder_that_was_killed_holds_until_it_was_last_seen_holding() {
        let mut history = cycle("a", 0, 10, 1, 1);
        history.pop();
        history.extend(cycle("b", 5, 20, 2, 2));
        assert_eq!(exclusion(&grants(&history)), []);
        history.push(record("a", Op::IsHeld, 15, 1, Outcome::Yes));
        assert_eq!(exclusion(&grants(&history)).len(), 1);
    }
}
