//! The server is killed with -9 and started again.

use std::time::Duration;

use super::scene::{Scene, judge, pause};
use super::{Line, Order, Outcome, Run};
use crate::faulty::Dice;
use crate::history::now;

/// Processes.
const VISITORS: usize = 4;
/// Locks that all of them visit.
const LOCKS: u64 = 6;

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("restarted", order)?;
    let urls = vec![run.store.url(); VISITORS];
    let scene = Scene::start(&run, order, "visited", LOCKS, &urls)?;
    let mut dice = Dice::new(order.seed);
    let (mut done, mut late) = (0, Vec::new());
    while done < order.volume && run.has_time() {
        late.extend(scene.recovered(&run, order, now())?);
        pause(Duration::from_millis(dice.roll() % 500));
        let span = order.ttl() * u32::try_from(dice.below(16))? / 10;
        run.log.during("server killed", None, || {
            run.store.kill();
            pause(span);
            run.store.restart();
        })?;
        done += 1;
    }
    late.extend(scene.recovered(&run, order, now())?);
    scene.end()?;
    let mut line = judge(&run, order, "restarted", done)?;
    line.violate(late);
    Ok(run.end(line))
}
