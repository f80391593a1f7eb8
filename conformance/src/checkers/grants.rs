//! The grants of a history: who surely held what, from when to when.

use std::collections::BTreeMap;

use tooz_core::Mode;

use crate::history::{Op, Outcome, Record};

/// One grant and the span in which its holder surely believed to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The lock or election.
    pub name: String,
    /// Who held.
    pub proc: String,
    /// Alone or together with others.
    pub mode: Mode,
    /// Its number.
    pub token: u64,
    /// When the acquire was called.
    pub called: u64,
    /// When the acquire returned: the holder knows.
    pub known: u64,
    /// The last moment at which it surely still believed to hold: its release was called, or a true
    /// `is_held` or an accepted write was, whatever is later. At least `known`.
    pub until: u64,
    /// The last call of `is_held` that was answered with true.
    pub last_true: Option<u64>,
}

/// The grants in a history, ordered by name and token.
pub fn grants(records: &[Record]) -> Vec<Grant> {
    let mut grants: Vec<Grant> = Vec::new();
    let mut open: BTreeMap<(&str, &str, u64), usize> = BTreeMap::new();
    let mut ordered: Vec<&Record> = records.iter().collect();
    ordered.sort_by_key(|record| (record.call, record.returned));
    for record in ordered {
        let Some(token) = record.token else { continue };
        let key = (record.name.as_str(), record.proc.as_str(), token);
        let mode = match record.op {
            Op::Acquire => Some(Mode::Exclusive),
            Op::AcquireShared => Some(Mode::Shared),
            _ => None,
        };
        match (mode, record.returned) {
            (Some(mode), Some(known)) if record.result == Outcome::Yes => {
                open.insert(key, grants.len());
                grants.push(Grant {
                    name: record.name.clone(),
                    proc: record.proc.clone(),
                    mode,
                    token,
                    called: record.call,
                    known,
                    until: known,
                    last_true: None,
                });
            }
            (Some(_), _) => {}
            (None, _) => {
                let Some(grant) = open.get(&key).and_then(|index| grants.get_mut(*index)) else { continue };
                match (record.op, &record.result) {
                    (Op::IsHeld, Outcome::Yes) => {
                        grant.last_true = grant.last_true.max(Some(record.call));
                        grant.until = grant.until.max(record.call);
                    }
                    (Op::Release, Outcome::Yes) => grant.until = grant.until.max(record.call),
                    _ => {}
                }
            }
        }
    }
    grants.sort_by(|a, b| (&a.name, a.token, a.known).cmp(&(&b.name, b.token, b.known)));
    grants
}
