//! The controlling terminal, and which process group has it.

use std::fs::File;
use std::io;

use nix::sys::signal::{SigSet, Signal};
use rustix::process::Pid;
use rustix::termios::{tcgetpgrp, tcsetpgrp};

/// The terminal that stops, continues and interrupts this session's processes.
#[derive(Debug)]
pub(crate) struct Terminal(File);

impl Terminal {
    /// The controlling terminal; `None` where there is none (cron, systemd, CI).
    pub(crate) fn open() -> Option<Self> {
        File::open("/dev/tty").ok().map(Self)
    }

    /// Whether the group has the terminal.
    pub(crate) fn belongs_to(&self, group: Pid) -> bool {
        tcgetpgrp(&self.0).is_ok_and(|foreground| foreground == group)
    }

    /// Passes the terminal from one group to another; leaves it alone if the first does not have it.
    pub(crate) fn pass(&self, from: Pid, to: Pid) -> bool {
        self.belongs_to(from) && self.give(to).is_ok()
    }

    /// From the background this raises SIGTTOU unless the thread blocks it; blocked only meanwhile,
    /// because a child would inherit the mask.
    fn give(&self, group: Pid) -> io::Result<()> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTTOU);
        mask.thread_block()?;
        let given = tcsetpgrp(&self.0, group);
        mask.thread_unblock()?;
        Ok(given?)
    }
}
