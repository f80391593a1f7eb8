//! Topics over coordinators.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tooz_core::{
    Cause, Coordinator, Delivery, ErrorKind, From, Incarnation, MAX_PAYLOAD_BYTES, Message, MessageId, Offset,
    Retention, State, Subscription, Topic,
};

use super::names;
use crate::cancel::{after, at_every_await};
use crate::checkers::order;
use crate::history::{Op, Outcome, Recorder, now};
use crate::{World, eventually, within};

/// Longer than any step takes when nothing is in its way.
const IDLE: Duration = Duration::from_millis(300);

/// The next delivery, which must be a message.
pub(super) async fn message(subscription: &mut Subscription) -> Message {
    match within("a message", subscription.next()).await.unwrap() {
        Delivery::Message(message) => message,
        other => panic!("no message but {other:?}"),
    }
}

async fn payloads(subscription: &mut Subscription, count: usize) -> Vec<Bytes> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(message(subscription).await.payload);
    }
    all
}

/// That nothing comes, as far as that can be seen.
pub(super) async fn nothing_comes(subscription: &mut Subscription) {
    let next = tokio::time::timeout(IDLE, subscription.next()).await;
    assert!(next.is_err(), "{next:?}");
}

async fn publish_numbers(topic: &Topic, numbers: std::ops::Range<u64>) -> Vec<Offset> {
    let mut offsets = Vec::new();
    for number in numbers {
        offsets.push(topic.publish(number.to_string()).await.unwrap());
    }
    offsets
}

fn texts(numbers: std::ops::Range<u64>) -> Vec<Bytes> {
    numbers.map(|number| Bytes::from(number.to_string())).collect()
}

/// Whoever subscribed gets each message once, in order, with its sender and offset.
pub(super) async fn a_subscriber_gets_what_is_published(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let mut reading = b.topic("config").subscribe(From::Now).await.unwrap();
    for number in 0..20_u64 {
        let offset = a.topic("config").publish(number.to_string()).await.unwrap();
        let message = message(&mut reading).await;
        assert_eq!((message.offset, message.sender.as_str()), (offset, "a"));
        assert_eq!(message.payload, number.to_string());
    }
    nothing_comes(&mut reading).await;
}

/// From now on, from the beginning, after an offset; from now on also where there is no topic yet.
pub(super) async fn a_subscription_begins_where_it_is_told(world: &World) {
    let coord = world.connect("a").await;
    let topic = coord.topic("config");
    assert_eq!(topic.last().await.unwrap(), None);
    let mut early = topic.subscribe(From::Now).await.unwrap();
    let mut first = topic.subscribe(From::Beginning).await.unwrap();
    let offsets = publish_numbers(&topic, 0..5).await;
    assert_eq!(topic.last().await.unwrap(), offsets.last().copied());
    let mut now = topic.subscribe(From::Now).await.unwrap();
    let mut beginning = topic.subscribe(From::Beginning).await.unwrap();
    let mut later = topic.subscribe(From::After(offsets[2])).await.unwrap();
    let mut last = topic.subscribe(From::After(offsets[4])).await.unwrap();
    publish_numbers(&topic, 5..7).await;

    for all in [&mut early, &mut first, &mut beginning] {
        assert_eq!(payloads(all, 7).await, texts(0..7));
    }
    assert_eq!(payloads(&mut later, 4).await, texts(3..7));
    for new in [&mut now, &mut last] {
        assert_eq!(payloads(new, 2).await, texts(5..7));
        nothing_comes(new).await;
    }
}

/// A publish whose answer is lost, that is sent twice, or whose copy arrives long after, is one message.
pub(super) async fn a_message_sent_again_is_still_one(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let mut reading = b.topic("config").subscribe(From::Beginning).await.unwrap();
    let offsets = publish_numbers(&a.topic("config"), 0..100).await;
    for (number, offset) in offsets.iter().enumerate() {
        let message = message(&mut reading).await;
        assert_eq!((message.payload, message.offset), (Bytes::from(number.to_string()), *offset));
    }
    nothing_comes(&mut reading).await;
}

/// Several publish at once, several read: one order, gap-free, no message twice, each acknowledged one there.
pub(super) async fn everybody_reads_the_same_order(world: &World) {
    const EACH: u64 = 30;
    let mut publishers = Vec::new();
    for member in ["a", "b", "c"] {
        publishers.push(world.connect(member).await);
    }
    let history = Recorder::in_memory("world");
    let publishing = publishers.iter().map(async |coord: &Coordinator| {
        for number in 0..EACH {
            let called = now();
            let offset = coord.topic("config").publish(format!("{}-{number}", coord.member())).await.unwrap();
            history.publish(coord.member().as_str(), "config", called, offset.number()).unwrap();
        }
    });
    let reading = ["d", "e"].map(async |member: &str| {
        let coord = world.connect(member).await;
        let mut reading = coord.topic("config").subscribe(From::Beginning).await.unwrap();
        for _ in 0..3 * EACH {
            let message = message(&mut reading).await;
            let text = String::from_utf8(message.payload.to_vec()).unwrap();
            history.deliver(member, "config", message.offset.number(), &text).unwrap();
        }
    });
    tokio::join!(futures_util::future::join_all(publishing), futures_util::future::join_all(reading));

    let records = history.records();
    assert_eq!(order(&records), []);
    let delivered = records.iter().filter(|record| record.op == Op::Deliver).count() as u64;
    assert_eq!(delivered, 2 * 3 * EACH);
    assert!(records.iter().all(|record| !matches!(record.result, Outcome::Error(_))));
}

/// Who is too slow for the retention is told how many messages are gone, and gets all others in order.
pub(super) async fn a_slow_reader_is_told_how_much_it_missed(world: &World) {
    const ALL: u64 = 200;
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let topic = a.topic("config").retain(Retention { count: 10, age: Duration::from_secs(3600) });
    let first = topic.publish("0").await.unwrap();
    let mut waiting = b.topic("config").subscribe(From::Now).await.unwrap();
    let mut beginning = b.topic("config").subscribe(From::Beginning).await.unwrap();
    publish_numbers(&topic, 1..ALL).await;
    topic.trim().await.unwrap();
    let mut later = b.topic("config").subscribe(From::After(first)).await.unwrap();

    for (reading, first) in [(&mut waiting, 1), (&mut later, 1), (&mut beginning, 0)] {
        let (mut next, mut gaps) = (first, 0);
        while next < ALL {
            match within("the rest", reading.next()).await.unwrap() {
                Delivery::Lagged { missed } => {
                    assert!(missed > 0);
                    (next, gaps) = (next + missed, gaps + 1);
                }
                Delivery::Message(message) => {
                    assert_eq!(message.payload, next.to_string());
                    next += 1;
                }
                Delivery::Reset => panic!("the topic is the same"),
            }
        }
        assert_eq!((next, gaps), (ALL, 1));
        nothing_comes(reading).await;
    }
    let mut retained = b.topic("config").subscribe(From::Beginning).await.unwrap();
    assert_eq!(payloads(&mut retained, 10).await, texts(ALL - 10..ALL));
}

/// Interleaving 30: an offset from another life of the topic is answered by a reset, then by everything there
/// is; a topic that is not there any more is a reset at once.
pub(super) async fn another_incarnation_is_a_reset(world: &World) {
    let coord = world.connect("a").await;
    let topic = coord.topic("config");
    let alien = Offset::new(Incarnation::from(MessageId::random()), 2, 0);
    let mut reading = topic.subscribe(From::After(alien)).await.unwrap();
    assert_eq!(within("the reset", reading.next()).await.unwrap(), Delivery::Reset);
    nothing_comes(&mut reading).await;
    publish_numbers(&topic, 0..3).await;
    assert_eq!(payloads(&mut reading, 3).await, texts(0..3));

    let mut reading = topic.subscribe(From::After(alien)).await.unwrap();
    assert_eq!(within("the reset", reading.next()).await.unwrap(), Delivery::Reset);
    assert_eq!(payloads(&mut reading, 3).await, texts(0..3));
    nothing_comes(&mut reading).await;
}

/// Publisher and subscriber come back as new processes: the topic counts on, the reader goes on where it was.
pub(super) async fn a_topic_goes_on_for_the_next_process(world: &World) {
    let first = world.connect("a").await;
    let mut reading = first.topic("config").subscribe(From::Beginning).await.unwrap();
    publish_numbers(&first.topic("config"), 0..6).await;
    assert_eq!(payloads(&mut reading, 3).await, texts(0..3));
    let kept = message(&mut reading).await.offset.to_string();
    drop(reading);
    first.close().await.unwrap();

    let next = world.connect("a").await;
    let mut reading = next.topic("config").subscribe(From::After(kept.parse().unwrap())).await.unwrap();
    publish_numbers(&next.topic("config"), 6..8).await;
    assert_eq!(payloads(&mut reading, 4).await, texts(4..8));
}

/// Nothing at all and a mebibyte are carried where the store carries that much; a byte more is refused.
pub(super) async fn payloads_up_to_a_mebibyte_are_carried(world: &World) {
    let coord = world.connect("a").await;
    let topic = coord.topic("config");
    let most = coord.profile().topics.expect("declared").largest_body.min(MAX_PAYLOAD_BYTES);
    let mut reading = topic.subscribe(From::Now).await.unwrap();
    for size in [0, 1, most] {
        topic.publish(vec![b'x'; size]).await.unwrap();
        assert_eq!(message(&mut reading).await.payload.len(), size);
    }
    let refused = topic.publish(vec![b'x'; most + 1]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidValue);
    assert!(refused.to_string().contains(&most.to_string()), "{refused}");
    nothing_comes(&mut reading).await;
}

/// Topics of names of every shape, each with its own messages; impossible names are refused.
pub(super) async fn names_of_every_shape_are_topics_of_their_own(world: &World) {
    let coord = world.connect("a").await;
    for name in names() {
        coord.topic(&name).publish(name.as_str().to_owned()).await.unwrap();
    }
    for name in names() {
        let mut reading = coord.topic(&name).subscribe(From::Beginning).await.unwrap();
        assert_eq!(message(&mut reading).await.payload, name.as_str());
    }
    for bad in [String::new(), "x".repeat(256)] {
        let topic = coord.topic(&bad);
        assert_eq!(topic.publish("").await.unwrap_err().kind(), ErrorKind::InvalidName);
        assert_eq!(topic.subscribe(From::Now).await.unwrap_err().kind(), ErrorKind::InvalidName);
    }
}

/// While nothing is published, a subscriber that waits asks the store for nothing.
pub(super) async fn an_idle_subscriber_costs_no_requests(world: &World) {
    let coord = world.connect("a").await;
    let topic = coord.topic("config");
    topic.publish("x").await.unwrap();
    let mut full = topic.subscribe(From::Beginning).await.unwrap();
    message(&mut full).await;
    let mut empty = coord.topic("other").subscribe(From::Beginning).await.unwrap();
    for reading in [&mut full, &mut empty] {
        nothing_comes(reading).await;
        let before = world.traffic().channel_steps();
        for _ in 0..3 {
            nothing_comes(reading).await;
        }
        let asked = world.traffic().channel_steps() - before;
        // A store whose pushes may be lost may look again after a while; behind a bad network waits end
        // early and requests are repeated.
        let most = if world.is_faulty() { 30 } else { 1 };
        assert!(asked <= most, "{asked} requests while idle");
    }
}

/// A subscription is a stream; when the coordinator closes it fails once as closed and then ends.
pub(super) async fn a_subscription_is_a_stream_that_ends_with_the_coordinator(world: &World) {
    let coord = world.connect("a").await;
    publish_numbers(&coord.topic("config"), 0..3).await;
    let mut read = coord.topic("config").subscribe(From::Beginning).await.unwrap();
    let stream = coord.topic("config").subscribe(From::Beginning).await.unwrap();
    let closing = async {
        let three = payloads(&mut read, 3).await;
        assert_eq!(three, texts(0..3));
        coord.close().await.unwrap();
    };
    let (all, ()) = tokio::join!(within("the end of the stream", stream.collect::<Vec<_>>()), closing);
    let all: Vec<Delivery> = all.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.len(), 3, "{all:?}");
    let end = within("the end", read.next()).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Closed);
}

/// A subscription, also one that waits and is not asked any more, does not keep the session of a coordinator
/// that everybody let go of.
pub(super) async fn a_subscription_does_not_keep_the_session(world: &World) {
    let a = world.connect_loose("a").await;
    let (member, session) = (a.member().clone(), a.session().unwrap());
    let kernel = world.is_kernel().await;
    let mut reading = a.topic("config").subscribe(From::Now).await.unwrap();
    nothing_comes(&mut reading).await;
    let locks = a.profile().locks.is_some();
    let guard = if locks { Some(a.lock("nightly").acquire().await.unwrap()) } else { None };
    let mut state = a.state();
    drop(a);
    within("the end of the coordinator", state.wait_for(|state| *state == State::Closed)).await.unwrap();
    drop(guard);
    world.harness().crash(&member, session, kernel).await;
    if locks {
        let b = world.connect("b").await;
        drop(within("the lock of an orphan", b.lock("nightly").acquire()).await.unwrap());
    }
    let end = within("the end", reading.next()).await.unwrap_err();
    assert_eq!(end.kind(), ErrorKind::Closed);
    assert!(end.to_string().contains(&Cause::Orphaned.to_string()), "{end}");
}

/// Dropping a read anywhere loses no message and gives none twice.
pub(super) async fn reading_cut_anywhere_loses_nothing(world: &World) {
    let coord = world.connect("a").await;
    let topic = coord.topic("config");
    let mut reading = topic.subscribe(From::Beginning).await.unwrap();
    let mut seen = Vec::new();
    for round in 0..12 {
        topic.publish(round.to_string()).await.unwrap();
        for polls in 1..4 {
            if let crate::cancel::Cut::Ended(next) = after(polls, IDLE, reading.next()).await {
                seen.push(next.unwrap());
            }
        }
    }
    while seen.len() < 12 {
        seen.push(within("the rest", reading.next()).await.unwrap());
    }
    nothing_comes(&mut reading).await;
    for (round, delivery) in seen.iter().enumerate() {
        let Delivery::Message(message) = delivery else { panic!("no message: {delivery:?}") };
        assert_eq!(message.payload, round.to_string());
    }
    at_every_await(IDLE, || topic.subscribe(From::Beginning), async |cut| drop(cut)).await;
    at_every_await(IDLE, || topic.last(), async |cut| drop(cut)).await;
}

/// A publish that is cut makes one whole message or none.
pub(super) async fn publishing_cut_anywhere_makes_one_message_or_none(world: &World) {
    let coord = world.connect("a").await;
    let topic = coord.topic("config");
    let tries = std::cell::Cell::new(0_u64);
    let again = || {
        tries.set(tries.get() + 1);
        topic.publish(tries.get().to_string())
    };
    let mut acknowledged = Vec::new();
    at_every_await(IDLE, again, async |cut| {
        if let crate::cancel::Cut::Ended(offset) = cut {
            acknowledged.push((tries.get(), offset.unwrap()));
        }
    })
    .await;
    topic.publish("end").await.unwrap();

    let mut reading = topic.subscribe(From::Beginning).await.unwrap();
    let (mut before, mut found) = (Vec::new(), Vec::new());
    loop {
        let message = message(&mut reading).await;
        if message.payload == "end" {
            break;
        }
        let number: u64 = std::str::from_utf8(&message.payload).unwrap().parse().unwrap();
        assert!(!before.contains(&number), "{number} is there twice");
        before.push(number);
        found.push((number, message.offset));
    }
    for one in acknowledged {
        assert!(found.contains(&one), "{one:?} was acknowledged and is not there: {found:?}");
    }
}

/// A subscriber that is cut off for a while gets everything that was published meanwhile.
pub(super) async fn a_cut_off_subscriber_catches_up(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let mut reading = b.topic("config").subscribe(From::Now).await.unwrap();
    publish_numbers(&a.topic("config"), 0..2).await;
    assert_eq!(payloads(&mut reading, 2).await, texts(0..2));
    world.suspend(b.member()).await;
    publish_numbers(&a.topic("config"), 2..9).await;
    world.resume(b.member()).await;
    assert_eq!(payloads(&mut reading, 7).await, texts(2..9));
    eventually("be connected again", async || match b.state().borrow() {
        State::Connected => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
