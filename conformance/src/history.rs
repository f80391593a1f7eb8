//! What happened: one record per call, on the machine's boot clock, so that the files of several processes
//! can be merged and judged together.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tooz_core::{BootClock, Clock, Mode, Moment};

/// One call and what came of it. Times are nanoseconds since boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which process or task made the call: unique in a history.
    pub proc: String,
    /// What was called.
    pub op: Op,
    /// On which lock, election or topic.
    pub name: String,
    /// When it was called.
    pub call: u64,
    /// When it returned; `None` if it never did.
    #[serde(rename = "return")]
    pub returned: Option<u64>,
    /// What came of it.
    pub result: Outcome,
    /// The grant it concerns.
    pub token: Option<u64>,
    /// Until when the guard claims to hold; `None` for never-ending or no claim.
    pub claim_until: Option<u64>,
}

/// What was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Acquiring alone.
    Acquire,
    /// Acquiring together with others.
    AcquireShared,
    /// Asking a guard whether it holds.
    IsHeld,
    /// Using the fenced register.
    Write,
    /// Giving back.
    Release,
    /// Publishing to a topic; the token is the message's number.
    Publish,
    /// Being given something by a subscription; the token is the message's number.
    Deliver,
    /// Joining a group.
    Join,
    /// Leaving a group.
    Leave,
    /// Being told by a view of a group that a member joined.
    SeeJoined,
    /// Being told by a view of a group that a member is gone.
    SeeLeft,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Granted, true, released.
    Yes,
    /// Not granted, false.
    No,
    /// Accepted by the register as its n-th write.
    Accepted(u64),
    /// Refused by the register: a larger token had written.
    Refused,
    /// A message, by what tells it apart from every other.
    Message(String),
    /// So many messages were gone.
    Missed(u64),
    /// It failed.
    Error(String),
    /// Nobody knows: it never returned.
    Unknown,
}

impl Record {
    /// Whether it is about a topic.
    pub(crate) fn is_of_topic(&self) -> bool {
        matches!(self.op, Op::Publish | Op::Deliver)
    }
}

impl Op {
    /// The acquire of this mode.
    pub fn acquire(mode: Mode) -> Self {
        match mode {
            Mode::Exclusive => Self::Acquire,
            Mode::Shared => Self::AcquireShared,
        }
    }
}

/// The present moment as records write it.
pub fn now() -> u64 {
    BootClock.now().as_nanos()
}

/// Where records go: a file of this process, or memory.
pub struct Recorder {
    proc: String,
    to: Mutex<Sink>,
}

enum Sink {
    File(File),
    Memory(Vec<Record>),
}

impl Recorder {
    /// Records of `proc` kept in memory.
    pub fn in_memory(proc: impl Into<String>) -> Self {
        Self { proc: proc.into(), to: Mutex::new(Sink::Memory(Vec::new())) }
    }

    /// Records of `proc` written to a file, one line each, at once: they survive kill -9.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn to_file(proc: impl Into<String>, path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { proc: proc.into(), to: Mutex::new(Sink::File(file)) })
    }

    /// Notes a call that returned just now.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn note(
        &self,
        op: Op,
        name: &str,
        call: u64,
        result: Outcome,
        token: Option<u64>,
        until: Option<Moment>,
    ) -> io::Result<()> {
        self.record(Record {
            proc: self.proc.clone(),
            op,
            name: name.to_owned(),
            call,
            returned: Some(now()),
            result,
            token,
            claim_until: until.map(Moment::as_nanos),
        })
    }

    /// Notes that `proc` published a message and was told its number just now.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn publish(&self, proc: &str, topic: &str, call: u64, number: u64) -> io::Result<()> {
        self.topical(proc, Op::Publish, topic, call, Outcome::Yes, Some(number))
    }

    /// Notes that `proc` was given a message just now; `message` tells it apart from every other.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn deliver(&self, proc: &str, topic: &str, number: u64, message: &str) -> io::Result<()> {
        self.topical(proc, Op::Deliver, topic, now(), Outcome::Message(message.to_owned()), Some(number))
    }

    /// Notes that `proc` was told just now that it missed messages.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn missed(&self, proc: &str, topic: &str, missed: u64) -> io::Result<()> {
        self.topical(proc, Op::Deliver, topic, now(), Outcome::Missed(missed), None)
    }

    fn topical(
        &self,
        proc: &str,
        op: Op,
        topic: &str,
        call: u64,
        result: Outcome,
        token: Option<u64>,
    ) -> io::Result<()> {
        let (proc, name, returned) = (proc.to_owned(), topic.to_owned(), Some(now()));
        self.record(Record { proc, op, name, call, returned, result, token, claim_until: None })
    }

    /// Notes that `proc` joined or left a group.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn attend(&self, op: Op, group: &str, call: u64, came: Outcome) -> io::Result<()> {
        self.topical(&self.proc, op, group, call, came, None)
    }

    /// Notes that `proc` was told just now that a member joined a group or is gone from it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn see(&self, op: Op, group: &str, member: &str) -> io::Result<()> {
        self.topical(&self.proc, op, group, now(), Outcome::Message(member.to_owned()), None)
    }

    /// Notes a record as it is.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn record(&self, record: Record) -> io::Result<()> {
        match &mut *self.to.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::Memory(records) => records.push(record),
            Sink::File(file) => {
                let mut line = serde_json::to_vec(&record)?;
                line.push(b'\n');
                // One write for one line, so that a kill leaves at most the last line torn.
                file.write_all(&line)?;
            }
        }
        Ok(())
    }

    /// The records kept in memory.
    pub fn records(&self) -> Vec<Record> {
        match &*self.to.lock().unwrap_or_else(PoisonError::into_inner) {
            Sink::Memory(records) => records.clone(),
            Sink::File(_) => Vec::new(),
        }
    }
}

/// Reads one process's file. A torn last line is what kill -9 leaves and is passed over; any other is an
/// error.
///
/// # Errors
/// If the file cannot be read or holds something else.
pub fn read(path: &Path) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut lines = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        match serde_json::from_slice(&line) {
            Ok(record) => records.push(record),
            Err(_) if !line.ends_with(b"\n") => {}
            Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e)),
        }
        line.clear();
    }
    Ok(records)
}

/// Reads and merges all `*.jsonl` files of a folder, by the time of the call.
///
/// # Errors
/// If a file cannot be read or holds something else.
pub fn merge(folder: &Path) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            records.extend(read(&path)?);
        }
    }
    records.sort_by_key(|record| record.call);
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_several_processes_are_merged_by_time_and_torn_ends_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        for (proc, call) in [("a", 2), ("b", 1)] {
            let recorder = Recorder::to_file(proc, &folder.path().join(format!("{proc}.jsonl"))).unwrap();
            recorder.note(Op::Acquire, "x", call, Outcome::Yes, Some(call), None).unwrap();
        }
        let torn = folder.path().join("b.jsonl");
        OpenOptions::new().append(true).open(&torn).unwrap().write_all(b"{\"proc\":\"b\",\"op").unwrap();

        let merged = merge(folder.path()).unwrap();
        assert_eq!(
            merged.iter().map(|r| (r.proc.as_str(), r.token)).collect::<Vec<_>>(),
            [("b", Some(1)), ("a", Some(2))]
        );
        let text = std::fs::read_to_string(folder.path().join("a.jsonl")).unwrap();
        assert!(text.contains("\"return\":"), "{text}");

        OpenOptions::new().append(true).open(&torn).unwrap().write_all(b"\n").unwrap();
        merge(folder.path()).unwrap_err();
    }
}
