//! Holders are stopped for 0.3 to 3 times to live: whoever wakes up late knows it, and what it writes is refused.

use std::time::Duration;

use super::scene::{Scene, holders_met, judge, pause};
use super::{Kind, Line, Order, Outcome, Run};
use crate::faulty::Dice;
use crate::history::{Op, Outcome as Came, merge, now};

/// Pairs of processes, which are stopped side by side.
const PAIRS: u64 = 3;
/// Locks of a pair: each process holds about half of them.
const LOCKS: u64 = 8;
/// Stops of each pair before what they hit is counted.
const BATCH: usize = 4;

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("stopped", order)?;
    let urls = vec![run.store.url(); 2];
    let scenes: Vec<Scene> = (0..PAIRS)
        .map(|pair| Scene::start(&run, order, &format!("pair-{pair}"), LOCKS, &urls))
        .collect::<Outcome<_>>()?;
    let mut dice = Dice::new(order.seed);
    let mut met = 0;
    let mut late = Vec::new();
    while met < order.volume && run.has_time() {
        let seeds: Vec<u64> = scenes.iter().map(|_| dice.roll()).collect();
        late.extend(std::thread::scope(|scope| {
            let run = &run;
            let stopping: Vec<_> = scenes
                .iter()
                .zip(seeds)
                .map(|(scene, seed)| scope.spawn(move || stop(run, order, scene, seed)))
                .collect();
            stopping.into_iter().map(super::joined).collect::<Outcome<Vec<_>>>()
        })?);
        met = holders_met(&run)?;
    }
    scenes.into_iter().try_for_each(Scene::end)?;

    let mut line = judge(&run, order, "stopped", met)?;
    line.violate(late.into_iter().flatten());
    // Each hit is a holder here.
    (line.hits, line.least_hits) = (met, order.volume);
    let records = merge(run.folder())?;
    let refused = records.iter().filter(|record| record.result == Came::Refused).count();
    if order.kind == Kind::File {
        // The kernel keeps what a stopped process holds: it loses nothing, and nobody else comes in between.
        let lost = records.iter().filter(|record| record.op == Op::IsHeld && record.result == Came::No);
        line.violate(lost.map(|record| format!("lost although the kernel kept it: {record:?}")));
    } else if u64::try_from(refused)? < order.volume / 4 {
        line.violate([format!("not vacuous: {refused} stale writes were tried and refused, too few")]);
    }
    Ok(run.end(line))
}

/// Stops one of two processes, then the other, and so on.
fn stop(run: &Run, order: &Order, scene: &Scene, seed: u64) -> Outcome<Vec<crate::checkers::Violation>> {
    let mut dice = Dice::new(seed);
    let mut late = Vec::new();
    for victim in scene.workers.iter().cycle().take(BATCH) {
        late.extend(scene.recovered(run, order, now())?);
        pause(Duration::from_millis(dice.roll() % 100));
        let tenths = 3 + u32::try_from(dice.below(28))?;
        let span = order.ttl() * tenths / 10;
        run.log.during(&format!("stopped for {span:?}"), Some(victim.member()), || {
            victim.freeze();
            pause(span);
        })?;
        victim.thaw();
    }
    Ok(late)
}
