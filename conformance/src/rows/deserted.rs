//! Holders leave their locks without a word: their tasks panic or are aborted, their runtimes are dropped, their
//! processes become other programs or fork. Whoever is next has the lock in time, and not before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::crew::{self, Orders, Worker};
use super::desert::Way;
use super::{Kind, Line, Order, Outcome, Run};
use crate::checkers::{Least, check, grants};
use crate::figures::Samples;
use crate::history::merge;

/// Locks of one process.
const HELD: u64 = 10;
/// How soon a lock is free that is given back while the process lives.
const SOON: Duration = Duration::from_secs(1);

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("deserted", order)?;
    let url = run.store.url();
    let start = |part: &str, member: &str, name: &str| {
        let (folder, ttl) = (run.folder(), order.ttl());
        Worker::start(&Orders { part, member, url: &url, ttl, folder, name, count: HELD })
    };
    let mut left: BTreeMap<String, (Way, u64)> = BTreeMap::new();
    let mut done = 0;
    let mut round = 0;
    while done < order.volume && run.has_time() {
        let name = |way: Way| format!("{}{round}", way.part());
        let holders = Way::ALL.map(|way| start(way.part(), &format!("h-{}", name(way)), &name(way)));
        let holders: Vec<Worker> = holders.into_iter().collect::<Outcome<_>>()?;
        holders.iter().try_for_each(Worker::ready)?;
        let heirs = Way::ALL.map(|way| start("next", &format!("e-{}", name(way)), &name(way)));
        let heirs: Vec<Worker> = heirs.into_iter().collect::<Outcome<_>>()?;
        for (way, holder) in Way::ALL.into_iter().zip(&holders) {
            left.insert(holder.member().to_owned(), (way, holder.hear()?.parse()?));
        }
        crew::end(heirs)?;
        crew::end(holders)?;
        done += HELD * u64::try_from(Way::ALL.len())?;
        round += 1;
    }
    judge(run, order, done, &left)
}

fn judge(run: Run, order: &Order, done: u64, left: &BTreeMap<String, (Way, u64)>) -> Outcome<Line> {
    let records = merge(run.folder())?;
    let mut line = Line { done, ..Line::new("deserted", &order.kind.to_string(), order.volume) };
    let mut waits: BTreeMap<&str, Samples> = BTreeMap::new();
    for of_name in grants(&records).chunk_by(|a, b| a.name == b.name) {
        let [gone, heir] = of_name else { continue };
        let Some((way, since)) = left.get(&gone.proc) else { continue };
        let wait = Duration::from_nanos(heir.known.saturating_sub(*since));
        let bound = bound(*way, order.kind) + order.slack;
        line.violate((wait > bound).then(|| format!("{} was free after {wait:?} only: {way:?}", gone.name)));
        waits.entry(way.part()).or_default().push(wait);
    }
    line.hits = waits.values().map(|waits| waits.len() as u64).sum();
    line.least_hits = order.volume;
    for (part, waits) in waits {
        line.fact(&format!("{part}, next holder"), &waits);
    }
    line.violate(check(&records, &Least::default()));
    Ok(run.end(line))
}

/// When the next one has the lock at the latest.
fn bound(way: Way, kind: Kind) -> Duration {
    match (way, kind) {
        (Way::Execs, Kind::File) => kind.slack(),
        (Way::Execs, _) => kind.ttl() + kind.slack(),
        _ => SOON,
    }
}
