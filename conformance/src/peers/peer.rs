//! One member in a process of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::python;
use crate::servers::process::{find, spawn};

/// How long a peer may take to answer, blocking acquires included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that does one thing at a time. Killed when dropped.
#[derive(Debug)]
pub struct Peer {
    member: String,
    child: Mutex<Child>,
    answers: Arc<Mutex<Receiver<String>>>,
}

/// What a peer answered, and when it did what it was asked for: nanoseconds since boot, as in histories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The value, or the error as `Class: text`.
    pub result: Result<Value, String>,
    /// Before it began.
    pub begun: u64,
    /// After it had ended.
    pub ended: u64,
}

impl Peer {
    /// A member through Python tooz; `url` as Python writes it.
    pub fn tooz(url: &str, member: &str) -> Self {
        Self::start("tooz", url, member)
    }

    /// A client of redis-py's own lock; its names are whole keys.
    pub fn redis(url: &str) -> Self {
        Self::start("redis", url, "redis-py")
    }

    /// A client of kazoo's own recipes at `host:port,…`; its names are whole paths.
    pub fn kazoo(hosts: &str, member: &str) -> Self {
        Self::start("kazoo", hosts, member)
    }

    /// Python tooz's hash ring, without a store.
    pub fn ring() -> Self {
        Self::start("ring", "", "ring")
    }

    /// A member of ours in a process of its own: `program` is this crate's tool `peer`.
    pub fn rust(program: &str, url: &str, member: &str) -> Self {
        let words = [program, "--url", url, "--member", member];
        Self::of(member, &words.map(OsStr::new))
    }

    fn start(kind: &str, url: &str, member: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/peer.py");
        let words = [python().as_os_str(), "-B".as_ref(), script.as_ref()];
        Self::of(member, &[words.as_slice(), &[kind, url, member].map(OsStr::new)].concat())
    }

    fn of(member: &str, words: &[&OsStr]) -> Self {
        let mut command = Command::new(find("setpriv", "util-linux"));
        command.args(["--pdeathsig", "KILL", "--"]).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(command).unwrap_or_else(|error| panic!("start the peer {member}: {error}"));
        let output = child.stdout.take().expect("an output that was asked for");
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        let answers = Arc::new(Mutex::new(answers));
        let peer = Self { member: member.to_owned(), child: Mutex::new(child), answers };
        peer.pending().wait();
        peer
    }

    /// Asks for something and does not wait: a method of the peer's class in `conformance/peers`, with its
    /// arguments by name.
    ///
    /// # Panics
    /// If the peer has ended.
    pub fn begin(&self, act: &str, arguments: Value) -> Pending {
        let mut request = arguments;
        if let Some(request) = request.as_object_mut() {
            request.insert("do".to_owned(), act.into());
        }
        let mut child = self.child();
        let input = child.stdin.as_mut().expect("an input that was asked for");
        let sent = writeln!(input, "{request}").and_then(|()| input.flush());
        sent.unwrap_or_else(|error| panic!("ask {}: {error}", self.member));
        drop(child);
        self.pending()
    }

    /// Asks for something and waits.
    ///
    /// # Panics
    /// If it failed.
    pub fn ask(&self, act: &str, arguments: Value) -> Value {
        let asked = format!("{act} {arguments}");
        let answer = self.begin(act, arguments).wait().result;
        answer.unwrap_or_else(|error| panic!("{} {asked}: {error}", self.member))
    }

    /// Waits until it holds the lock.
    pub fn acquire(&self, name: &str) -> bool {
        self.ask("acquire", json!({ "name": name })) == json!(true)
    }

    /// Holds the lock if that is possible at once.
    pub fn try_acquire(&self, name: &str) -> bool {
        self.ask("acquire", json!({ "name": name, "timeout": 0 })) == json!(true)
    }

    /// Gives the lock back; says whether it still held it.
    pub fn release(&self, name: &str) -> bool {
        self.ask("release", json!({ "name": name })) == json!(true)
    }

    /// Begins so many cycles of acquire, visit, release.
    pub fn begin_cycles(&self, name: &str, count: usize, witness: &super::Witness) -> Pending {
        self.begin("cycles", json!({ "name": name, "count": count, "folder": witness.folder() }))
    }

    /// The members of a group, in the order of their names.
    pub fn members(&self, group: &str) -> Vec<String> {
        texts(&self.ask("members", json!({ "group": group })))
    }

    /// All groups, in the order of their names.
    pub fn groups(&self) -> Vec<String> {
        texts(&self.ask("groups", json!({})))
    }

    /// Makes a group.
    pub fn create(&self, group: &str) {
        self.ask("create", json!({ "group": group }));
    }

    /// Joins a group. What JSON has no word for: `{"$uuid": "…"}`, `{"$bytes": "hex"}`.
    pub fn join(&self, group: &str, capabilities: &Value) {
        self.ask("join", json!({ "group": group, "capabilities": capabilities }));
    }

    /// Leaves a group.
    pub fn leave(&self, group: &str) {
        self.ask("leave", json!({ "group": group }));
    }

    /// What a member can do.
    pub fn capabilities(&self, group: &str, member: &str) -> Value {
        self.ask("capabilities", json!({ "group": group, "member": member }))
    }

    /// Kills it as by -9.
    pub fn kill(&self) {
        let mut child = self.child();
        let _ = child.kill().and_then(|()| child.wait()); // it may have ended already
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    fn pending(&self) -> Pending {
        Pending { member: self.member.clone(), answers: Arc::clone(&self.answers), answer: None }
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Something a peer was asked for. Answers come in the order of the questions.
#[derive(Debug)]
#[must_use]
pub struct Pending {
    member: String,
    answers: Arc<Mutex<Receiver<String>>>,
    answer: Option<String>,
}

impl Pending {
    /// Whether the answer is there.
    pub fn is_answered(&mut self) -> bool {
        if self.answer.is_none() {
            self.answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).try_recv().ok();
        }
        self.answer.is_some()
    }

    /// Waits for the answer.
    ///
    /// # Panics
    /// If there is none after a minute, or the peer ended.
    pub fn wait(self) -> Answer {
        self.wait_at_most(PATIENCE)
    }

    /// Waits for the answer to something long.
    ///
    /// # Panics
    /// If there is none by then, or the peer ended.
    pub fn wait_at_most(mut self, patience: Duration) -> Answer {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let line = self.answer.take().map_or_else(|| answers.recv_timeout(patience), Ok);
        let line = line.unwrap_or_else(|error| panic!("no answer from {}: {error}", self.member));
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        let time = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
        let result = match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer.get("ok").cloned().unwrap_or_default()),
        };
        Answer { result, begun: time("begun"), ended: time("ended") }
    }

    /// The same from asynchronous code: looks now and then instead of blocking the thread.
    ///
    /// # Panics
    /// As [`wait`](Pending::wait) does.
    pub async fn answered(mut self) -> Answer {
        let start = Instant::now();
        while !self.is_answered() && start.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.wait()
    }
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().into_iter().flatten();
    values.filter_map(|value| value.as_str().map(ToOwned::to_owned)).collect()
}
