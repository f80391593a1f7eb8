//! One running process: its lines, its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Nothing here takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Run {
    child: Child,
    pub(crate) input: Option<ChildStdin>,
    pub(crate) out: Lines,
    pub(crate) err: Lines,
}

impl Run {
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        let err = Lines::of(child.stderr.take().unwrap());
        Self { input: child.stdin.take(), child, out, err }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_bytes()).unwrap();
        input.write_all(b"\n").unwrap();
    }

    /// Waits for the end: the exit code, or minus the signal's number.
    pub(crate) fn code(&mut self) -> i32 {
        let pidfd = rustix::process::pidfd_open(self.pid(), rustix::process::PidfdFlags::empty()).unwrap();
        let mut ends = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
        let patience = rustix::event::Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut ends, Some(&patience)).unwrap(), 1, "it does not end");
        let status = self.child.wait().unwrap();
        status.code().unwrap_or_else(|| -status.signal().unwrap())
    }

    /// Everything it printed, and how it ended.
    pub(crate) fn end(mut self) -> Ended {
        self.input = None;
        let code = self.code();
        Ended { code, out: self.out.rest(), err: self.err.rest() }
    }
}

/// Whatever a failed test leaves behind would hold locks.
impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: Vec<String>,
    pub(crate) err: Vec<String>,
}

impl Ended {
    /// The one JSON document on standard output.
    pub(crate) fn json(&self) -> Value {
        assert_eq!((self.code, self.out.len()), (0, 1), "{self:?}");
        serde_json::from_str(&self.out[0]).unwrap()
    }

    /// The one line on standard error.
    pub(crate) fn complaint(&self) -> &str {
        assert_eq!(self.err.len(), 1, "{self:?}");
        &self.err[0]
    }
}

/// Lines as they come. The end of the stream means that nobody is left who could write: no child either.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Self {
        let (lines, taken) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                if lines.send(line).is_err() {
                    return;
                }
            }
        });
        Self(taken)
    }

    pub(crate) fn next(&self) -> String {
        self.0.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("no further line: {e}"))
    }

    /// The next line, unless it takes longer.
    pub(crate) fn soon(&self, patience: Duration) -> Option<String> {
        match self.0.recv_timeout(patience) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(e) => panic!("no further line: {e}"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.next()).unwrap()
    }

    /// The first line that contains this.
    pub(crate) fn until(&self, text: &str) -> String {
        loop {
            let line = self.next();
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Everything to the end of the stream.
    pub(crate) fn rest(&self) -> Vec<String> {
        let mut rest = vec![];
        loop {
            match self.0.recv_timeout(PATIENCE) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("somebody still holds the stream; so far: {rest:?}"),
            }
        }
    }
}
