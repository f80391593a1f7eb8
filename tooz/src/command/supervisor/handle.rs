//! The command's side of its supervisor.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, getpgrp};
use serde_json::json;
use tokio::time::Instant;
use tooz::{Cause, Moment};

use super::brood::{Brood, Left};
use super::message::{Channel, Inbox, Order, Outbox, Report, nanos};
use super::schedule::{Reason, SHORT_GRACE};
use super::terminal::Terminal;
use crate::command::exit::Exit;
use crate::command::failure::Failure;
use crate::command::job;
use crate::command::output::Output;
use crate::command::signals::{Signals, go_on};

/// How long the supervisor may take to listen, or to act on a lost lock, before it counts as dead.
const STUCK: Duration = Duration::from_secs(1);

const LINGERING: &str = "the child has ended, but what it started as another user has not: waiting for that";

/// What is held while the child runs.
pub(crate) trait Charge {
    /// Until when it is certainly held; `None`: for as long as this process lives.
    fn deadline(&self) -> Option<Moment>;
    /// Ends when it is lost.
    async fn lost(&self) -> Cause;
    /// A descriptor that keeps it held for as long as it is open anywhere.
    fn tether(&self) -> Option<OwnedFd>;
}

/// How a watch over a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As the child did.
    Ended(Exit),
    /// By a lost lock, and the child's group with it.
    Terminated,
    /// By a lost lock; in this process group goes on who hears no signal of ours.
    Beyond(Pid),
}

/// A running supervisor, seen from the command.
#[derive(Debug)]
pub(crate) struct Supervisor {
    process: Child,
    inbox: Inbox,
    outbox: Outbox,
    brood: Option<Brood>,
    program: String,
}

impl Supervisor {
    /// Starts the child under a supervisor. `lead` is how long before a deadline the child is told to end.
    pub(crate) async fn start(
        command: &[OsString],
        environment: &[(&str, String)],
        charge: &impl Charge,
        deadline: Option<Moment>,
        lead: Duration,
    ) -> Result<Self, Failure> {
        Self::spawn(command, environment, charge, deadline, lead).await.map_err(|e| match e.kind() {
            // By itself the command may just fit.
            io::ErrorKind::ArgumentListTooLong => not_started(&program(command), false, &e.to_string()),
            _ => Failure::system("start the supervisor of the child", &e),
        })
    }

    async fn spawn(
        command: &[OsString],
        environment: &[(&str, String)],
        charge: &impl Charge,
        deadline: Option<Moment>,
        lead: Duration,
    ) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let process = Command::new(own_program())
            .arg0("tooz")
            .args([super::WORD, "--"])
            .args(command)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            // Out of reach of signals to the command's group, kill -9 included.
            .process_group(0)
            .spawn()?;
        let stdin = io::stdin();
        let tether = charge.tether();
        let mut passed = vec![stdin.as_fd()];
        passed.extend(tether.as_ref().map(AsFd::as_fd));
        super::descriptors::send(&ours, &passed)?;
        let Channel { inbox, mut outbox } = Channel::new(ours)?;
        let lead_ms = u64::try_from(lead.as_millis()).unwrap_or(u64::MAX);
        let group = getpgrp().as_raw_pid();
        outbox.send(&Order::Begin { deadline: nanos(deadline), lead_ms, group }).await;
        // Should the supervisor die, its orphans become ours.
        Brood::adopt_orphans();
        Ok(Self { process, inbox, outbox, brood: None, program: program(command) })
    }

    /// Stays until the child and its group are gone, renewing the deadline and passing signals on.
    pub(crate) async fn attend(
        mut self,
        charge: &impl Charge,
        signals: &mut Signals,
        mut known: Option<Moment>,
        tick: Duration,
        out: Output,
    ) -> Result<Outcome, Failure> {
        let mut lost = false;
        let mut rescue = None;
        // One timer for all passes: signals may come faster than it ends.
        let mut look = pin!(tokio::time::sleep(tick));
        loop {
            tokio::select! {
                report = self.inbox.next() => match report {
                    Some(Report::Started { group }) => self.brood = Pid::from_raw(group).map(Brood::of),
                    Some(Report::Stopped) => self.stop_too(signals).await,
                    Some(Report::Lingering) => out.note(LINGERING, &json!({ "note": "lingering" })),
                    Some(Report::NotStarted { missing, message }) => {
                        self.finish().await;
                        return Err(not_started(&self.program, missing, &message));
                    }
                    Some(Report::Ended { code, signal, reason, foreground }) => {
                        self.finish().await;
                        return Ok(verdict((code, signal), reason, foreground, signals));
                    }
                    None => return match (lost, self.avenge().await) {
                        (true, None) => Ok(Outcome::Terminated),
                        (true, Some(group)) => Ok(Outcome::Beyond(group)),
                        (false, left) => Err(self.unsupervised(left)),
                    },
                },
                number = signals.next() => self.pass_on(number).await,
                cause = charge.lost(), if !lost => {
                    tracing::info!(%cause, "the lock is lost: ending the child");
                    lost = true;
                    rescue = Some((Instant::now() + SHORT_GRACE, Rescue::KillGroup));
                    self.tell(Order::Lost).await;
                }
                // Only in case the supervisor is stopped: it does the same by itself.
                step = due(rescue), if rescue.is_some() => match self.foreign() {
                    // To end the supervisor would free what is still in use.
                    Some(group) if step == Rescue::KillSupervisor => return Ok(Outcome::Beyond(group)),
                    _ => rescue = self.rescue(step),
                },
                () = &mut look, if known.is_some() => {
                    look.as_mut().reset(Instant::now() + tick);
                    // A claim that is lost has none, which does not mean for ever.
                    if let Some(deadline) = charge.deadline().filter(|deadline| known < Some(*deadline)) {
                        known = Some(deadline);
                        self.tell(Order::Deadline(deadline.as_nanos())).await;
                    }
                }
            }
        }
    }

    async fn tell(&mut self, order: Order) {
        if tokio::time::timeout(STUCK, self.outbox.send(&order)).await.is_err() {
            // Whoever does not listen cannot guard either; its end is dealt with where it is noticed.
            let _ = self.process.kill();
        }
    }

    async fn pass_on(&mut self, number: i32) {
        let order = if number == go_on().as_raw_value() { Order::Continue } else { Order::Signal(number) };
        self.tell(order).await;
    }

    fn rescue(&mut self, step: Rescue) -> Option<(Instant, Rescue)> {
        match step {
            Rescue::KillGroup => {
                if let Some(brood) = self.brood {
                    brood.kill();
                }
                Some((Instant::now() + STUCK, Rescue::KillSupervisor))
            }
            Rescue::KillSupervisor => {
                // Fails when it is dead, which is as good.
                let _ = self.process.kill();
                None
            }
        }
    }

    /// The child's group, if only processes of another user are left in it.
    fn foreign(&self) -> Option<Pid> {
        self.brood.filter(|brood| brood.left() == Left::Foreign).map(Brood::group)
    }

    /// Stops as the child did, and goes on with it.
    async fn stop_too(&mut self, signals: &mut Signals) {
        if job::stop_own_group() {
            signals.pass_over(Signal::TSTP);
        }
        // Continued, or never stopped because no shell would continue us.
        self.tell(Order::Continue).await;
    }

    /// Waits for the supervisor's own end.
    async fn finish(&mut self) {
        while self.inbox.next::<Report>().await.is_some() {}
        let _ = self.process.wait();
    }

    /// The supervisor is dead: ends the child itself. Tells which group goes on all the same.
    async fn avenge(&mut self) -> Option<Pid> {
        let left = match self.brood {
            Some(brood) => {
                let ended = brood.extinguish().await;
                Brood::outlast_supervisors().await;
                if let Some(terminal) = Terminal::open() {
                    terminal.pass(brood.group(), getpgrp());
                }
                (!ended).then(|| brood.group())
            }
            // It may have started a child that it did not live to name.
            None => Brood::extinguish_orphans().await,
        };
        let _ = self.process.wait();
        left
    }

    fn unsupervised(&self, left: Option<Pid>) -> Failure {
        let what = left.map_or_else(|| "the child was killed too".to_owned(), beyond);
        let text = format!("the supervisor of {:?} was killed: {what}", self.program);
        Failure::new(Exit::Unsupervised, "unsupervised", text)
    }
}

/// What is said of a group that hears no signal of ours.
pub(crate) fn beyond(group: Pid) -> String {
    format!("the child could not be ended, as it runs as another user; end it as that user: kill -- -{group}")
}

/// What is done about a lost lock whose supervisor does not act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rescue {
    KillGroup,
    KillSupervisor,
}

async fn due(rescue: Option<(Instant, Rescue)>) -> Rescue {
    match rescue {
        Some((at, step)) => {
            tokio::time::sleep_until(at).await;
            step
        }
        None => std::future::pending().await,
    }
}

fn program(command: &[OsString]) -> String {
    command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default()
}

/// This very program, even if its file was replaced meanwhile.
fn own_program() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    match std::env::current_exe() {
        Ok(path) if path.exists() || !running.exists() => path,
        _ => running,
    }
}

fn not_started(program: &str, missing: bool, message: &str) -> Failure {
    let (exit, kind) =
        if missing { (Exit::NoProgram, "no_program") } else { (Exit::NotExecutable, "not_executable") };
    Failure::new(exit, kind, format!("cannot start {program:?}: {message}"))
}

fn verdict(
    end: (Option<i32>, Option<i32>),
    reason: Option<Reason>,
    foreground: bool,
    signals: &mut Signals,
) -> Outcome {
    match (reason, end) {
        (Some(Reason::Deadline | Reason::Lost), _) => Outcome::Terminated,
        (_, (Some(code), _)) => Outcome::Ended(Exit::Child(u8::try_from(code).unwrap_or(u8::MAX))),
        (_, (None, Some(signal))) => {
            // A terminal interrupts a whole job; we took the child out of it, so the others hear it from us.
            if foreground && signal == Signal::INT.as_raw() && job::interrupt_own_group() {
                signals.pass_over(Signal::INT);
            }
            Outcome::Ended(Exit::signal(signal))
        }
        (_, (None, None)) => Outcome::Ended(Exit::Failed),
    }
}
