//! Every future that the library offers is dropped at each of its awaits in turn, and acquires at random ones among
//! others that do the same: nothing is left behind.
//!
//! The driver in memory is played on virtual time, behind a network that is slow in every second pass and loses, doubles
//! and delays in the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder as RuntimeBuilder, Handle};
use tokio::time::{Instant, sleep};
use tooz_core::{Builder, Coordinator, Engine, TokioClock};

use super::left::Looker;
use super::{Kind, Line, Order, Outcome, Run};
use crate::drops::{CALLS, Dropped, Site, drop_acquires, open_files, remains, sweep, threads};
use crate::faulty::{Dice, Faulty, Late, Odds, SLOWEST};

const NAME: &str = "contended";
/// How soon a name is to be free, and nothing to be left.
const SOON: Duration = Duration::from_secs(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// The longest between the last poll of a call and its drop.
const PAUSE: Duration = Duration::from_millis(3);
/// How long a process may take to be as it was, after its last coordinator.
const ENDED: Duration = Duration::from_secs(10);
/// The time to live in memory: what a network that loses answers leaves, is gone by then.
const TTL: Duration = Duration::from_secs(4);
/// In so few passes a call may never have had to wait.
const FEW: u64 = 5;
/// Acquires that are dropped at the same time before the next look.
const BATCH: u64 = 64;
/// More than so many broken promises need not be counted.
const ENOUGH: u64 = 20;

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("dropped", order)?;
    let mut runtime = RuntimeBuilder::new_current_thread();
    runtime.enable_all().thread_keep_alive(LOOK).start_paused(order.kind == Kind::Memory);
    let mut line = Line::new("dropped", &order.kind.to_string(), order.volume);
    runtime.build()?.block_on(drop_many(&run, order, &mut line))?;
    Ok(run.end(line))
}

async fn drop_many(run: &Run, order: &Order, line: &mut Line) -> Outcome<()> {
    let mut looker = Looker::at(&run.store).await?;
    let weather = Weather::over(order, run.store.url());
    // What a client library opens once for the whole process is no dropped call's.
    weather.connect(false)("first").connect().await?.close().await?;
    looker.all().await?;
    let before = Process::settled().await;

    let began = order.volume / 4;
    let mut dropped = contended(&weather, began, order.seed, line).await?;
    let mut sweeps = Sweeps::default();
    let mut pass = 0;
    while (pass == 0 || sweeps.dropped() < order.volume - began) && run.has_time() && line.violations < ENOUGH
    {
        sweeps.pass(&weather, &mut looker, pass, line).await?;
        pass += 1;
    }
    let left = looker.all().await?;
    line.violate(left.iter().map(|left| format!("left in the end: {left}")));
    line.violate(before.exceeded().await);

    sweeps.tell(order.kind, pass, line);
    dropped += sweeps.dropped();
    (line.done, line.hits, line.least_hits) = (began + sweeps.dropped(), dropped, order.volume * 3 / 4);
    line.fact("passes", pass);
    Ok(())
}

/// Acquires of one lock dropped at random awaits among each other; says how many were.
async fn contended(weather: &Weather, count: u64, seed: u64, line: &mut Line) -> Outcome<u64> {
    let connect = weather.connect(false);
    let mut coords: Vec<Coordinator> = Vec::new();
    for member in ["a", "c", "d", "b"] {
        coords.push(connect(member).connect().await?);
    }
    let observer = coords.pop().ok_or("no observer")?;
    let (mut begun, mut dropped) = (0, Dropped::default());
    while begun < count && line.violations < ENOUGH {
        // Not more than can be taken back within a second.
        let batch = BATCH.min(count - begun);
        dropped += drop_acquires(&coords, NAME, usize::try_from(batch)?, seed.wrapping_add(begun)).await;
        let left = remains(&observer, NAME, weather.soon(false)).await?;
        line.violate(left.iter().map(|claim| format!("left behind: {claim}")));
        begun += batch;
    }
    coords.push(observer);
    for coord in coords {
        coord.close().await?;
    }
    line.fact("contended acquires", format!("{} cut, {} in the queue", dropped.cut, dropped.parked));
    line.violate((dropped.failed > 0).then(|| format!("{} acquires failed", dropped.failed)));
    Ok(u64::try_from(dropped.cut + dropped.parked)?)
}

/// What lies between members and the store.
struct Weather {
    kind: Kind,
    url: String,
    slack: Duration,
    clock: TokioClock,
    chance: Arc<AtomicU64>,
    late: Arc<Mutex<Vec<Arc<Late>>>>,
}

impl Weather {
    fn over(order: &Order, url: String) -> Self {
        let chance = Arc::new(AtomicU64::new(Dice::new(order.seed).roll()));
        let (kind, slack) = (order.kind, order.slack);
        Self { kind, url, slack, clock: TokioClock::new(), chance, late: Arc::default() }
    }

    /// How to connect. `b`, who looks, has a clear line.
    fn connect(&self, rough: bool) -> impl Fn(&str) -> Builder + 'static {
        let (kind, url, clock) = (self.kind, self.url.clone(), self.clock);
        let (chance, late) = (Arc::clone(&self.chance), Arc::clone(&self.late));
        move |member| {
            let builder = tooz::registry().builder(&url).member(member);
            if kind != Kind::Memory {
                return builder;
            }
            let seed = Dice::new(chance.fetch_add(1, Ordering::Relaxed)).roll();
            let builder = builder.engine(Engine::Current).clock(clock).ttl(TTL).seed(seed);
            if member == "b" {
                return builder;
            }
            let late = Arc::clone(&late);
            let odds = Odds { slow: 100, ..if rough { Odds::default() } else { Odds::NONE } };
            builder.wrap(Arc::new(move |inner| {
                let faulty = Faulty::new(inner, seed, odds);
                late.lock().unwrap_or_else(PoisonError::into_inner).push(faulty.late());
                Arc::new(faulty)
            }))
        }
    }

    /// How long anything may stay: a second, and the time that the network takes for a step that is under way and for
    /// taking it back; where answers are lost, until a time to live is over.
    fn soon(&self, rough: bool) -> Duration {
        match (self.kind, rough) {
            (Kind::Memory, true) => TTL * 3,
            (Kind::Memory, false) => SOON + SLOWEST * 4,
            _ => SOON + self.slack,
        }
    }

    /// What the network held back arrives.
    async fn land(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        for late in late {
            late.land().await;
        }
    }
}

/// What was dropped, call by call.
#[derive(Default)]
struct Sweeps {
    calls: BTreeMap<&'static str, usize>,
    cut: usize,
    parked: usize,
    longest: Duration,
}

impl Sweeps {
    fn dropped(&self) -> u64 {
        u64::try_from(self.cut + self.parked).unwrap_or(u64::MAX)
    }

    /// Every call once, on two coordinators of its own.
    async fn pass(
        &mut self,
        weather: &Weather,
        looker: &mut Looker<'_>,
        pass: u64,
        line: &mut Line,
    ) -> Outcome<()> {
        let rough = !pass.is_multiple_of(2) && weather.kind == Kind::Memory;
        let soon = weather.soon(rough);
        let mut site = Site::open(weather.connect(rough), soon, rough).await?;
        let seed = weather.chance.load(Ordering::Relaxed);
        site = match pass % 3 {
            0 => site,
            // Answers are there before the drop, are on their way, or are not.
            _ if weather.kind == Kind::Memory => site.pausing(SLOWEST * 2, seed),
            1 => site.pausing(PAUSE, seed),
            _ => site.going_on().await?,
        };
        let before = looker.of_calls().await?;
        for call in CALLS.iter().copied().flatten() {
            let dropped = self.calls.entry(call.name).or_default();
            match sweep(&site, call).await {
                Ok(swept) => {
                    *dropped += swept.cut + swept.parked;
                    self.cut += swept.cut;
                    self.parked += swept.parked;
                    if !rough {
                        self.longest = self.longest.max(swept.longest);
                    }
                }
                Err(error) => line.violate([error]),
            }
            let left = left_after(looker, soon, |looker| Box::pin(looker.of_calls()), &before).await?;
            line.violate(left.iter().map(|left| format!("left by \"{}\": {left}", call.name)));
        }
        site.close().await?;
        weather.land().await;
        let left = left_after(looker, soon, |looker| Box::pin(looker.all()), &BTreeSet::new()).await?;
        line.violate(left.iter().map(|left| format!("left after a close: {left}")));
        Ok(())
    }

    fn tell(&self, kind: Kind, passes: u64, line: &mut Line) {
        line.fact("calls", self.calls.len());
        line.fact("dropped at an await", self.cut);
        line.fact("dropped while waiting", self.parked);
        line.fact("free after at most", format!("{:.0?}", self.longest));
        // A directory is asked in place, so that some calls never wait there; and what another thread looks for may be
        // there at the first poll, but not time after time.
        let never = self.calls.iter().filter(|(_, dropped)| **dropped == 0).map(|(name, _)| *name);
        let never: Vec<&str> = never.collect();
        if kind == Kind::File || passes < FEW {
            line.fact("never wait", never.len());
        } else {
            line.violate(never.iter().map(|name| format!("not vacuous: \"{name}\" was never dropped")));
        }
    }
}

type Look<'a> = std::pin::Pin<Box<dyn Future<Output = Outcome<BTreeSet<String>>> + 'a>>;

/// What is there beyond `before`, once that had a while to go.
async fn left_after<'s>(
    looker: &mut Looker<'s>,
    soon: Duration,
    look: impl for<'a> Fn(&'a mut Looker<'s>) -> Look<'a>,
    before: &BTreeSet<String>,
) -> Outcome<Vec<String>> {
    let began = Instant::now();
    loop {
        let more: Vec<String> = look(looker).await?.difference(before).cloned().collect();
        if more.is_empty() || began.elapsed() > soon {
            return Ok(more);
        }
        sleep(LOOK).await;
    }
}

/// What this process has.
struct Process {
    files: usize,
    threads: usize,
    tasks: usize,
}

impl Process {
    fn now() -> Self {
        Self { files: open_files(), threads: threads(), tasks: Handle::current().metrics().num_alive_tasks() }
    }

    /// What it has once that does not get less any more.
    async fn settled() -> Self {
        let (mut least, mut since) = (Self::now(), Instant::now());
        while since.elapsed() < SOON {
            sleep(LOOK).await;
            let now = Self::now();
            if now.files < least.files || now.threads < least.threads || now.tasks < least.tasks {
                (least, since) = (now, Instant::now());
            }
        }
        least
    }

    /// What it has more than that, once that had a while to go.
    async fn exceeded(&self) -> Vec<String> {
        let began = Instant::now();
        loop {
            let now = Self::now();
            let more = [
                ("open files", now.files, self.files),
                ("threads", now.threads, self.threads),
                ("tasks", now.tasks, self.tasks),
            ];
            let more: Vec<String> = more
                .iter()
                .filter(|(_, now, before)| now > before)
                .map(|(what, now, before)| format!("{} {what} more than before", now - before))
                .collect();
            if more.is_empty() || began.elapsed() > ENDED {
                return more;
            }
            sleep(LOOK).await;
        }
    }
}
