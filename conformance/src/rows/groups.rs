//! Members join, leave and are killed: no live one is ever reported gone, and views are right soon.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::crew::{self, Orders, Worker};
use super::faults::faults;
use super::scene::pause;
use super::{Kind, Line, Order, Outcome, Run};
use crate::checkers::membership;
use crate::faulty::Dice;
use crate::figures::Samples;
use crate::history::{Op, Outcome as Came, Record, merge};

/// Members at a time, each a process.
const MEMBERS: usize = 50;
/// Who follows the group.
const OBSERVERS: usize = 3;
const GROUP: &str = "workers";
/// How soon views tell of a graceful change, 99 times of 100, as documented.
const SOON: Duration = Duration::from_millis(250);
/// How long views may take to be right in the end, beyond a time to live.
const SETTLED: Duration = Duration::from_secs(10);
/// Changes that are begun at once.
const AT_ONCE: usize = 5;

/// Longer than in other rows: a machine that starts processes all the time must not be what ends a membership.
fn ttl(order: &Order) -> Duration {
    order.ttl() * 3
}

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("groups", order)?;
    let url = run.store.url();
    let start = |part: &str, member: &str| {
        let (folder, ttl) = (run.folder(), ttl(order));
        Worker::start(&Orders { part, member, url: &url, ttl, folder, name: GROUP, count: 1 })
    };
    let observers =
        (0..OBSERVERS).map(|number| start("observer", &format!("o{number}"))).collect::<Outcome<Vec<_>>>()?;
    observers.iter().try_for_each(Worker::ready)?;

    let mut dice = Dice::new(order.seed);
    let mut lives = 0;
    let mut enter = |count: usize| -> Outcome<Vec<Worker>> {
        let entering = (0..count).map(|_| {
            lives += 1;
            start("member", &format!("m{lives}"))
        });
        let entering = entering.collect::<Outcome<Vec<_>>>()?;
        entering.iter().try_for_each(Worker::ready)?;
        Ok(entering)
    };
    let mut members = Vec::new();
    while members.len() < MEMBERS {
        members.extend(enter(AT_ONCE)?);
    }
    let mut done = 0;
    while done < order.volume && run.has_time() {
        // So many go, one way or the other, and as many come.
        let mut leaving = Vec::new();
        for _ in 0..AT_ONCE {
            let mut member = members.swap_remove(dice.below(members.len()));
            if dice.percent(50) {
                let name = member.member().to_owned();
                run.log.during("killed", Some(&name), || member.kill())??;
            } else {
                member.dismiss();
                leaving.push(member);
            }
        }
        members.extend(enter(AT_ONCE)?);
        crew::end(leaving)?;
        done += 2 * u64::try_from(AT_ONCE)?;
        pause(Duration::from_millis(dice.roll() % 50));
    }
    // Views tell of the last who died when their time to live is over.
    let (began, mut broken) = (Instant::now(), judge(&run)?);
    while !broken.is_empty() && began.elapsed() < ttl(order) + SETTLED {
        pause(Duration::from_millis(200));
        broken = judge(&run)?;
    }
    crew::end(observers)?;
    crew::end(members)?;
    figures(run, order, done, broken)
}

fn judge(run: &Run) -> Outcome<Vec<crate::checkers::Violation>> {
    let faults = faults(run.folder())?;
    let died = faults.iter().filter_map(|fault| Some((fault.proc.as_deref()?, fault.from))).collect();
    Ok(membership(&merge(run.folder())?, &died))
}

fn figures(run: Run, order: &Order, done: u64, broken: Vec<crate::checkers::Violation>) -> Outcome<Line> {
    let records = merge(run.folder())?;
    let faults = faults(run.folder())?;
    let mut line = Line {
        done,
        hits: u64::try_from(faults.len())?,
        least_hits: order.volume / 8,
        ..Line::new("groups", &order.kind.to_string(), order.volume)
    };
    line.violate(broken);
    let returns = |op: Op| -> BTreeMap<&str, u64> {
        let done = records.iter().filter(|record| record.op == op && record.result == Came::Yes);
        done.filter_map(|record| Some((record.proc.as_str(), record.returned?))).collect()
    };
    let delays = |seen: Op, since: &BTreeMap<&str, u64>| -> Samples {
        let told = records.iter().filter(|record| record.op == seen);
        told.filter_map(|record| delay(record, since)).collect()
    };
    let (joined, left) =
        (delays(Op::SeeJoined, &returns(Op::Join)), delays(Op::SeeLeft, &returns(Op::Leave)));
    let deaths = faults.iter().filter_map(|fault| Some((fault.proc.as_deref()?, fault.from))).collect();
    let died = delays(Op::SeeLeft, &deaths);
    line.fact("members", MEMBERS);
    line.fact("join seen", &joined);
    line.fact("leave seen", &left);
    line.fact("death seen", &died);
    for (what, delays) in [("joins", &joined), ("leaves", &left)] {
        let p99 = delays.quantile(0.99);
        line.violate(
            (p99 > SOON + order.slack).then(|| format!("views told of {what} after {p99:.1?} (p99)")),
        );
    }
    let lease = if order.kind == Kind::File { Duration::ZERO } else { ttl(order) };
    let bound = lease + order.kind.slack() + order.slack;
    line.violate((died.worst() > bound).then(|| format!("views told of a death after {:.1?}", died.worst())));
    Ok(run.end(line))
}

/// How long after a member's act a view told of it; nothing where it was told before the act had returned.
fn delay(record: &Record, since: &BTreeMap<&str, u64>) -> Option<Duration> {
    let Came::Message(member) = &record.result else { return None };
    let told = record.returned?;
    Some(Duration::from_nanos(told.saturating_sub(*since.get(member.as_str())?)))
}
