//! The server's wall clock jumps by two minutes, forth and back: leases that run on it may end too soon, as documented,
//! and tokens stay in order.

use std::time::Duration;

use super::scene::{Scene, judge, pause};
use super::store::Server;
use super::{Line, Order, Outcome, Run};
use crate::faulty::Dice;
use crate::history::now;

const VISITORS: usize = 4;
const LOCKS: u64 = 6;
/// Where the clock stands after each jump, in seconds beside the true time.
const JUMPS: [i64; 4] = [120, 0, -120, 0];

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("jumped", order)?;
    let Server::Redis(redis) = run.store.server() else {
        return Err("only redis has a clock that jumps".into());
    };
    let urls = vec![run.store.url(); VISITORS];
    let scene = Scene::start(&run, order, "visited", LOCKS, &urls)?;
    let mut dice = Dice::new(order.seed);
    let (mut done, mut late) = (0, Vec::new());
    for seconds in JUMPS.into_iter().cycle() {
        if done >= order.volume || !run.has_time() {
            break;
        }
        late.extend(scene.recovered(&run, order, now())?);
        pause(Duration::from_millis(dice.roll() % 500));
        run.log.during("clock jumped", None, || redis.jump(seconds))?;
        done += 1;
    }
    late.extend(scene.recovered(&run, order, now())?);
    scene.end()?;
    let mut line = judge(&run, order, "jumped", done)?;
    // Nobody loses a guard here but by the clock that its lease runs on.
    let lost = line.facts.get("guards lost").is_some_and(|lost| lost != "0");
    line.violate((line.expected == 0 && !lost).then_some("not vacuous: no lease ended too soon"));
    line.violate(late);
    Ok(run.end(line))
}
