//! Clients of one memory store under a virtual clock, with faults from a seed: the same seed, the same run.
//!
//! Requests and answers are lost, doubled, late and slow, looks show the past, cables are cut both ways or one way, whole
//! clients stop and wake with a guard in their hands, the store restarts with its data and, in one seed of five, once
//! without. Beside the locks there is a topic that all write to and read, and a group that all are in.

mod crowd;
mod edge;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tooz_core::memory::{Data, Store, driver};
use tooz_core::{Clock, Coordinator, Engine, Moment, Registry, Result, TokioClock};

pub use self::edge::{Edge, edge};
use crate::checkers::Violation;
use crate::faulty::{Cable, Cut, Dice, Faulty, Late, Odds};
use crate::history::{Op, Outcome, Record};

/// How large a simulation is and how its clients' clocks run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Clients at work at the same time.
    pub clients: usize,
    /// Calls each of them makes.
    pub operations: usize,
    /// By how much clocks run fast and slow in turn, in thousandths: the promise holds up to 9.
    pub drift: u64,
}

/// What came of a simulation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Every call, in virtual nanoseconds; tokens count from the store's first.
    pub records: Vec<Record>,
    /// What stood in the store at the end.
    pub left: Vec<String>,
    /// How often a client was cut off while it held something.
    pub cuts: usize,
    /// How often a guard was found lost.
    pub losses: usize,
    /// How often the register refused a write that came too late.
    pub refused: usize,
    /// When the store lost its data, if it did: two may hold until the deadline of the older one.
    pub forgot_at: Option<u64>,
    /// Promises to the group and of life after the faults that were not kept.
    pub broken: Vec<Violation>,
    /// How many messages were read.
    pub read: usize,
    /// When each client was in trouble of a kind that may cost its session: who, from, to.
    troubles: Vec<(usize, u64, u64)>,
}

const TTL: Duration = Duration::from_secs(3);

/// A bad network, in which everything goes wrong that [`Odds`] knows.
const ODDS: Odds = Odds {
    refused: 6,
    lost_request: 7,
    lost_reply: 8,
    twice: 6,
    late: 7,
    early: 20,
    slow: 15,
    yields: 0,
    stale: 10,
    in_a_row: 2,
};

/// A clock that runs so many thousandths faster than true time.
#[derive(Clone, Debug)]
struct Drifting(TokioClock, i64);

impl Clock for Drifting {
    fn now(&self) -> Moment {
        let nanos = i128::from(self.0.now().as_nanos());
        Moment::from_nanos(u64::try_from(nanos + nanos * i128::from(self.1) / 1000).unwrap_or(0))
    }
}

struct World {
    store: Store,
    truth: TokioClock,
    story: Mutex<Story>,
    late: Mutex<Vec<Arc<Late>>>,
    /// Who was seen to leave the group, and when.
    leaves: Mutex<Vec<(String, u64)>>,
    /// Each client's.
    cables: Vec<Arc<Cable>>,
    /// Whether the store may lose its data once.
    forgetful: bool,
    /// The latest moment on record.
    latest: Mutex<u64>,
    /// What the fenced resource of each lock has accepted: the largest token, and how many writes.
    register: Mutex<[(u64, u64); 2]>,
}

/// Plays one seed.
///
/// # Errors
/// If a runtime cannot be built or the store cannot be opened or closed.
pub fn simulate(seed: u64, scale: Scale) -> std::result::Result<Story, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(play(seed, scale))?)
}

async fn play(seed: u64, scale: Scale) -> Result<Story> {
    let store = Store::named(&crate::unique("simulation"));
    let truth = TokioClock::new();
    let world = Arc::new(World {
        store,
        truth,
        story: Mutex::default(),
        late: Mutex::default(),
        leaves: Mutex::default(),
        cables: (0..scale.clients).map(|_| Arc::default()).collect(),
        forgetful: seed % 5 == 4,
        latest: Mutex::default(),
        register: Mutex::default(),
    });
    // The first to open gives the store its clock, which is the true one.
    let keeper = world.connect(seed, usize::MAX, 0, false).await?;
    let first = keeper.lock("first").acquire().await?;
    let base = first.fencing_token().get();
    first.release().await?;
    let mut clients = Vec::new();
    for nth in 0..scale.clients {
        let drift = i64::try_from(scale.drift).unwrap_or(0) * if nth % 2 == 0 { -1 } else { 1 };
        clients.push(world.connect(seed, nth, drift, true).await?);
    }
    keeper.group(crowd::GROUP).create().await?;
    let watcher = crowd::watch(&keeper).await?;
    let mut readers = Vec::new();
    for (nth, coord) in clients.iter().enumerate() {
        readers.push(world.member(coord, nth).await);
    }
    let all = join_all(
        clients.iter().enumerate().map(|(nth, coord)| world.work(coord, seed, nth, scale.operations)),
    );
    let readers = world.beside(all, readers, watcher).await;
    world.heal();
    world.settle(&keeper, readers).await;
    for coord in clients.iter().chain([&keeper]) {
        // Its answer may be lost; what it left is looked for below.
        let _ = coord.close().await;
    }
    let late = locked(&world.late).clone();
    for late in late {
        late.land().await;
    }
    // Whatever could not be told ends with its time to live.
    tokio::time::sleep(TTL * 2).await;
    let mut story = std::mem::take(&mut *locked(&world.story));
    world.judge_leaves(&mut story);
    story.left = world.store.leftovers();
    for record in story.records.iter_mut().filter(|record| !record.is_of_topic()) {
        record.token = record.token.map(|token| token - base);
    }
    Ok(story)
}

impl World {
    async fn connect(&self, seed: u64, nth: usize, drift: i64, faulty: bool) -> Result<Coordinator> {
        let seed = Dice::new(seed ^ u64::try_from(nth).unwrap_or(0).rotate_left(32)).roll();
        let late = if faulty { Some(Arc::new(Mutex::new(Vec::new()))) } else { None };
        let builder = Registry::new().with(driver()).builder(self.store.url());
        let mut builder = builder.member(format!("c{nth}")).ttl(TTL).engine(Engine::Current).seed(seed);
        builder = builder.clock(Drifting(self.truth, drift));
        if let Some(all) = &late {
            let (all, dice) = (Arc::clone(all), Mutex::new(Dice::new(seed)));
            let cable = self.cables.get(nth).map(Arc::clone).unwrap_or_default();
            builder = builder.wrap(Arc::new(move |inner| {
                let faulty = Faulty::new(inner, locked(&dice).roll(), ODDS).over(Arc::clone(&cable));
                locked(&all).push(faulty.late());
                Arc::new(faulty)
            }));
        }
        let coord = builder.connect().await?;
        if let Some(all) = late {
            locked(&self.late).extend(locked(&all).iter().cloned());
        }
        Ok(coord)
    }

    async fn work(&self, coord: &Coordinator, seed: u64, nth: usize, operations: usize) {
        let mut dice = Dice::new(seed.wrapping_mul(31).wrapping_add(u64::try_from(nth).unwrap_or(0)));
        let member = coord.member().to_string();
        let mut done = 0;
        while done < operations {
            let which = dice.below(2);
            let name = ["x", "y"].get(which).copied().unwrap_or("x");
            let note = |op, call, result, token| self.note(&member, op, name, call, result, token);
            if dice.percent(15) {
                self.publish(coord, nth, done).await;
                done += 1;
            }
            let (call, shared) = (self.now(), dice.percent(25));
            let lock = if shared { coord.lock(name).shared() } else { coord.lock(name) };
            let patience = Duration::from_millis(u64::try_from(dice.below(4000)).unwrap_or(0));
            done += 1;
            // Refusals and silence are what the plan is for; they are traced like everything else.
            let guard = match lock.acquire_timeout(patience).await {
                Ok(Some(guard)) => guard,
                Ok(None) => {
                    note(Op::Acquire, call, Outcome::No, None);
                    continue;
                }
                Err(error) => {
                    note(Op::Acquire, call, Outcome::Error(format!("{:?}", error.kind())), None);
                    continue;
                }
            };
            let token = Some(guard.fencing_token().get());
            note(if shared { Op::AcquireShared } else { Op::Acquire }, call, Outcome::Yes, token);
            let cut = dice.percent(8);
            let began = self.now();
            if cut {
                let asleep = self.trouble(&member, nth, &mut dice);
                locked(&self.story).cuts += 1;
                // Whoever is stopped looks at nothing, and goes on in the middle of what it was about to do.
                tokio::time::sleep(asleep).await;
                if !asleep.is_zero() && !shared {
                    let call = self.now();
                    note(Op::Write, call, self.write(which, guard.fencing_token().get()), token);
                    done += 1;
                }
            } else if dice.percent(1) {
                self.restart();
            }
            let looks = if cut { 40 + dice.below(60) } else { dice.below(5) };
            for _ in 0..looks {
                let call = self.now();
                let held = guard.is_held();
                note(Op::IsHeld, call, if held { Outcome::Yes } else { Outcome::No }, token);
                done += 1;
                if held && !shared {
                    let call = self.now();
                    note(Op::Write, call, self.write(which, guard.fencing_token().get()), token);
                    done += 1;
                }
                tokio::time::sleep(Duration::from_millis(if cut { 50 } else { 7 })).await;
            }
            if cut {
                self.mend(&member, nth);
                let ended = self.now();
                locked(&self.story).troubles.push((nth, began, ended));
            }
            locked(&self.story).losses += usize::from(!guard.is_held());
            let call = self.now();
            done += 1;
            if dice.percent(25) {
                // Dropping what is lost already releases nothing.
                let held = guard.is_held();
                drop(guard);
                note(Op::Release, call, if held { Outcome::Yes } else { Outcome::No }, token);
            } else {
                let result = guard.release().await;
                let failed = |e: tooz_core::Error| Outcome::Error(format!("{:?}", e.kind()));
                note(Op::Release, call, result.map_or_else(failed, |()| Outcome::Yes), token);
            }
        }
    }

    fn write(&self, which: usize, token: u64) -> Outcome {
        let mut registers = locked(&self.register);
        match registers.get_mut(which) {
            Some((largest, nth)) if token >= *largest => {
                (*largest, *nth) = (token, *nth + 1);
                Outcome::Accepted(*nth)
            }
            _ => {
                locked(&self.story).refused += 1;
                Outcome::Refused
            }
        }
    }

    /// Something that may cost this client its session, and how long the client is stopped by it.
    fn trouble(&self, member: &str, nth: usize, dice: &mut Dice) -> Duration {
        let cable = self.cables.get(nth).map(Arc::clone).unwrap_or_default();
        match dice.below(4) {
            0 => cable.set(Cut::Requests),
            1 => cable.set(Cut::Replies),
            2 => self.store.cut_off(member),
            _ => {
                self.store.cut_off(member);
                // From a third of the time to live to three times it.
                return Duration::from_millis(u64::try_from(1_000 + dice.below(8_000)).unwrap_or(0));
            }
        }
        Duration::ZERO
    }

    fn mend(&self, member: &str, nth: usize) {
        self.store.reconnect(member);
        if let Some(cable) = self.cables.get(nth) {
            cable.set(Cut::None);
        }
    }

    /// The store restarts: with its data, or, where it may, once without.
    fn restart(&self) {
        let now = self.now();
        let forgets = {
            let mut story = locked(&self.story);
            let forgets = self.forgetful && story.forgot_at.is_none();
            if forgets {
                story.forgot_at = Some(now);
            }
            forgets
        };
        self.store.restart(if forgets { Data::Lost } else { Data::Kept });
    }

    /// Nothing goes wrong any more.
    fn heal(&self) {
        self.cables.iter().for_each(|cable| cable.set(Cut::Calm));
    }

    /// The virtual time, a nanosecond more where that stands still: steps take no time here, and what happens at one
    /// moment still has an order.
    fn now(&self) -> u64 {
        let mut latest = locked(&self.latest);
        *latest = self.truth.now().as_nanos().max(*latest + 1);
        *latest
    }

    fn note(&self, proc: &str, op: Op, name: &str, call: u64, result: Outcome, token: Option<u64>) {
        let (proc, name, returned) = (proc.to_owned(), name.to_owned(), Some(self.now()));
        let record = Record { proc, op, name, call, returned, result, token, claim_until: None };
        locked(&self.story).records.push(record);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
