//! C6: what views of a group tell is what happened to it.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::history::{Op, Outcome, Record};

/// C6: nobody is told that a member joined before it asked to, nor that one is gone that neither left nor died; and
/// what a view told last of each member is how it ended. Every member is to join once only, under a name of its own;
/// `died` says when those were killed that were.
pub fn membership(records: &[Record], died: &BTreeMap<&str, u64>) -> Vec<Violation> {
    let first = |op: Op| {
        let mut calls: BTreeMap<&str, u64> = BTreeMap::new();
        for record in records.iter().filter(|record| record.op == op) {
            let call = calls.entry(&record.proc).or_insert(record.call);
            *call = record.call.min(*call);
        }
        calls
    };
    let (joins, leaves) = (first(Op::Join), first(Op::Leave));
    let left = |member: &str| leaves.get(member).into_iter().chain(died.get(member)).min().copied();
    let mut violations = Vec::new();
    let mut tell = |text: String| violations.push(Violation::new("C6", text));
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for record in records {
        let (Op::SeeJoined | Op::SeeLeft, Outcome::Message(member), Some(at)) =
            (record.op, &record.result, record.returned)
        else {
            continue;
        };
        let view = seen.entry(&record.proc).or_default();
        if record.op == Op::SeeJoined {
            view.insert(member);
            if joins.get(member.as_str()).is_none_or(|join| *join > at) {
                tell(format!(
                    "{} was told at {at} that {member} joined, which had not asked to",
                    record.proc
                ));
            }
        } else {
            view.remove(member.as_str());
            if left(member).is_none_or(|left| left > at) {
                tell(format!("{} was told at {at} that {member} is gone, a false leave", record.proc));
            }
        }
    }
    let joined = |record: &&Record| record.op == Op::Join && record.result == Outcome::Yes;
    let members = records.iter().filter(joined).map(|record| record.proc.as_str());
    let there: BTreeSet<&str> = members.filter(|member| left(member).is_none()).collect();
    for (observer, view) in seen {
        if view != there {
            let differs: Vec<_> = view.symmetric_difference(&there).collect();
            tell(format!("in the end {observer} is wrong about {differs:?}"));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(proc: &str, op: Op, call: u64) -> Record {
        super::super::tests::record(proc, op, call, 0, Outcome::Yes)
    }

    fn see(op: Op, call: u64, member: &str) -> Record {
        super::super::tests::record("view", op, call, 0, Outcome::Message(member.to_owned()))
    }

    #[test]
    fn a_view_that_tells_what_happened_is_fine() {
        let history = [
            act("a", Op::Join, 0),
            act("b", Op::Join, 5),
            act("c", Op::Join, 6),
            see(Op::SeeJoined, 10, "a"),
            see(Op::SeeJoined, 11, "b"),
            see(Op::SeeJoined, 12, "c"),
            act("a", Op::Leave, 20),
            see(Op::SeeLeft, 22, "a"),
            see(Op::SeeLeft, 40, "b"),
        ];
        assert_eq!(membership(&history, &BTreeMap::from([("b", 30)])), []);
    }

    #[test]
    fn a_false_leave_is_found() {
        let history = [act("a", Op::Join, 0), see(Op::SeeJoined, 10, "a"), see(Op::SeeLeft, 20, "a")];
        assert_eq!(membership(&history, &BTreeMap::new()).len(), 2, "gone, and missing in the end");
        assert_eq!(membership(&history, &BTreeMap::from([("a", 15)])), []);
        assert_eq!(membership(&history, &BTreeMap::from([("a", 25)])).len(), 1, "it died later");
    }

    #[test]
    fn a_member_that_nobody_sees_is_found() {
        let history = [
            act("a", Op::Join, 0),
            act("b", Op::Join, 0),
            see(Op::SeeJoined, 10, "a"),
            act("b", Op::Leave, 90),
        ];
        assert_eq!(membership(&history, &BTreeMap::new()), []);
        let [a, b, seen, _] = history;
        assert_eq!(membership(&[a, b, seen], &BTreeMap::new()).len(), 1);
    }
}
