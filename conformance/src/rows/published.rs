//! Processes publish to one topic and read it while all their connections break, and readers close and connect again
//! to go on where they were: one order, nothing missed, nothing twice.

use std::cell::Cell;
use std::time::Duration;

use tooz_core::Coordinator;

use super::crew::{Orders, Worker, say};
use super::scene::pause;
use super::{Line, Order, Outcome, Run};
use crate::checkers;
use crate::history::{Op, Recorder, merge};
use crate::messages::{publish, read};
use crate::proxy::Proxy;

const PUBLISHERS: u64 = 4;
const READERS: u64 = 4;
const TOPIC: &str = "published";
/// Messages between two breaks, where there are many messages.
const PART: u64 = 400;
/// Breaks where there are few.
const FEW: u64 = 6;
/// Between two looks at what has passed.
const LOOK: Duration = Duration::from_millis(2);

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("published", order)?;
    let each = order.volume.div_ceil(PUBLISHERS);
    let behind = run.store.behind();
    let url = behind.as_ref().map_or_else(|| run.store.url(), |(_, url)| url.clone());
    let start = |part: &str, number: u64, count: u64| {
        let (member, folder) = (format!("{part}-{number}"), run.folder());
        Worker::start(&Orders {
            part,
            member: &member,
            url: &url,
            ttl: order.ttl(),
            folder,
            name: TOPIC,
            count,
        })
    };
    let readers = (0..READERS).map(|number| start("reader", number, each * PUBLISHERS));
    let readers: Vec<Worker> = readers.collect::<Outcome<_>>()?;
    let publishers = (0..PUBLISHERS).map(|number| start("publisher", number, each));
    let publishers: Vec<Worker> = publishers.collect::<Outcome<_>>()?;

    let wanted = breaks_of(each * PUBLISHERS);
    let breaks =
        behind.as_ref().map_or(0, |(proxy, _)| break_all(&run, proxy, wanted, order.volume / wanted));
    let mut connects = 0;
    for reader in &readers {
        connects += reader.hear_within(order.cap)?.parse::<u64>()?;
    }
    readers.into_iter().chain(publishers).try_for_each(Worker::done)?;
    let again = connects.saturating_sub(READERS);

    let records = merge(run.folder())?;
    let count = |op: Op| records.iter().filter(|record| record.op == op).count() as u64;
    let (published, delivered) = (count(Op::Publish), count(Op::Deliver));
    let mut line = Line {
        done: published,
        hits: behind.as_ref().map_or(again, |_| breaks),
        least_hits: behind.as_ref().map_or(wanted * READERS, |_| wanted),
        ..Line::new("published", &order.kind.to_string(), order.volume)
    };
    line.fact("publishers", PUBLISHERS);
    line.fact("readers", READERS);
    line.fact("delivered", delivered);
    line.fact("connections broken", breaks);
    line.fact("readers connected again", again);
    line.violate(checkers::order(&records));
    line.violate(
        (delivered != published * READERS)
            .then(|| format!("{delivered} of {} messages were delivered", published * READERS)),
    );
    Ok(run.end(line))
}

/// Breaks all connections so many times, whenever so many further requests have passed.
fn break_all(run: &Run, proxy: &Proxy, wanted: u64, part: u64) -> u64 {
    let (mut breaks, mut next) = (0, part);
    while breaks < wanted && run.has_time() {
        if proxy.counts().requests >= next {
            proxy.reset();
            breaks += 1;
            next = proxy.counts().requests + part;
        }
        pause(LOOK);
    }
    breaks
}

/// How often all connections are broken in a run of so many messages, and how often each reader connects again.
fn breaks_of(messages: u64) -> u64 {
    (messages / PART).max(FEW)
}

/// A reader's part: reads so many messages by several coordinators, and says how many there were.
pub(super) async fn read_all(
    connect: impl AsyncFn() -> tooz_core::Result<Coordinator>,
    messages: u64,
    recorder: &Recorder,
) -> Outcome<()> {
    let connects = Cell::new(0_u64);
    let counted = async || {
        connects.set(connects.get() + 1);
        connect().await
    };
    read(counted, TOPIC, (messages, breaks_of(messages)), recorder).await?;
    say(&connects.get().to_string())
}

/// A publisher's part.
pub(super) async fn publish_all(coord: &Coordinator, messages: u64, recorder: &Recorder) -> Outcome<()> {
    Ok(publish(coord, TOPIC, messages, recorder).await?)
}
