//! Holders are killed with -9: their names are free in time, and nobody else is disturbed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::crew::{self, Orders, Worker};
use super::faults::{faults, met};
use super::{Line, Order, Outcome, Run};
use crate::checkers::{Least, check, grants};
use crate::faulty::Dice;
use crate::figures::Samples;
use crate::history::{Op, Outcome as Came, merge};

/// Locks of one process: each is a holder that dies with it.
const HELD: u64 = 25;
/// Processes of one round, killed within a second.
const AT_ONCE: u64 = 8;

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("killed", order)?;
    let url = run.store.url();
    let start = |part: &str, member: &str, name: &str, count: u64| {
        let (folder, ttl) = (run.folder(), order.ttl());
        Worker::start(&Orders { part, member, url: &url, ttl, folder, name, count })
    };
    let bystander = start("holder", "bystander", "bystander", HELD)?;
    bystander.ready()?;
    let mut dice = Dice::new(order.seed);
    let mut killed = 0;
    let mut round = 0;
    while killed < order.volume && run.has_time() {
        let each = HELD.min(order.volume);
        let processes = AT_ONCE.min((order.volume - killed).div_ceil(each));
        let mut holders: Vec<Worker> = (0..processes)
            .map(|process| {
                start("holder", &format!("h{round}-{process}"), &format!("n{round}-{process}"), each)
            })
            .collect::<Outcome<_>>()?;
        holders.iter().try_for_each(Worker::ready)?;
        let heirs: Vec<Worker> = (0..processes)
            .map(|process| {
                start("heir", &format!("e{round}-{process}"), &format!("n{round}-{process}"), each)
            })
            .collect::<Outcome<_>>()?;
        heirs.iter().try_for_each(Worker::ready)?;
        for holder in &mut holders {
            let member = holder.member().to_owned();
            run.log.during("killed", Some(&member), || holder.kill())??;
            std::thread::sleep(Duration::from_millis(dice.roll() % 100));
        }
        crew::end(heirs)?;
        killed += processes * each;
        round += 1;
    }
    bystander.end()?;
    judge(run, order, killed)
}

fn judge(run: Run, order: &Order, killed: u64) -> Outcome<Line> {
    let records = merge(run.folder())?;
    let faults = faults(run.folder())?;
    let hits: usize = met(&records, &faults).iter().map(|met| met.held).sum();
    let mut line = Line {
        done: killed,
        hits: u64::try_from(hits)?,
        least_hits: order.volume,
        ..Line::new("killed", &order.kind.to_string(), order.volume)
    };
    let grants = grants(&records);
    let deaths: BTreeMap<&str, u64> =
        faults.iter().filter_map(|fault| Some((fault.proc.as_deref()?, fault.from))).collect();
    let mut waits = Samples::default();
    for of_name in grants.chunk_by(|a, b| a.name == b.name) {
        let [dead, heir] = of_name else { continue };
        let Some(death) = deaths.get(dead.proc.as_str()) else { continue };
        waits.push(Duration::from_nanos(heir.known.saturating_sub(*death)));
    }
    let bound = if order.kind == super::Kind::File { Duration::ZERO } else { order.ttl() }
        + order.kind.slack()
        + order.slack;
    line.fact("processes", faults.len());
    line.fact("next holder", &waits);
    line.fact("promised", format!("{bound:?}"));
    if waits.worst() > bound {
        line.violate([format!("a name was free after {:?} only", waits.worst())]);
    }
    if waits.len() != hits {
        line.violate([format!("{} names were inherited, of {hits}", waits.len())]);
    }
    let disturbed = records.iter().filter(|record| {
        record.proc == "bystander" && !matches!(record.result, Came::Yes | Came::Accepted(_))
    });
    line.violate(disturbed.map(|record| format!("a bystander was disturbed: {record:?}")));
    let looks = records.iter().filter(|record| record.proc == "bystander" && record.op == Op::IsHeld);
    line.fact("looks of bystanders", looks.count());
    line.violate(check(&records, &Least::default()));
    Ok(run.end(line))
}
