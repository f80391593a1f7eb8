//! The processes of a row: each plays one part until it is told to end, killed or stopped.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Outcome;
use crate::servers::process::{find, spawn};

/// How long a worker may take to be ready, and to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a worker is told on its command line.
#[derive(Clone, Debug)]
pub struct Orders<'a> {
    /// Which part it plays.
    pub part: &'a str,
    /// Who it is: unique in the history.
    pub member: &'a str,
    /// The store, as it reaches it.
    pub url: &'a str,
    /// The time to live that it asks for.
    pub ttl: Duration,
    /// Where it writes what it does.
    pub folder: &'a Path,
    /// What its locks, or its group, are called.
    pub name: &'a str,
    /// How many of them, or how often.
    pub count: u64,
}

/// A process that plays a part. Killed when dropped.
#[derive(Debug)]
pub struct Worker {
    member: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Mutex<Receiver<String>>,
}

impl Worker {
    /// Starts it; it is not [ready](Self::ready) yet.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(orders: &Orders<'_>) -> Outcome<Self> {
        let mut command = Command::new(find("setpriv", "util-linux"));
        command.args(["--pdeathsig", "KILL", "--"]).arg(std::env::current_exe()?);
        command.args(["worker", "--part", orders.part, "--member", orders.member, "--url", orders.url]);
        command.args(["--name", orders.name, "--count", &orders.count.to_string()]);
        command.arg("--ttl-ms").arg(orders.ttl.as_millis().to_string());
        command.arg("--folder").arg(orders.folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(command)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let said = output.into_iter().flat_map(|output| BufReader::new(output).lines());
            said.map_while(Result::ok).take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Ok(Self { member: orders.member.to_owned(), child, input, lines: Mutex::new(lines) })
    }

    /// Who it is.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next thing it says.
    ///
    /// # Errors
    /// If it says nothing, or has ended.
    pub fn hear(&self) -> Outcome<String> {
        self.hear_within(PATIENCE)
    }

    /// Waits so long for the next thing it says.
    ///
    /// # Errors
    /// If it says nothing, or has ended.
    pub fn hear_within(&self, patience: Duration) -> Outcome<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.recv_timeout(patience);
        Ok(line.map_err(|error| format!("nothing from {}: {error}", self.member))?)
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// If it does not get there.
    pub fn ready(&self) -> Outcome<()> {
        match self.hear()?.as_str() {
            "ready" => Ok(()),
            other => Err(format!("{} said {other:?} instead of being ready", self.member).into()),
        }
    }

    /// Kills it as by -9.
    ///
    /// # Errors
    /// If that is not possible.
    pub fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it where it is (STOP).
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (CONT).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = id.map(|id| kill_process(id, signal)); // it may have ended already, which its history shows
    }

    /// Tells it to end in order, and does not wait.
    pub fn dismiss(&mut self) {
        self.input = None;
    }

    /// Waits until it has ended in order.
    ///
    /// # Errors
    /// If it has not, or failed.
    pub fn end(mut self) -> Outcome<()> {
        self.dismiss();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("{} ended with {status}", self.member).into()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Err(format!("{} did not end within {PATIENCE:?}", self.member).into())
    }

    /// Waits until it has done its part, which takes as long as it takes.
    ///
    /// # Errors
    /// If it failed.
    pub fn done(mut self) -> Outcome<()> {
        match self.child.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("{} ended with {status}", self.member).into()),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends all of them: tells everyone first, so that they do it side by side.
///
/// # Errors
/// As [`Worker::end`].
pub fn end(mut workers: Vec<Worker>) -> Outcome<()> {
    workers.iter_mut().for_each(Worker::dismiss);
    workers.into_iter().try_for_each(Worker::end)
}

/// A worker's own side: says something to whoever started it.
///
/// # Errors
/// If nobody listens.
#[allow(clippy::print_stdout)] // that is how workers speak
pub(super) fn say(line: &str) -> Outcome<()> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

/// A worker's own side: ends when it is told to end.
pub(super) fn dismissed() -> tokio::sync::watch::Receiver<bool> {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new()); // its end is what counts
        let _ = sender.send(true); // whoever waited may be gone
    });
    receiver
}
