//! Many processes on one lock, as fast as they can.

use super::crew::{Orders, Worker};
use super::{Line, Order, Outcome, Run};
use crate::checkers::{Least, Traffic, check, grants};
use crate::history::merge;

const PROCESSES: u64 = 8;
const NAME: &str = "contended";

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("contended", order)?;
    let each = order.volume.div_ceil(PROCESSES);
    let url = run.store.url();
    let workers = (0..PROCESSES).map(|number| {
        let member = format!("p{number}");
        let orders = Orders {
            part: "contender",
            member: &member,
            url: &url,
            ttl: order.ttl(),
            folder: run.folder(),
            name: NAME,
            count: each,
        };
        Worker::start(&orders)
    });
    let workers: Vec<Worker> = workers.collect::<Outcome<_>>()?;
    workers.into_iter().try_for_each(Worker::done)?;

    let records = merge(run.folder())?;
    let granted = grants(&records);
    let traffic = Traffic::of(&records, &granted);
    let processes = usize::try_from(PROCESSES)?;
    let cycles = usize::try_from(each)? * processes;
    let least = Least {
        procs: processes,
        grants: cycles,
        hand_overs: processes - 1,
        contended: processes - 1,
        writes: cycles,
    };
    let mut line = Line {
        done: u64::try_from(traffic.writes)?,
        hits: u64::try_from(traffic.contended)?,
        // Where a lock is handed over in the order of asking, nearly every acquire waits for another process.
        least_hits: order.volume / 20,
        ..Line::new("contended", &order.kind.to_string(), order.volume)
    };
    line.fact("processes", PROCESSES);
    line.fact("hand-overs", traffic.hand_overs);
    line.violate(check(&records, &least));
    Ok(run.end(line))
}
