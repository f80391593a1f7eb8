//! C2: tokens strictly increase, and accepted writes never go back.

use std::collections::BTreeMap;

use super::{Grant, Violation};
use crate::history::{Op, Outcome, Record};

/// C2: no two grants of a name share a token; a grant that was known before another was asked for has the
/// smaller one; the fenced register accepted writes in the order of their tokens, without a gap.
pub fn tokens(records: &[Record], grants: &[Grant]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for of_name in grants.chunk_by(|a, b| a.name == b.name) {
        for pair in of_name.windows(2) {
            let [a, b] = pair else { continue };
            if a.token == b.token {
                let text = format!("\"{}\": token {} went to {} and to {}", a.name, a.token, a.proc, b.proc);
                violations.push(Violation::new("C2", text));
            }
        }
        violations.extend(out_of_order(of_name));
    }
    violations.extend(register(records));
    violations
}

/// Walks in the order of calls: no grant may have a token below the largest that was known before.
fn out_of_order(of_name: &[Grant]) -> Vec<Violation> {
    let mut by_call: Vec<&Grant> = of_name.iter().collect();
    by_call.sort_by_key(|grant| grant.called);
    let mut by_known: Vec<&Grant> = of_name.iter().collect();
    by_known.sort_by_key(|grant| grant.known);

    let mut known = by_known.into_iter().peekable();
    let mut largest: Option<&Grant> = None;
    let mut violations = Vec::new();
    for grant in by_call {
        while let Some(earlier) = known.next_if(|earlier| earlier.known < grant.called) {
            if largest.is_none_or(|largest| earlier.token > largest.token) {
                largest = Some(earlier);
            }
        }
        if let Some(earlier) = largest.filter(|earlier| earlier.token > grant.token) {
            let text = format!(
                "\"{}\": {} got token {} after {} had got {}",
                grant.name, grant.proc, grant.token, earlier.proc, earlier.token
            );
            violations.push(Violation::new("C2", text));
        }
    }
    violations
}

fn register(records: &[Record]) -> Vec<Violation> {
    let mut written: BTreeMap<&str, BTreeMap<u64, u64>> = BTreeMap::new();
    let mut violations = Vec::new();
    for record in records.iter().filter(|record| record.op == Op::Write) {
        let (Outcome::Accepted(nth), Some(token)) = (&record.result, record.token) else { continue };
        if written.entry(&record.name).or_default().insert(*nth, token).is_some() {
            let text = format!("\"{}\": two writes were the {nth}th", record.name);
            violations.push(Violation::new("C2", text));
        }
    }
    for (name, writes) in written {
        let mut last = 0;
        for (nth, token) in writes {
            if token < last {
                let text = format!("\"{name}\": write {nth} with token {token} was accepted after {last}");
                violations.push(Violation::new("C2", text));
            }
            last = last.max(token);
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::grants;
    use super::super::tests::{cycle, record};
    use super::*;

    fn judge(history: &[Record]) -> usize {
        tokens(history, &grants(history)).len()
    }

    #[test]
    fn growing_tokens_are_fine() {
        assert_eq!(judge(&[cycle("a", 0, 10, 1, 1), cycle("b", 20, 30, 5, 2)].concat()), 0);
    }

    #[test]
    fn a_token_given_twice_is_found() {
        assert!(judge(&[cycle("a", 0, 10, 1, 1), cycle("b", 20, 30, 1, 2)].concat()) > 0);
    }

    #[test]
    fn a_token_that_goes_back_is_found() {
        assert!(judge(&[cycle("a", 0, 10, 7, 1), cycle("b", 20, 30, 6, 2)].concat()) > 0);
    }

    #[test]
    fn a_write_accepted_after_a_larger_token_is_found() {
        let mut history = [cycle("a", 0, 10, 1, 1), cycle("b", 20, 30, 2, 2)].concat();
        history.push(record("a", Op::Write, 25, 1, Outcome::Accepted(3)));
        assert_eq!(judge(&history), 1);
    }

    #[test]
    fn two_writes_in_one_place_are_found() {
        assert_eq!(judge(&[cycle("a", 0, 10, 1, 1), cycle("b", 20, 30, 2, 1)].concat()), 1);
    }
}
