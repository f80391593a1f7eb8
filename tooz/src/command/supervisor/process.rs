//! The supervisor process itself: owns the child's group, outlives the command by as much as it takes.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tooz::{BootClock, Clock, Moment};

use super::brood::{Brood, Fate, Left};
use super::message::{Channel, Inbox, Order, Outbox, Report, moment};
use super::schedule::{Due, Reason, Schedule};
use super::terminal::Terminal;
use crate::command::exit::Exit;
use crate::command::failure::Failure;
use crate::command::signals::Signals;

/// Timers stand still while the machine sleeps, the boot clock does not: look at least this often.
const LOOK: Duration = Duration::from_millis(250);

/// How often to look whether a group is gone whose members are not all our children.
const SWEEP: Duration = Duration::from_millis(5);

/// How long a killed group may take to be gone; see [`Brood::extinguish`].
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// Runs the command under supervision. Standard input is the socket to the command that started us.
pub(crate) fn supervise(command: &[OsString]) -> Result<Exit, Failure> {
    let alone =
        |e: &io::Error| Failure::usage(format!("supervise is started by tooz itself, not by hand: {e}"));
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).map_err(|e| alone(&e))?;
    let mut received = super::descriptors::receive(&socket).map_err(|e| alone(&e))?.into_iter();
    let Some(stdin) = received.next() else {
        return Err(Failure::usage("supervise is started by tooz itself, not by hand"));
    };
    let tether = received.next();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::system("start the supervisor", &e))?;
    runtime
        .block_on(async {
            // Whoever signals every process there is, like a service manager, means the child: the command tells it.
            let _deaf = Signals::forwarded()?;
            begin(socket, command, stdin, tether).await
        })
        .map_err(|e| Failure::system("supervise the child", &e))?;
    Ok(Exit::Done)
}

async fn begin(
    socket: UnixStream,
    command: &[OsString],
    stdin: OwnedFd,
    tether: Option<OwnedFd>,
) -> io::Result<()> {
    let Channel { mut inbox, mut outbox } = Channel::new(socket)?;
    let Some(Order::Begin { deadline, lead_ms, group }) = inbox.next().await else { return Ok(()) };
    let Some(home) = Pid::from_raw(group) else { return Ok(()) };
    let mut schedule = Schedule::new(moment(deadline), Duration::from_millis(lead_ms));
    // Stopped on the way here, nobody may start what had to be gone by now.
    if schedule.due(BootClock.now()).is_some() {
        drop(tether);
        let reason = schedule.reason();
        outbox.send(&Report::Ended { code: None, signal: None, reason, foreground: false }).await;
        return Ok(());
    }
    Brood::adopt_orphans();
    // Before the child exists, so that its end cannot be missed.
    let mut stirs = signal(SignalKind::child())?;
    let terminal = Terminal::open();
    // In a pipeline another one may read the keyboard, and only one group can: wait until the child asks.
    let keen = rustix::termios::isatty(&stdin) && io::stdout().is_terminal();
    let brood = match start(command, stdin) {
        Ok(brood) => brood,
        Err(error) => {
            let missing = error.kind() == io::ErrorKind::NotFound;
            outbox.send(&Report::NotStarted { missing, message: error.to_string() }).await;
            return Ok(());
        }
    };
    outbox.send(&Report::Started { group: brood.group().as_raw_pid() }).await;
    let (foreground, lingering) = (false, false);
    let mut watch = Watch { brood, schedule, terminal, home, keen, foreground, lingering, outbox, end: None };
    if keen {
        watch.lend_terminal();
    }
    watch.until_gone(&mut inbox, &mut stirs).await;
    watch.report(tether).await;
    Ok(())
}

fn start(command: &[OsString], stdin: OwnedFd) -> io::Result<Brood> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let child = Command::new(program).args(arguments).stdin(Stdio::from(stdin)).process_group(0).spawn()?;
    Ok(Brood::of(Pid::from_child(&child)))
}

/// One child under watch.
struct Watch {
    brood: Brood,
    schedule: Schedule,
    terminal: Option<Terminal>,
    /// The command's own process group: the terminal's owner before and after.
    home: Pid,
    /// Whether the child wants the terminal: it has it to itself, or asked for it.
    keen: bool,
    /// Whether the child had the terminal.
    foreground: bool,
    /// Whether processes of another user have outlived the child's end and the KILL for its group.
    lingering: bool,
    outbox: Outbox,
    end: Option<rustix::process::WaitStatus>,
}

impl Watch {
    async fn until_gone(&mut self, inbox: &mut Inbox, stirs: &mut tokio::signal::unix::Signal) {
        let mut abandoned = false;
        let mut killed = None;
        loop {
            match self.brood.reap() {
                Some(Fate::Ended(status)) => self.end = Some(status),
                Some(Fate::Stopped(signal)) if self.end.is_none() => self.stopped(signal).await,
                _ => {}
            }
            let now = BootClock.now();
            if self.end.is_some() {
                let overdue = killed.is_some_and(|at| now.since(at) > GONE_WITHIN);
                match self.brood.left() {
                    Left::Nobody => return,
                    Left::Ours if overdue => return,
                    // They may go on for as long as they like, and what they rely on is held for as long.
                    Left::Foreign if killed.is_some() => self.linger().await,
                    Left::Ours | Left::Foreign => {}
                }
                self.schedule.end(Reason::ChildEnded, now);
            }
            match self.schedule.due(now) {
                Some(Due::Terminate) => {
                    self.brood.terminate();
                    continue;
                }
                Some(Due::Kill) => {
                    self.brood.kill();
                    killed = Some(now);
                    continue;
                }
                None => {}
            }
            let pause = self.pause();
            tokio::select! {
                order = inbox.next(), if !abandoned => match order {
                    Some(order) => self.obey(order),
                    None => {
                        abandoned = true;
                        self.schedule.end(Reason::Abandoned, BootClock.now());
                    }
                },
                _ = stirs.recv() => {}
                () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
            }
        }
    }

    fn pause(&self) -> Option<Duration> {
        let due = self.schedule.next().map(|at| at.since(BootClock.now()).min(LOOK));
        let sweep = if self.lingering { LOOK } else { SWEEP };
        if self.end.is_some() { Some(due.map_or(sweep, |due| due.min(sweep))) } else { due }
    }

    /// Says, once, that the child has ended and its group will not.
    async fn linger(&mut self) {
        if !std::mem::replace(&mut self.lingering, true) {
            self.outbox.send(&Report::Lingering).await;
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Begin { .. } => {}
            Order::Deadline(nanos) => self.schedule.renewed(Moment::from_nanos(nanos)),
            Order::Signal(number) => {
                if let Some(signal) = Signal::from_named_raw(number) {
                    self.brood.signal(signal);
                }
            }
            Order::Continue => {
                if self.keen {
                    self.lend_terminal();
                }
                self.brood.signal(Signal::CONT);
            }
            Order::Lost => self.schedule.end(Reason::Lost, BootClock.now()),
        }
    }

    /// Job control: a child that asks for the terminal gets it if the command has it; otherwise the command
    /// stops with its child, so that the shell sees one job.
    async fn stopped(&mut self, signal: i32) {
        let asks = signal == Signal::TTIN.as_raw() || signal == Signal::TTOU.as_raw();
        if !asks && signal != Signal::TSTP.as_raw() {
            return;
        }
        self.keen |= asks;
        if asks && (self.lend_terminal() || self.has_terminal()) {
            // Only now: a Ctrl-C or Ctrl-Z that came meanwhile must not be undone.
            self.brood.signal(Signal::CONT);
        } else if self.terminal.is_some() {
            self.return_terminal();
            self.outbox.send(&Report::Stopped).await;
        }
    }

    fn lend_terminal(&mut self) -> bool {
        let group = self.brood.group();
        let lent = self.terminal.as_ref().is_some_and(|terminal| terminal.pass(self.home, group));
        self.foreground |= lent;
        lent
    }

    fn has_terminal(&self) -> bool {
        self.terminal.as_ref().is_some_and(|terminal| terminal.belongs_to(self.brood.group()))
    }

    fn return_terminal(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.pass(self.brood.group(), self.home);
        }
    }

    /// Lets go of the lock, then says so: whoever reads the report may rely on it.
    async fn report(mut self, tether: Option<OwnedFd>) {
        self.return_terminal();
        Brood::outlast_supervisors().await;
        drop(tether);
        let ended = Report::Ended {
            code: self.end.and_then(rustix::process::WaitStatus::exit_status),
            signal: self.end.and_then(rustix::process::WaitStatus::terminating_signal),
            reason: self.schedule.reason(),
            foreground: self.foreground,
        };
        self.outbox.send(&ended).await;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[tokio::test]
    async fn a_deadline_that_passed_on_the_way_starts_no_child() {
        let folder = tempfile::tempdir().unwrap();
        let trace = folder.path().join("trace");
        let command = [OsString::from("touch"), trace.clone().into_os_string()];
        let (ours, theirs) = UnixStream::pair().unwrap();
        let Channel { mut inbox, mut outbox } = Channel::new(ours).unwrap();
        let over = BootClock.now().as_nanos();
        let group = rustix::process::getpgrp().as_raw_pid();
        outbox.send(&Order::Begin { deadline: Some(over), lead_ms: 100, group }).await;

        begin(theirs, &command, File::open("/dev/null").unwrap().into(), None).await.unwrap();

        let report = inbox.next().await;
        let ended = matches!(report, Some(Report::Ended { reason: Some(Reason::Deadline), .. }));
        assert!(ended && !trace.exists(), "{report:?}");
    }
}
