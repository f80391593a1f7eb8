//! `tooz lock`, its command killed, stopped or cut off: the child's group, which ignores TERM, is dead before the next
//! holder's child starts.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::child::{Visit, visits};
use super::{Kind, Line, Order, Outcome, Run};
use crate::faulty::Dice;
use crate::figures::Samples;
use crate::proxy::{Proxy, Way};
use crate::servers::process::{find, spawn};

/// Locks whose commands are disturbed side by side.
const LOCKS: usize = 6;
/// How long the next child may take to start, and a command to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// How long a stopped holder of a directory's lock is given to lose it, which it must not.
const KEPT: Duration = Duration::from_millis(300);

/// What is done to a command that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
    CutOff,
}

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("commands", order)?;
    let program = program()?;
    let share = usize::try_from(order.volume)?.div_ceil(LOCKS);
    let mut dice = Dice::new(order.seed);
    let outcomes = std::thread::scope(|scope| {
        let (run, program) = (&run, &program);
        let threads: Vec<_> = (0..LOCKS)
            .map(|lock| {
                let seed = dice.roll();
                scope.spawn(move || {
                    let mut queue = Queue::new(run, order, program, format!("lock-{lock}"))?;
                    queue.disturb(share, seed)
                })
            })
            .collect();
        threads.into_iter().map(super::joined).collect::<Outcome<Vec<_>>>()
    })?;

    let counts = |what: Fault| outcomes.iter().flatten().filter(|fault| **fault == what).count();
    let done = u64::try_from(outcomes.iter().flatten().count())?;
    let mut line = Line {
        done,
        hits: done, // each fault is done to a command whose child is seen to run
        least_hits: order.volume,
        ..Line::new("commands", &order.kind.to_string(), order.volume)
    };
    for what in [Fault::Killed, Fault::Stopped, Fault::CutOff] {
        line.fact(&format!("{what:?}").to_lowercase(), counts(what));
    }
    let mut quiet = Samples::default();
    for lock in 0..LOCKS {
        let visits = visits(run.folder(), &format!("lock-{lock}"))?;
        for Visit { from, left, quiet: since, .. } in &visits {
            line.violate(
                left.iter().map(|id| format!("{id:?} was alive when the next child started at {from}")),
            );
            if let Some(since) = since {
                quiet.push(Duration::from_nanos(from.saturating_sub(*since)));
                line.violate((since > from).then(|| format!("a sign of life at {since}, after {from}")));
            }
        }
    }
    line.fact("children started", quiet.len() + LOCKS);
    line.fact(
        "from the last sign of life to the next child",
        format!("at least {:.1?}", quiet.quantile(0.0)),
    );
    Ok(run.end(line))
}

/// The command, which stands beside this program or where `TOOZ_COMMAND` says.
fn program() -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os("TOOZ_COMMAND") {
        return Ok(path.into());
    }
    let beside = std::env::current_exe()?.with_file_name("tooz");
    match beside.exists() {
        true => Ok(beside),
        false => Err("no command `tooz`: cargo build -p tooz --features cli,redis,etcd,zookeeper".into()),
    }
}

/// A command under way, behind a network of its own where there is a server. Killed when dropped.
struct Running {
    child: Child,
    proxy: Option<Proxy>,
}

impl Running {
    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = id.map(|id| kill_process(id, signal)); // it may have ended already
    }

    /// Waits until it has ended by itself.
    fn end(mut self) -> Outcome<()> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        Err("a command that has lost its lock did not end".into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Commands for one lock: one holds it, the others wait.
struct Queue<'run> {
    run: &'run Run,
    order: &'run Order,
    program: &'run Path,
    name: String,
    started: usize,
    running: BTreeMap<String, Running>,
}

impl<'run> Queue<'run> {
    fn new(run: &'run Run, order: &'run Order, program: &'run Path, name: String) -> Outcome<Self> {
        let mut queue = Self { run, order, program, name, started: 0, running: BTreeMap::new() };
        until("the first child", || {
            queue.refill()?;
            Ok(queue.visits()?.len() == 1)
        })?;
        Ok(queue)
    }

    fn visits(&self) -> Outcome<Vec<Visit>> {
        visits(self.run.folder(), &self.name)
    }

    fn start(&mut self) -> Outcome<()> {
        let member = format!("{}-{}", self.name, self.started);
        self.started += 1;
        let running = start(self.run, self.order, self.program, &self.name, &member)?;
        self.running.insert(member, running);
        Ok(())
    }

    fn disturb(&mut self, count: usize, seed: u64) -> Outcome<Vec<Fault>> {
        let faults: &[Fault] = match self.order.kind {
            Kind::File => &[Fault::Killed, Fault::Stopped],
            _ => &[Fault::Killed, Fault::Stopped, Fault::CutOff],
        };
        let mut dice = Dice::new(seed);
        let mut done = Vec::new();
        for fault in faults.iter().cycle().take(count) {
            if !self.run.has_time() {
                break;
            }
            std::thread::sleep(Duration::from_millis(dice.roll() % 200));
            self.once(*fault)?;
            done.push(*fault);
        }
        Ok(done)
    }

    /// Sees to it that somebody waits: a command that finds no way to a busy store ends.
    fn refill(&mut self) -> Outcome<()> {
        const WAITING: usize = 2;
        self.running.retain(|_, running| matches!(running.child.try_wait(), Ok(None)));
        while self.running.len() < WAITING {
            self.start()?;
        }
        Ok(())
    }

    /// One fault, and the next holder.
    fn once(&mut self, fault: Fault) -> Outcome<()> {
        let before = self.visits()?;
        let held = before.last().filter(|visit| visit.group.iter().all(|id| id.is_alive()));
        let held = held.and_then(|visit| self.running.remove(&visit.member));
        let held = held.ok_or_else(|| format!("no child runs under {}", self.name))?;
        self.refill()?;
        let (run, name) = (self.run, self.name.clone());
        let came = || Ok(visits(run.folder(), &name)?.len() > before.len());
        let what = format!("{fault:?}").to_lowercase();
        run.log.during(&what, Some(&name), || {
            match (fault, &held.proxy) {
                (Fault::Killed, _) => held.signal(Signal::KILL),
                (Fault::Stopped, _) => held.signal(Signal::STOP),
                (Fault::CutOff, Some(proxy)) => proxy.cut(Way::Both),
                (Fault::CutOff, None) => {}
            }
            if fault == Fault::Stopped && self.order.kind == Kind::File {
                std::thread::sleep(KEPT);
                if came()? {
                    return Err("a stopped command lost a lock that the kernel keeps".into());
                }
                held.signal(Signal::KILL);
            }
            until("the next child", || {
                self.refill()?;
                came()
            })
        })??;
        if let Some(proxy) = &held.proxy {
            proxy.join();
        }
        held.signal(Signal::CONT);
        held.end()
    }
}

fn start(run: &Run, order: &Order, program: &Path, name: &str, member: &str) -> Outcome<Running> {
    let behind = run.store.behind();
    let (proxy, url) = behind.map_or_else(|| (None, run.store.url()), |(proxy, url)| (Some(proxy), url));
    let said = File::create(run.folder().join(format!("said-{member}")))?;
    let mut command = Command::new(find("setpriv", "util-linux"));
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(["lock", name, "--url", &url]);
    command.args(["--member", member, "--ttl", &format!("{}ms", order.ttl().as_millis())]);
    command.args(["--", "sh", "-c", "trap '' TERM; exec \"$@\"", "sh"]).arg(std::env::current_exe()?);
    command.args(["child", "--name", name, "--folder"]).arg(run.folder());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    Ok(Running { child: spawn(command)?, proxy })
}

fn until(what: &str, mut reached: impl FnMut() -> Outcome<bool>) -> Outcome<()> {
    let start = Instant::now();
    while !reached()? {
        if start.elapsed() > PATIENCE {
            return Err(format!("not within {PATIENCE:?}: {what}").into());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
