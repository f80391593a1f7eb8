//! C5: every subscriber of a topic reads the same messages in the same order.

use std::collections::BTreeMap;

use super::Violation;
use crate::history::{Op, Outcome, Record};

/// C5: what one subscriber read has consecutive numbers, but for gaps that it was told; one number is one
/// message to everybody, and one message has one number; a message that was acknowledged is read under the
/// number it was acknowledged with; and whatever was acknowledged before another was sent comes before it.
///
/// Messages are told apart by what [`Recorder::deliver`](crate::history::Recorder::deliver) noted of them,
/// which must differ from message to message. A topic that begins anew is recorded under another name.
pub fn order(records: &[Record]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let names: std::collections::BTreeSet<&str> =
        records.iter().filter(|record| record.is_of_topic()).map(|record| record.name.as_str()).collect();
    for name in names {
        let of_name: Vec<&Record> =
            records.iter().filter(|record| record.name == name && record.is_of_topic()).collect();
        let mut tell = |text: String| {
            violations.push(Violation::new("C5", format!("\"{name}\": {text}")));
        };
        sequences(&of_name, &mut tell);
        let messages = messages(&of_name, &mut tell);
        published(&of_name, &messages, &mut tell);
    }
    violations
}

/// Each subscriber for itself.
fn sequences(records: &[&Record], tell: &mut impl FnMut(String)) {
    let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records.iter().filter(|record| record.op == Op::Deliver) {
        let at = reached.get(record.proc.as_str()).copied();
        match (&record.result, record.token) {
            (Outcome::Message(_), Some(number)) => {
                if at.is_some_and(|at| number != at + 1) {
                    tell(format!("{} read {number} after {}", record.proc, at.unwrap_or_default()));
                }
                reached.insert(&record.proc, number);
            }
            (Outcome::Missed(missed), _) => {
                reached.insert(&record.proc, at.unwrap_or_default() + missed);
            }
            (other, _) => tell(format!("{} was given {other:?}", record.proc)),
        }
    }
}

/// All subscribers together: which message has which number.
fn messages<'a>(records: &[&'a Record], tell: &mut impl FnMut(String)) -> BTreeMap<u64, &'a str> {
    let mut messages: BTreeMap<u64, &str> = BTreeMap::new();
    let mut numbers: BTreeMap<&str, u64> = BTreeMap::new();
    for record in records {
        let (Outcome::Message(message), Some(number)) = (&record.result, record.token) else { continue };
        let known = *messages.entry(number).or_insert(message);
        if known != message {
            tell(format!("{number} is {known} to some and {message} to {}", record.proc));
        }
        let known = *numbers.entry(message).or_insert(number);
        if known != number {
            tell(format!("{message} is read as {known} and as {number}"));
        }
    }
    messages
}

/// Publishers: acknowledged messages are there, and in the order of time.
fn published(records: &[&Record], messages: &BTreeMap<u64, &str>, tell: &mut impl FnMut(String)) {
    let acknowledged: Vec<(&Record, u64, u64)> = records
        .iter()
        .filter(|record| record.op == Op::Publish && record.result == Outcome::Yes)
        .filter_map(|record| Some((*record, record.token?, record.returned?)))
        .collect();
    let bounds = messages.first_key_value().zip(messages.last_key_value());
    let missed = records.iter().any(|record| matches!(record.result, Outcome::Missed(_)));
    let mut seen: BTreeMap<u64, &str> = BTreeMap::new();
    for (record, number, _) in &acknowledged {
        if let Some(other) = seen.insert(*number, &record.proc) {
            tell(format!("{number} was acknowledged to {other} and to {}", record.proc));
        }
        let is_within = bounds.is_some_and(|((first, _), (last, _))| (first..=last).contains(&number));
        if is_within && !missed && !messages.contains_key(number) {
            tell(format!("{number} was acknowledged to {} and read by nobody", record.proc));
        }
    }
    let mut by_call = acknowledged.clone();
    by_call.sort_by_key(|(record, ..)| record.call);
    let mut by_return = acknowledged;
    by_return.sort_by_key(|(_, _, returned)| *returned);
    let mut earlier = by_return.into_iter().peekable();
    let mut largest = 0;
    for (record, number, _) in by_call {
        while let Some((_, before, _)) = earlier.next_if(|(_, _, returned)| *returned < record.call) {
            largest = largest.max(before);
        }
        if number < largest {
            tell(format!("{} published {number} after {largest} had been acknowledged", record.proc));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish(proc: &str, call: u64, number: u64) -> Record {
        Record { op: Op::Publish, ..super::super::tests::record(proc, Op::Write, call, number, Outcome::Yes) }
    }

    fn deliver(proc: &str, number: u64, message: &str) -> Record {
        let result = Outcome::Message(message.to_owned());
        super::super::tests::record(proc, Op::Deliver, 100, number, result)
    }

    fn missed(proc: &str, count: u64) -> Record {
        super::super::tests::record(proc, Op::Deliver, 100, 0, Outcome::Missed(count))
    }

    #[test]
    fn one_order_without_gaps_is_fine_also_for_who_came_later() {
        let history = [
            publish("p", 0, 1),
            publish("p", 10, 2),
            publish("p", 20, 3),
            deliver("a", 1, "x"),
            deliver("a", 2, "y"),
            deliver("a", 3, "z"),
            deliver("b", 3, "z"),
            missed("c", 2),
            deliver("c", 3, "z"),
        ];
        assert_eq!(order(&history), []);
    }

    #[test]
    fn a_gap_and_a_repetition_are_found() {
        assert_eq!(order(&[deliver("a", 1, "x"), deliver("a", 3, "z")]).len(), 1);
        assert!(!order(&[deliver("a", 1, "x"), deliver("a", 1, "x")]).is_empty());
        assert!(!order(&[deliver("a", 1, "x"), deliver("a", 2, "x")]).is_empty());
    }

    #[test]
    fn two_orders_are_found() {
        let history =
            [deliver("a", 1, "x"), deliver("a", 2, "y"), deliver("b", 1, "y"), deliver("b", 2, "x")];
        assert!(!order(&history).is_empty());
    }

    #[test]
    fn an_acknowledged_message_that_nobody_reads_is_found() {
        let history = [publish("p", 0, 2), deliver("a", 1, "x"), deliver("b", 3, "z")];
        assert_eq!(order(&history).len(), 1);
    }

    #[test]
    fn a_message_set_before_an_earlier_one_is_found() {
        assert_eq!(order(&[publish("p", 0, 2), publish("q", 10, 1)]).len(), 1);
        assert_eq!(order(&[publish("p", 0, 2), publish("q", 10, 2)]).len(), 1);
    }
}
