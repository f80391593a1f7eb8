//! Very much in one process: held locks, waiters, memberships, subscriptions. One beat renews all of it, memory and
//! descriptors stay as they are, and closing is quick.

use std::fs;
use std::time::Duration;

use super::crew::{Orders, Worker};
use super::scene::pause;
use super::{Line, Order, Outcome, Run};
use crate::figures::Samples;

/// Times to live of the row: long enough for a beat that renews so much on a slow machine.
const TTL: Duration = Duration::from_secs(12);
/// Between two looks at the process.
const LOOK: Duration = Duration::from_secs(2);
/// How soon all of it is given back.
const CLOSED: Duration = Duration::from_secs(2);
/// How long the network takes each way.
const DELAY: Duration = Duration::from_millis(10);
/// How many round trips there may be to a beat. A beat is one, whatever it renews; what it finds may ask for another
/// (etcd's lease and its transactions go side by side), and beats are not counted to the half. The pings by which a
/// Redis session hears that its line for news has died are no part of it, and are left out.
const TRIPS: f64 = 2.5;
/// What memory may grow by while nothing happens: allocators give back late.
const GROWTH: u64 = 16 * 1024;
/// So many of the waiters wait for the same lock.
pub(super) const CROWD: u64 = 100;

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("hoarded", order)?;
    let behind = run.store.behind();
    let (direct, url) = (run.store.url(), behind.as_ref().map(|(_, url)| url.clone()));
    let url = url.unwrap_or_else(|| direct.clone());
    let start = |part: &str, url: &str, count: u64| {
        let (folder, name) = (run.folder(), "hoard");
        Worker::start(&Orders { part, member: part, url, ttl: TTL, folder, name, count })
    };
    let holder = start("holder", &direct, order.volume.div_ceil(CROWD))?;
    holder.ready()?;
    let hoarder = start("hoarder", &url, order.volume)?;
    let has = hoarder.hear_within(order.cap)?;
    pause(TTL / 2); // what came last is settled

    if let Some((proxy, _)) = &behind {
        proxy.delay(DELAY); // then what is sent together counts as one trip
    }
    let counts = || behind.as_ref().map(|(proxy, _)| proxy.counts());
    let (before, mut looks) = (counts(), Vec::new());
    let mut waited = Duration::ZERO;
    while waited < order.span {
        looks.push(look(hoarder.id())?);
        pause(LOOK);
        waited += LOOK;
    }
    looks.push(look(hoarder.id())?);
    let after = counts();
    if let Some((proxy, _)) = &behind {
        proxy.delay(Duration::ZERO);
    }

    let mut line = Line::new("hoarded", &order.kind.to_string(), order.volume);
    line.done = order.volume;
    line.fact("has", has);
    line.fact("watched", format!("{waited:?}"));
    if let Some((before, after)) = before.zip(after) {
        let passed = after.since(&before);
        // ZooKeeper's sessions beat four times in a time to live, others three times.
        let beats = waited.as_secs_f64() / TTL.as_secs_f64()
            * if order.kind == super::Kind::Zookeeper { 4.0 } else { 3.0 };
        let pings = passed.commands.get("PING").copied().unwrap_or(0);
        let trips = passed.trips.saturating_sub(pings) as f64 / beats;
        line.fact("trips per beat", format!("{trips:.2}"));
        line.fact("pings per beat", format!("{:.2}", pings as f64 / beats));
        // Shorter than a few beats is no measure.
        let is_long = waited >= TTL * 2;
        line.violate(
            (is_long && trips > TRIPS)
                .then(|| format!("{trips:.2} round trips per beat, of {TRIPS} at most")),
        );
        line.fact("requests per beat", format!("{:.2}", passed.requests as f64 / beats));
        let commands = passed.commands.iter().map(|(name, count)| format!("{name} {count}"));
        line.fact("requests by name", commands.collect::<Vec<_>>().join(" + "));
        line.fact("bytes sent per beat", format!("{:.0}", passed.bytes_up as f64 / beats));
    }
    let (first, last) =
        (looks.first().copied().unwrap_or_default(), looks.last().copied().unwrap_or_default());
    line.fact("memory", format!("{} KiB, then {} KiB", first.memory, last.memory));
    line.fact("open files", format!("{}, then {}", first.files, last.files));
    line.violate((last.memory > first.memory + GROWTH).then_some("memory grew"));
    line.violate((last.files > first.files).then_some("open files grew"));
    let mut hoarder = hoarder;
    hoarder.dismiss();
    let told = hoarder.hear()?;
    let closed = Samples::from_iter(told.parse().map(Duration::from_millis));
    line.fact("closed within", format!("{:.1?}", closed.worst()));
    line.violate(
        (closed.is_empty() || closed.worst() > CLOSED + order.slack)
            .then(|| format!("closing took {told} ms")),
    );
    hoarder.end()?;
    holder.end()?;
    Ok(run.end(line))
}

/// What a process has.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    memory: u64,
    files: usize,
}

fn look(process: u32) -> Outcome<Look> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.ok_or("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
    Ok(Look { memory, files: fs::read_dir(format!("/proc/{process}/fd"))?.count() })
}
