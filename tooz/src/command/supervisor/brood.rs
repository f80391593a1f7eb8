//! The child and everything in its process group.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, test_kill_process_group, wait,
};

use super::WORD;
use crate::command::job;

/// How long to wait for a killed group to be gone before leaving it to the kernel: a process in an
/// uninterruptible system call dies when that returns, and never runs a line of its own again.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// A process group, known by the child that leads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brood(Pid);

/// What became of the child.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Ended(WaitStatus),
    Stopped(i32),
}

/// Who is left of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    Nobody,
    /// Somebody who hears our signals.
    Ours,
    /// Only processes of another user (sudo): nothing that we send reaches them.
    Foreign,
}

impl Brood {
    pub(super) fn of(leader: Pid) -> Self {
        Self(leader)
    }

    pub(super) fn group(self) -> Pid {
        self.0
    }

    /// Makes processes that lose their parent ours, so that they can be waited for.
    pub(super) fn adopt_orphans() {
        #[cfg(target_os = "linux")]
        // Without it they go to init, which reaps them as well.
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    }

    /// Kills every child of this process, its own or adopted, and waits until none is left. Tells who goes on
    /// all the same.
    pub(super) async fn extinguish_orphans() -> Option<Pid> {
        let begun = tokio::time::Instant::now();
        while wait(WaitOptions::NOHANG).is_ok() {
            if begun.elapsed() > GONE_WITHIN {
                return job::children().into_iter().find(|child| Self(*child).left() == Left::Foreign);
            }
            for child in job::children() {
                // An error means that it is gone, or not yet the leader of its group.
                if kill_process_group(child, Signal::KILL).is_err() {
                    let _ = kill_process(child, Signal::KILL);
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        None
    }

    /// Waits until no supervisor is among the children of this process, where `/proc` tells: a `tooz lock` within
    /// that was killed leaves us its supervisor, which only now learns of it and ends a child in a group of its own.
    pub(super) async fn outlast_supervisors() {
        let begun = tokio::time::Instant::now();
        while wait(WaitOptions::NOHANG).is_ok() && begun.elapsed() < GONE_WITHIN {
            if !job::children().into_iter().any(is_supervisor) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Sends a signal to everyone in the group.
    pub(super) fn signal(self, signal: Signal) {
        // An error means that nobody is left who could hear it; who that is, `left` tells.
        let _ = kill_process_group(self.0, signal);
    }

    /// Tells everyone to end; who is stopped is woken to hear it.
    pub(super) fn terminate(self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    pub(super) fn kill(self) {
        self.signal(Signal::KILL);
    }

    /// Who is left, as far as they have been reaped.
    pub(super) fn left(self) -> Left {
        match test_kill_process_group(self.0) {
            Ok(()) => Left::Ours,
            Err(Errno::SRCH) => Left::Nobody,
            Err(_) => Left::Foreign,
        }
    }

    /// Reaps whoever ended and reports what became of the child.
    pub(super) fn reap(self) -> Option<Fate> {
        let mut fate = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
            if pid != self.0 {
                continue;
            }
            fate = match status.stopping_signal() {
                Some(signal) => Some(Fate::Stopped(signal)),
                None if status.exited() || status.signaled() => return Some(Fate::Ended(status)),
                None => fate,
            };
        }
        fate
    }

    /// Kills everyone and waits until they are gone. Tells whether nobody is left who may go on.
    pub(super) async fn extinguish(self) -> bool {
        let begun = tokio::time::Instant::now();
        loop {
            self.kill();
            self.reap();
            let left = self.left();
            if left == Left::Nobody || begun.elapsed() > GONE_WITHIN {
                return left != Left::Foreign;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn is_supervisor(process: Pid) -> bool {
    let words = std::fs::read(format!("/proc/{}/cmdline", process.as_raw_pid())).unwrap_or_default();
    let mut words = words.split(|byte| *byte == 0).skip(1);
    words.next() == Some(WORD.as_bytes()) && words.next() == Some(b"--")
}
