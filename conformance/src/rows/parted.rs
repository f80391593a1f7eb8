//! Partitions: both ways, one way, reset, half open, slow.

use std::time::Duration;

use super::scene::{Scene, judge, pause, recovered};
use super::{Line, Order, Outcome, Run};
use crate::checkers::Violation;
use crate::faulty::Dice;
use crate::history::now;
use crate::proxy::{Proxy, Way};

/// Pairs of processes, of which one is cut off; they break side by side.
const PAIRS: usize = 6;
/// Locks of a pair.
const LOCKS: u64 = 4;
/// How slow a slow network is.
const BYTES_PER_SECOND: u32 = 400;

/// How long whoever was cut off may take to be granted something again, beyond a time to live.
const HEALED: Duration = Duration::from_secs(10);

/// What is done to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Break {
    Both,
    Up,
    Down,
    Reset,
    HalfOpen,
    Slow,
}

impl Break {
    pub(super) const ALL: [Self; 6] =
        [Self::Both, Self::Up, Self::Down, Self::Reset, Self::HalfOpen, Self::Slow];

    pub(super) fn begin(self, proxy: &Proxy) {
        match self {
            Self::Both => proxy.cut(Way::Both),
            Self::Up => proxy.cut(Way::Up),
            Self::Down => proxy.cut(Way::Down),
            Self::Reset => proxy.reset(),
            Self::HalfOpen => {
                proxy.half_open();
                proxy.reset();
            }
            Self::Slow => proxy.throttle(Some(BYTES_PER_SECOND)),
        }
    }

    pub(super) fn end(self, proxy: &Proxy) {
        match self {
            Self::Slow => proxy.throttle(None),
            Self::HalfOpen => {
                proxy.join();
                // What was let in and never answered.
                proxy.reset();
            }
            _ => proxy.join(),
        }
    }
}

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("parted", order)?;
    let mut pairs = Vec::new();
    for pair in 0..PAIRS {
        let (proxy, url) = run.store.behind().ok_or("no network leads to a directory")?;
        let urls = [url, run.store.url()];
        pairs.push((proxy, Scene::start(&run, order, &format!("pair-{pair}"), LOCKS, &urls)?));
    }
    let mut dice = Dice::new(order.seed);
    let share = usize::try_from(order.volume)?.div_ceil(PAIRS);
    let outcomes = std::thread::scope(|scope| {
        let (run, parting) = (&run, pairs.iter().enumerate());
        let parting: Vec<_> = parting
            .map(|(number, (proxy, scene))| {
                let seed = dice.roll();
                scope.spawn(move || part(run, order, (proxy, scene), number, share, seed))
            })
            .collect();
        parting.into_iter().map(super::joined).collect::<Outcome<Vec<_>>>()
    })?;
    for (proxy, scene) in pairs {
        scene.end()?;
        drop(proxy);
    }
    let done: u64 = outcomes.iter().map(|(done, _)| done).sum();
    let mut line = judge(&run, order, "parted", done)?;
    for way in Break::ALL {
        let name = format!("{way:?}").to_lowercase();
        let faults = super::faults::faults(run.folder())?;
        line.fact(&name, faults.iter().filter(|fault| fault.what == name).count());
    }
    line.violate(outcomes.into_iter().flat_map(|(_, late)| late));
    Ok(run.end(line))
}

/// Breaks the network of one pair so many times, each time another way.
fn part(
    run: &Run,
    order: &Order,
    (proxy, scene): (&Proxy, &Scene),
    first: usize,
    count: usize,
    seed: u64,
) -> Outcome<(u64, Vec<Violation>)> {
    let mut dice = Dice::new(seed);
    let (mut done, mut late) = (0, Vec::new());
    let Some(cut) = scene.workers.first() else { return Ok((done, late)) };
    let patience = order.ttl() + HEALED + order.slack;
    let ways = Break::ALL.into_iter().cycle().skip(first % Break::ALL.len()).take(count);
    for way in ways {
        if !run.has_time() {
            break;
        }
        late.extend(recovered(run.folder(), &[cut.member()], now(), patience)?);
        pause(Duration::from_millis(dice.roll() % 50));
        let span = match way {
            Break::Reset => Duration::ZERO,
            _ => order.ttl() * (5 + u32::try_from(dice.below(16))?) / 10,
        };
        run.log.during(&format!("{way:?}").to_lowercase(), Some(cut.member()), || {
            way.begin(proxy);
            pause(span);
            way.end(proxy);
        })?;
        done += 1;
    }
    late.extend(recovered(run.folder(), &[cut.member()], now(), patience)?);
    Ok((done, late))
}
