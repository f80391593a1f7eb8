//! The figures of one row: written by the run that took them, never by hand.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Outcome;

/// What one run of a row did, hit and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The row: `killed`, `stopped` …
    pub row: String,
    /// The store: `redis`, `redis-everysec` …
    pub store: String,
    /// How much was to be done.
    pub wanted: u64,
    /// How much was done.
    pub done: u64,
    /// How often the fault really hit something.
    pub hits: u64,
    /// How often it had to, for the run to mean anything.
    pub least_hits: u64,
    /// Promises that were broken.
    pub violations: u64,
    /// Promises that were broken where the documentation says that they may be.
    pub expected: u64,
    /// How long it took.
    pub seconds: u64,
    /// What else was counted or measured, by its name.
    pub facts: BTreeMap<String, String>,
    /// The first broken promises, in words.
    pub found: Vec<String>,
}

impl Line {
    /// Nothing done yet.
    pub fn new(row: &str, store: &str, wanted: u64) -> Self {
        Self { row: row.to_owned(), store: store.to_owned(), wanted, ..Self::default() }
    }

    /// Adds something counted or measured.
    pub fn fact(&mut self, name: &str, value: impl fmt::Display) {
        self.facts.insert(name.to_owned(), value.to_string());
    }

    /// Adds broken promises, and keeps the first of them in words.
    pub fn violate<T: fmt::Display>(&mut self, violations: impl IntoIterator<Item = T>) {
        const KEPT: usize = 10;
        for violation in violations {
            self.violations += 1;
            if self.found.len() < KEPT {
                self.found.push(violation.to_string());
            }
        }
    }

    /// Whether all of it was done, the fault hit often enough, and no promise was broken.
    pub fn passes(&self) -> bool {
        self.violations == 0 && self.done >= self.wanted && self.hits >= self.least_hits
    }

    /// Adds the line to a file of such lines.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn append(&self, path: &Path) -> Outcome<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(OpenOptions::new().create(true).append(true).open(path)?.write_all(&line)?)
    }

    /// The lines of a file; of each row on each store the newest only.
    ///
    /// # Errors
    /// If the file cannot be read or holds something else.
    pub fn newest(path: &Path) -> Outcome<Vec<Self>> {
        let mut newest = BTreeMap::new();
        for text in BufReader::new(File::open(path)?).lines() {
            let line: Self = serde_json::from_str(&text?)?;
            newest.insert((line.row.clone(), line.store.clone()), line);
        }
        Ok(newest.into_values().collect())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: {} of {} done", self.row, self.store, self.done, self.wanted)?;
        if self.least_hits > 0 {
            write!(f, ", {} hits (at least {})", self.hits, self.least_hits)?;
        }
        write!(f, ", {} violations", self.violations)?;
        if self.expected > 0 {
            write!(f, " and {} documented ones", self.expected)?;
        }
        self.facts.iter().try_for_each(|(name, value)| write!(f, ", {name}: {value}"))?;
        write!(f, ", {} s: {}", self.seconds, if self.passes() { "passed" } else { "FAILED" })?;
        self.found.iter().try_for_each(|found| write!(f, "\n  {found}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_passes_only_if_its_fault_hit_often_enough() {
        let mut line = Line { done: 10, hits: 7, least_hits: 8, ..Line::new("stopped", "redis", 10) };
        assert!(!line.passes());
        line.hits = 8;
        assert!(line.passes());
        line.done = 9;
        assert!(!line.passes());
        line.done = 10;
        line.violate(["two held it"]);
        assert!(!line.passes());
    }

    #[test]
    fn the_newest_line_of_a_row_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        for done in [1, 2] {
            Line { done, ..Line::new("stopped", "redis", 2) }.append(&path).unwrap();
        }
        Line::new("stopped", "etcd", 2).append(&path).unwrap();
        let lines = Line::newest(&path).unwrap();
        assert_eq!(lines.iter().map(|line| line.done).collect::<Vec<_>>(), [0, 2]);
    }
}
