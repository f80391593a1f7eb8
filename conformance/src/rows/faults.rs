//! What was done to whom, and what it hit: decided from the history, after the run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::checkers::Violation;
use crate::history::{Op, Outcome as Came, Record, now};

/// One fault. Times are nanoseconds since boot, as in histories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What was done: `killed`, `stopped`, `cut both` …
    pub what: String,
    /// To which process; to all of them if there is none.
    pub proc: Option<String>,
    /// From when.
    pub from: u64,
    /// Until when; the same where it has no end.
    pub until: u64,
}

/// Faults as they are done, written down at once.
#[derive(Debug)]
pub struct Log {
    file: Mutex<File>,
}

/// No fault of ours: a leader that was frozen went on, and ended leases which its successor kept, before it knew that it had
/// been deposed (etcd before 3.4.31 and 3.5.13).
pub const REVOKED: &str = "leases revoked by a deposed leader";

/// Whether what happened then follows from leases that a deposed leader revoked. Holders hear of it a little later.
pub fn is_revocation(violation: &Violation, faults: &[Fault]) -> bool {
    const HEARD: u64 = 500_000_000;
    let revoked = |at| {
        faults.iter().any(|fault| fault.what == REVOKED && fault.from <= at && at <= fault.until + HEARD)
    };
    violation.promise != "C2" && violation.at.is_some_and(revoked)
}

/// The file of a history's folder in which its faults stand.
pub const FILE: &str = "faults";

impl Log {
    /// The log of this folder.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn create(folder: &Path) -> Outcome<Self> {
        Ok(Self { file: Mutex::new(File::create(folder.join(FILE))?) })
    }

    /// Does a fault, waits, and undoes it; written down with the times at which it surely held.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn during<T>(&self, what: &str, proc: Option<&str>, fault: impl FnOnce() -> T) -> Outcome<T> {
        let from = now();
        let came = fault();
        self.note(what, proc, from)?;
        Ok(came)
    }

    /// Writes down what has been since then.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn note(&self, what: &str, proc: Option<&str>, from: u64) -> Outcome<()> {
        let fault = Fault { what: what.to_owned(), proc: proc.map(str::to_owned), from, until: now() };
        let mut line = serde_json::to_vec(&fault)?;
        line.push(b'\n');
        Ok(self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)?)
    }
}

/// The faults of a folder's history.
///
/// # Errors
/// If they cannot be read.
pub fn faults(folder: &Path) -> Outcome<Vec<Fault>> {
    let lines = BufReader::new(File::open(folder.join(FILE))?).lines();
    lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect()
}

/// What one fault met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Met {
    /// Grants that the process held.
    pub held: usize,
    /// Acquires and releases of the process that were under way.
    pub under_way: usize,
}

impl Met {
    /// Whether it met anything.
    pub fn is_hit(self) -> bool {
        self.held + self.under_way > 0
    }
}

/// What each fault met at its beginning.
pub fn met(records: &[Record], faults: &[Fault]) -> Vec<Met> {
    let grants = spans(records);
    let is_of = |fault: &Fault, proc: &str| fault.proc.as_deref().is_none_or(|of| of == proc);
    faults
        .iter()
        .map(|fault| {
            let held = grants.iter().filter(|(proc, known, end)| {
                is_of(fault, proc) && *known <= fault.from && end.is_none_or(|end| fault.from < end)
            });
            let under_way = records.iter().filter(|record| {
                matches!(record.op, Op::Acquire | Op::AcquireShared | Op::Release)
                    && is_of(fault, &record.proc)
                    && record.call <= fault.from
                    && record.returned.is_none_or(|returned| fault.from < returned)
            });
            Met { held: held.count(), under_way: under_way.count() }
        })
        .collect()
}

/// From when to when each grant was one in its holder's eyes: until it let go, or saw that it held no more.
fn spans(records: &[Record]) -> Vec<(&str, u64, Option<u64>)> {
    let mut spans = Vec::new();
    let mut open: BTreeMap<(&str, &str, u64), usize> = BTreeMap::new();
    for record in records {
        let Some(token) = record.token else { continue };
        let key = (record.proc.as_str(), record.name.as_str(), token);
        match (record.op, &record.result, record.returned) {
            (Op::Acquire | Op::AcquireShared, Came::Yes, Some(known)) => {
                open.insert(key, spans.len());
                spans.push((record.proc.as_str(), known, None));
            }
            (Op::Release, ..) | (Op::IsHeld, Came::No, _) => {
                if let Some((_, _, end)) = open.remove(&key).and_then(|index| spans.get_mut(index)) {
                    *end = Some(record.call);
                }
            }
            _ => {}
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::tests::{cycle, record};

    fn fault(proc: &str, from: u64) -> Fault {
        Fault { what: "killed".to_owned(), proc: Some(proc.to_owned()), from, until: from }
    }

    #[test]
    fn what_follows_from_a_revocation_is_no_more_than_what_happens_just_then_and_never_an_order_of_tokens() {
        let revoked = Fault { what: REVOKED.to_owned(), proc: None, from: 1_000, until: 2_000 };
        let at = |promise, at| Violation::new(promise, String::new()).at(at);
        let follows = |violation: Violation| is_revocation(&violation, std::slice::from_ref(&revoked));
        assert!(follows(at("C3", 1_000)) && follows(at("C1", 2_000)));
        assert!(!follows(at("C3", 999)) && !follows(at("C1", 3_000_000_000)) && !follows(at("C2", 1_500)));
        assert!(!follows(Violation::new("C8", String::new())));
        assert!(!is_revocation(&at("C3", 1_000), &[fault("a", 1_000)]));
    }

    #[test]
    fn a_fault_meets_what_its_process_held_and_had_under_way_at_that_moment() {
        let mut history = cycle("a", 0, 100, 1, 1);
        history.push(record("b", Op::Acquire, 50, 2, Came::Yes));
        if let Some(last) = history.last_mut() {
            last.returned = Some(120);
        }
        let faults = [fault("a", 60), fault("b", 60), fault("b", 130), fault("a", 130), fault("c", 60)];
        let met = met(&history, &faults);
        assert_eq!(
            met.iter().map(|met| (met.held, met.under_way)).collect::<Vec<_>>(),
            [(1, 0), (0, 1), (1, 0), (0, 0), (0, 0)]
        );
        let all = Fault { proc: None, ..fault("", 60) };
        assert_eq!(super::met(&history, &[all]), [Met { held: 1, under_way: 1 }]);
    }
}
