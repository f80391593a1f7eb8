//! Whether enough happened for a clean history to mean anything.

use std::collections::BTreeSet;

use super::{Grant, Violation};
use crate::history::{Op, Outcome, Record};

/// What happened in a history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Processes or tasks that were granted something.
    pub procs: usize,
    /// Grants.
    pub grants: usize,
    /// Grants that went to another process than the one before.
    pub hand_overs: usize,
    /// Acquires that were under way while another process held.
    pub contended: usize,
    /// Writes that the fenced register accepted.
    pub writes: usize,
}

/// What must have happened at least.
pub type Least = Traffic;

impl Traffic {
    /// What happened in these records.
    pub fn of(records: &[Record], grants: &[Grant]) -> Self {
        let procs: BTreeSet<&str> = grants.iter().map(|grant| grant.proc.as_str()).collect();
        let mut traffic = Self { procs: procs.len(), grants: grants.len(), ..Self::default() };
        for of_name in grants.chunk_by(|a, b| a.name == b.name) {
            for pair in of_name.windows(2) {
                let [a, b] = pair else { continue };
                traffic.hand_overs += usize::from(a.proc != b.proc);
                traffic.contended += usize::from(a.proc != b.proc && b.called < a.until);
            }
        }
        let accepted =
            |record: &&Record| record.op == Op::Write && matches!(record.result, Outcome::Accepted(_));
        traffic.writes = records.iter().filter(accepted).count();
        traffic
    }

    /// Where less happened than had to.
    pub fn violations(&self, least: &Least) -> Vec<Violation> {
        let lines = [
            ("processes", self.procs, least.procs),
            ("grants", self.grants, least.grants),
            ("hand-overs", self.hand_overs, least.hand_overs),
            ("contended acquires", self.contended, least.contended),
            ("accepted writes", self.writes, least.writes),
        ];
        let short = lines.into_iter().filter(|(_, there, least)| there < least);
        short
            .map(|(what, there, least)| {
                Violation::new(
                    "not vacuous",
                    format!("{there} {what}, at least {least} are needed for the run to mean anything"),
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::cycle;
    use super::super::{check, grants};
    use super::*;

    #[test]
    fn traffic_is_counted() {
        let history = [cycle("a", 0, 10, 1, 1), cycle("b", 5, 30, 2, 2), cycle("b", 40, 50, 3, 3)].concat();
        let traffic = Traffic::of(&history, &grants(&history));
        assert_eq!(traffic, Traffic { procs: 2, grants: 3, hand_overs: 1, contended: 1, writes: 3 });
    }

    #[test]
    fn too_little_traffic_fails() {
        let least = Least { grants: 1, ..Least::default() };
        let violations = check(&[], &least);
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].promise, "not vacuous");
    }
}
