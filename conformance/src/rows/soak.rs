//! All faults at once, for as long as there is time, in episodes that are judged one by one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::crew::{self, Orders, Worker};
use super::faults::{faults, met};
use super::parted::Break;
use super::scene::{pause, recovered};
use super::{Line, Order, Outcome, Run};
use crate::checkers::{Least, Traffic, Violation, check, grants};
use crate::faulty::Dice;
use crate::history::{Record, merge, now};
use crate::proxy::Proxy;

/// Processes that visit the locks; the first half of them behind networks that break.
const VISITORS: usize = 4;
/// Locks.
const LOCKS: u64 = 6;
/// How long faults last on and on before the history is judged.
const EPISODE: Duration = Duration::from_secs(60);
/// How long everybody may take to be granted something when all is healed, beyond a time to live.
const HEALED: Duration = Duration::from_secs(15);

/// Episodes until so many minutes are over, or one of them failed.
pub(super) fn run(order: &Order) -> Outcome<Line> {
    let began = Instant::now();
    let span = Duration::from_secs(order.volume * 60);
    let mut line = Line::new("soak", &order.kind.to_string(), order.volume);
    let (mut dice, mut sums, mut episodes) = (Dice::new(order.seed), BTreeMap::new(), 0);
    while began.elapsed() < span && line.violations == 0 {
        let left = span.saturating_sub(began.elapsed());
        let episode = episode(order, EPISODE.min(left), dice.roll())?;
        episodes += 1;
        line.violate(&episode.found);
        line.expected += episode.expected;
        line.hits += episode.hits;
        line.least_hits += episode.least_hits;
        if let Some(history) = episode.facts.get("history") {
            line.fact("history", history);
        }
        for (name, count) in
            episode.facts.iter().filter_map(|(name, count)| Some((name, count.parse::<u64>().ok()?)))
        {
            *sums.entry(name.clone()).or_insert(0_u64) += count;
        }
    }
    sums.iter().for_each(|(name, sum)| line.fact(name, sum));
    line.fact("episodes", episodes);
    line.done = began.elapsed().as_secs().div_ceil(60).min(order.volume);
    line.seconds = began.elapsed().as_secs();
    Ok(line)
}

/// A place for a visitor: whoever is in it may be stopped, killed and replaced.
struct Slot {
    number: usize,
    url: String,
    worker: Mutex<Worker>,
}

impl Slot {
    fn worker(&self) -> MutexGuard<'_, Worker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn visitor(run: &Run, order: &Order, url: &str, member: &str) -> Outcome<Worker> {
    let (folder, ttl) = (run.folder(), order.ttl());
    Worker::start(&Orders { part: "visitor", member, url, ttl, folder, name: "visited", count: LOCKS })
}

fn episode(order: &Order, span: Duration, seed: u64) -> Outcome<Line> {
    let run = Run::start("soak", order)?;
    let (mut slots, mut proxies) = (Vec::new(), Vec::new());
    for number in 0..VISITORS {
        let behind = run.store.behind().filter(|_| number < VISITORS / 2);
        let url = behind.as_ref().map_or_else(|| run.store.url(), |(_, url)| url.clone());
        let worker = Mutex::new(visitor(&run, order, &url, &format!("v{number}"))?);
        slots.push(Slot { number, url, worker });
        proxies.extend(behind.map(|(proxy, _)| (number, proxy)));
    }
    slots.iter().try_for_each(|slot| slot.worker().ready())?;

    let over = AtomicBool::new(false);
    let mut dice = Dice::new(seed);
    std::thread::scope(|scope| {
        let (run, slots, over) = (&run, &slots, &over);
        let mut threads = Vec::new();
        let seeds = [dice.roll(), dice.roll(), dice.roll()];
        let [stops, kills, restarts] = seeds.map(Dice::new);
        threads.push(scope.spawn(move || stop(run, order, slots, over, stops)));
        threads.push(scope.spawn(move || kill(run, order, slots, over, kills)));
        if !proxies.is_empty() {
            threads.push(scope.spawn(move || restart(run, order, over, restarts)));
        }
        for (number, proxy) in &proxies {
            let Some(slot) = slots.get(*number) else { continue };
            let dice = Dice::new(dice.roll());
            threads.push(scope.spawn(move || part(run, order, (slot, proxy), over, dice)));
        }
        pause(span);
        over.store(true, Ordering::Relaxed);
        threads.into_iter().map(super::joined).collect::<Outcome<Vec<_>>>()
    })?;

    let members: Vec<String> = slots.iter().map(|slot| slot.worker().member().to_owned()).collect();
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let late = recovered(run.folder(), &members, now(), order.ttl() + HEALED + order.slack)?;
    let workers =
        slots.into_iter().map(|slot| slot.worker.into_inner().unwrap_or_else(PoisonError::into_inner));
    crew::end(workers.collect())?;
    let mut line = replay(run.folder(), order.kind.forgets())?;
    line.violate(late);
    Ok(run.end(line))
}

/// Judges the history in a folder, again if need be. Where the store may forget, what is documented to follow from
/// that is counted apart.
///
/// # Errors
/// If the history cannot be read.
pub fn replay(folder: &Path, forgets: bool) -> Outcome<Line> {
    let (records, faults) = (merge(folder)?, faults(folder)?);
    let met = met(&records, &faults);
    let mut line = Line::new("soak", "", 0);
    line.hits = u64::try_from(met.iter().filter(|met| met.is_hit()).count())?;
    line.least_hits = u64::try_from(faults.len() / 2)?;
    let (documented, broken) = judge(&records, forgets);
    line.expected = u64::try_from(documented.len())?;
    line.violate(broken);
    let granted = grants(&records);
    line.fact("grants", granted.len());
    line.fact("hand-overs", Traffic::of(&records, &granted).hand_overs);
    line.fact("faults", faults.len());
    line.fact("holders met", met.iter().map(|met| met.held).sum::<usize>());
    let refused = records.iter().filter(|record| record.result == crate::history::Outcome::Refused);
    line.fact("writes refused", refused.count());
    Ok(line)
}

fn judge(records: &[Record], forgets: bool) -> (Vec<Violation>, Vec<Violation>) {
    let least = Least { grants: 20, hand_overs: 5, ..Least::default() };
    check(records, &least)
        .into_iter()
        .partition(|violation| forgets && matches!(violation.promise, "C1" | "C3"))
}

/// A moment's peace, shorter where the end is near.
fn rest(over: &AtomicBool, span: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < span && !over.load(Ordering::Relaxed) {
        pause(Duration::from_millis(10));
    }
    !over.load(Ordering::Relaxed)
}

fn tenths(ttl: Duration, dice: &mut Dice, most: usize) -> Duration {
    ttl * u32::try_from(dice.below(most)).unwrap_or(0) / 10
}

fn stop(run: &Run, order: &Order, slots: &[Slot], over: &AtomicBool, mut dice: Dice) -> Outcome<()> {
    while rest(over, tenths(order.ttl(), &mut dice, 30)) {
        let Some(slot) = slots.get(dice.below(slots.len())) else { continue };
        let span = tenths(order.ttl(), &mut dice, 30);
        let member = slot.worker().member().to_owned();
        run.log.during("stopped", Some(&member), || {
            slot.worker().freeze();
            pause(span);
        })?;
        // Whoever is there now: one who was never stopped does not mind.
        slot.worker().thaw();
    }
    Ok(())
}

fn kill(run: &Run, order: &Order, slots: &[Slot], over: &AtomicBool, mut dice: Dice) -> Outcome<()> {
    let mut killed = 0;
    while rest(over, order.ttl() * 2 + tenths(order.ttl(), &mut dice, 60)) {
        let Some(slot) = slots.get(dice.below(slots.len())) else { continue };
        killed += 1;
        let next = visitor(run, order, &slot.url, &format!("v{}-after-{killed}", slot.number))?;
        let mut worker = slot.worker();
        let member = worker.member().to_owned();
        run.log.during("killed", Some(&member), || worker.kill())??;
        *worker = next;
    }
    Ok(())
}

fn restart(run: &Run, order: &Order, over: &AtomicBool, mut dice: Dice) -> Outcome<()> {
    while rest(over, order.ttl() * 6 + tenths(order.ttl(), &mut dice, 60)) {
        let span = tenths(order.ttl(), &mut dice, 15);
        run.log.during("server killed", None, || {
            run.store.kill();
            pause(span);
            run.store.restart();
        })?;
    }
    Ok(())
}

fn part(
    run: &Run,
    order: &Order,
    (slot, proxy): (&Slot, &Proxy),
    over: &AtomicBool,
    mut dice: Dice,
) -> Outcome<()> {
    while rest(over, tenths(order.ttl(), &mut dice, 40)) {
        let Some(way) = Break::ALL.get(dice.below(Break::ALL.len())) else { continue };
        let span = tenths(order.ttl(), &mut dice, 20);
        let member = slot.worker().member().to_owned();
        run.log.during(&format!("{way:?}").to_lowercase(), Some(&member), || {
            way.begin(proxy);
            pause(span);
            way.end(proxy);
        })?;
    }
    Ok(())
}
