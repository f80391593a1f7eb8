//! Visitors of the same locks, and faults that are done to them.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use super::crew::{self, Orders, Worker};
use super::faults::{Fault, REVOKED, faults, is_revocation, met};
use super::{Line, Order, Outcome, Run};
use crate::checkers::{Grant, Least, Traffic, Violation, check, grants};
use crate::history::{Op, Outcome as Came, Record, merge, now};

/// Between two looks at a history that is being written.
const LOOK: Duration = Duration::from_millis(20);
/// How much of the end of a history is looked at.
const TAIL: u64 = 64 * 1024;
/// How long a broken store or network may be healed before somebody is granted something again (C8): this and the
/// time to live.
const HEALED: Duration = Duration::from_secs(2);
/// What a busy machine may add to that, where nothing but life is asked for.
const SLACK: Duration = Duration::from_secs(8);

/// Processes that visit the same locks.
pub(super) struct Scene {
    pub(super) workers: Vec<Worker>,
}

impl Scene {
    /// Starts visitors of `count` locks called `name`; `urls` says how many, and how each reaches the store.
    pub(super) fn start(run: &Run, order: &Order, name: &str, count: u64, urls: &[String]) -> Outcome<Self> {
        let workers = urls.iter().enumerate().map(|(number, url)| {
            let member = format!("{name}-v{number}");
            let (folder, ttl) = (run.folder(), order.ttl());
            Worker::start(&Orders { part: "visitor", member: &member, url, ttl, folder, name, count })
        });
        let workers = workers.collect::<Outcome<Vec<_>>>()?;
        workers.iter().try_for_each(Worker::ready)?;
        Ok(Self { workers })
    }

    /// Waits until each of these was granted something after this moment; says who was not in time.
    pub(super) fn recovered(&self, run: &Run, order: &Order, since: u64) -> Outcome<Vec<Violation>> {
        let members: Vec<&str> = self.workers.iter().map(Worker::member).collect();
        recovered(run.folder(), &members, since, order.ttl() + HEALED + SLACK + order.slack)
    }

    pub(super) fn end(self) -> Outcome<()> {
        crew::end(self.workers)
    }
}

/// Waits until each of these members was granted something after this moment; says who was not in time (C8).
pub(super) fn recovered(
    folder: &Path,
    members: &[&str],
    since: u64,
    patience: Duration,
) -> Outcome<Vec<Violation>> {
    let start = Instant::now();
    let mut missing: BTreeSet<&str> = members.iter().copied().collect();
    loop {
        for member in members {
            if missing.contains(member) && granted_since(&folder.join(format!("{member}.jsonl")), since)? {
                missing.remove(member);
            }
        }
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        if start.elapsed() > patience {
            let text = |member: &&str| {
                format!("{member} was granted nothing for {patience:?} after a fault was over")
            };
            return Ok(missing.iter().map(|member| Violation::new("C8", text(member))).collect());
        }
        std::thread::sleep(LOOK);
    }
}

fn granted_since(path: &Path, since: u64) -> Outcome<bool> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut lines = bytes.rsplit(|byte| *byte == b'\n');
    // The newest first; the first of the tail may be torn, and so may the last.
    Ok(lines.any(|line| {
        serde_json::from_slice::<Record>(line).is_ok_and(|record| {
            record.op == Op::Acquire
                && record.result == Came::Yes
                && record.returned.is_some_and(|returned| returned > since)
        })
    }))
}

/// So many holders met so far.
pub(super) fn holders_met(run: &Run) -> Outcome<u64> {
    let met = met(&merge(run.folder())?, &faults(run.folder())?);
    Ok(u64::try_from(met.iter().map(|met| met.held).sum::<usize>())?)
}

/// What visitors' histories say: a line with the violations of all promises, the refused writes and the traffic.
pub(super) fn judge(run: &Run, order: &Order, row: &str, done: u64) -> Outcome<Line> {
    let records = merge(run.folder())?;
    let all = faults(run.folder())?;
    let faults: Vec<Fault> = all.iter().filter(|fault| fault.what != REVOKED).cloned().collect();
    let met = met(&records, &faults);
    let hits = met.iter().filter(|met| met.is_hit()).count();
    let granted = grants(&records);
    let traffic = Traffic::of(&records, &granted);
    let mut line = Line {
        done,
        hits: u64::try_from(hits)?,
        // Most faults have to hit somebody who holds or asks.
        least_hits: order.volume * 4 / 5,
        ..Line::new(row, &order.kind.to_string(), order.volume)
    };
    let least = Least { grants: usize::try_from(order.volume)?, hand_overs: 1, ..Least::default() };
    let forgets = ["restarted", "failed-over", "jumped"].contains(&row) && order.kind.forgets();
    let (documented, broken): (Vec<_>, Vec<_>) = check(&records, &least)
        .into_iter()
        .partition(|violation| forgets && violation.promise != "C2" || is_revocation(violation, &all));
    line.expected = u64::try_from(documented.len())?;
    line.violate(broken);
    let count = |wanted: fn(&Record) -> bool| records.iter().filter(|record| wanted(record)).count();
    let revocations = all.len() - faults.len();
    if revocations > 0 {
        line.fact("times a deposed leader revoked leases", revocations);
    }
    line.fact("grants", traffic.grants);
    line.fact("holders met", met.iter().map(|met| met.held).sum::<usize>());
    line.fact("calls met", met.iter().map(|met| met.under_way).sum::<usize>());
    line.fact("writes refused", count(|record| record.result == Came::Refused));
    let lost = count(|record| record.op == Op::IsHeld && record.result == Came::No);
    line.fact("guards lost", lost);
    if let Some(closest) = closest(&records, &granted) {
        line.fact("closest", format!("{:.0?} from the last claim of one to the next one's grant", closest));
    }
    if row == "parted" && lost < faults.len() / 10 {
        line.violate([format!("not vacuous: {lost} guards were lost")]);
    }
    line.fact(
        "failed acquires",
        count(|record| record.op == Op::Acquire && matches!(record.result, Came::Error(_))),
    );
    Ok(line)
}

/// The shortest time between the last true `is_held` of a guard that was lost and the return of the next acquire.
fn closest(records: &[Record], granted: &[Grant]) -> Option<Duration> {
    let lost: BTreeSet<(&str, u64)> = records
        .iter()
        .filter(|record| record.op == Op::IsHeld && record.result == Came::No)
        .filter_map(|record| Some((record.name.as_str(), record.token?)))
        .collect();
    let pairs = granted.windows(2).filter_map(|pair| match pair {
        [a, b] if a.name == b.name && lost.contains(&(a.name.as_str(), a.token)) => {
            Some(b.known.saturating_sub(a.last_true?))
        }
        _ => None,
    });
    pairs.min().map(Duration::from_nanos)
}

/// Waits, and tells when that was over.
pub(super) fn pause(span: Duration) -> u64 {
    std::thread::sleep(span);
    now()
}
