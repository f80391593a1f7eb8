//! Topics on an etcd server that counts, restarts, is compacted or full, and has foreign keys in it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed assumption here is a failed test

use std::time::Duration;

use conformance::servers::Etcd;
use conformance::within;
use futures_util::FutureExt;
use tooz_core::{Coordinator, Delivery, Effect, ErrorKind, From, Message, Registry, Retention, Subscription};

async fn connect(url: &str, member: &str) -> Coordinator {
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    registry.builder(url).member(member).connect().await.unwrap()
}

async fn message(reading: &mut Subscription) -> Message {
    match within("a message", reading.next()).await.unwrap() {
        Delivery::Message(message) => message,
        other => panic!("no message but {other:?}"),
    }
}

fn metric(etcd: &Etcd, name: &str, method: &str) -> f64 {
    etcd.node().metric(name, &format!("grpc_method=\"{method}\""))
}

/// Transactions, reads, and answers of watches.
fn cost(etcd: &Etcd) -> [f64; 3] {
    [
        metric(etcd, "grpc_server_handled_total", "Txn"),
        metric(etcd, "grpc_server_handled_total", "Range"),
        metric(etcd, "grpc_server_msg_sent_total", "Watch"),
    ]
}

/// Publish 1, idle subscriber 0, and one push for all subscribers of a coordinator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publish_is_one_transaction_and_a_push_serves_all_subscribers() {
    const MESSAGES: u32 = 50;
    let etcd = Etcd::start();
    let (a, b) = (connect(&etcd.url(), "a").await, connect(&etcd.url(), "b").await);
    let topic = a.topic("config");
    topic.publish("first").await.unwrap();
    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(b.topic("config").subscribe(From::Beginning).await.unwrap());
    }
    for reading in &mut all {
        message(reading).await;
        assert!(tokio::time::timeout(Duration::from_millis(50), reading.next()).await.is_err());
    }
    let before = cost(&etcd);
    for reading in &mut all {
        assert!(tokio::time::timeout(Duration::from_millis(100), reading.next()).await.is_err());
    }
    assert_eq!(cost(&etcd), before, "an idle subscriber asks");

    for _ in 0..MESSAGES {
        topic.publish("x").await.unwrap();
    }
    let [txns, reads, pushes] = cost(&etcd);
    let published = f64::from(MESSAGES);
    // Each of the ten may have fetched meanwhile, but nobody polled them.
    assert_eq!((txns - before[0], reads - before[1]), (published, 0.0));
    assert!(pushes - before[2] <= published, "{} pushes", pushes - before[2]);
    for reading in &mut all {
        for _ in 0..MESSAGES {
            message(reading).await;
        }
    }
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// Four publish at the same time: nobody is held up by the others but where a bucket ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_do_not_hold_each_other_up() {
    const EACH: usize = 300;
    let etcd = Etcd::start();
    let mut coords = Vec::new();
    for member in ["a", "b", "c", "d"] {
        let coord = connect(&etcd.url(), member).await;
        coord.topic("config").publish("first").await.unwrap();
        coords.push(coord);
    }
    let before = cost(&etcd)[0];
    let tasks: Vec<_> = coords
        .iter()
        .map(|coord| {
            let topic = coord.topic("config");
            tokio::spawn(async move {
                for _ in 0..EACH {
                    topic.publish("x").await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (spent, published) = (cost(&etcd)[0] - before, 4.0 * 300.0);
    assert!(spent <= published * 1.05, "{spent} transactions for {published} messages");

    let mut reading = coords[0].topic("config").subscribe(From::Beginning).await.unwrap();
    for number in 1..=4 + 4 * EACH as u64 {
        assert_eq!(message(&mut reading).await.offset.number(), number);
    }
    for coord in coords {
        coord.close().await.unwrap();
    }
}

/// Nothing is lost or given twice over a killed server and a compaction, by subscribers that wait and read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_live_through_kill_and_compaction() {
    let etcd = Etcd::start();
    let (a, b) = (connect(&etcd.url(), "a").await, connect(&etcd.url(), "b").await);
    let mut reading = b.topic("config").subscribe(From::Now).await.unwrap();
    for round in 0..3_u32 {
        for part in 0..10 {
            a.topic("config").publish(format!("{round}.{part}")).await.unwrap();
        }
        assert_eq!(message(&mut reading).await.payload, format!("{round}.0"));
        etcd.node().process().kill();
        etcd.node().process().restart();
        etcd.healthy();
        let last = a.topic("config").last().await.unwrap().unwrap();
        etcd.etcdctl(&["compact", &(last.place() >> 20).to_string()]);
        for part in 1..10 {
            assert_eq!(message(&mut reading).await.payload, format!("{round}.{part}"));
        }
    }
    a.close().await.unwrap();
    b.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_messages_and_keeps_what_it_has() {
    let etcd = Etcd::plan().argument("--quota-backend-bytes=4000000").start();
    let coord = connect(&etcd.url(), "a").await;
    let topic = coord.topic("config");
    let mut published = 0;
    let refusal = loop {
        match topic.publish(vec![b'x'; 300_000]).await {
            Ok(offset) => published = offset.number(),
            Err(error) => break error,
        }
        assert!(published < 100, "never full");
    };
    assert_eq!((refusal.kind(), refusal.effect()), (ErrorKind::Exhausted, Effect::None), "{refusal}");
    let mut reading = topic.subscribe(From::Beginning).await.unwrap();
    for number in 1..=published {
        let message = message(&mut reading).await;
        assert_eq!((message.offset.number(), message.payload.len()), (number, 300_000));
    }
}

/// Keys that others put among ours are skipped, and what they write over or remove is told as missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_among_the_messages_are_skipped_and_damage_is_told() {
    let etcd = Etcd::start();
    let coord = connect(&etcd.url(), "a").await;
    let topic = coord.topic("config");
    let mut ids = Vec::new();
    let mut reading = topic.subscribe(From::Now).await.unwrap();
    let root = "/tooz-rs/v1/topic/config";
    for number in 0..6 {
        topic.publish(number.to_string()).await.unwrap();
        ids.push(message(&mut reading).await.id);
        let alien = "0".repeat(32);
        for key in
            [format!("m/0000000000000000/x{number}"), format!("m/0000000000000000/{alien}"), "m/x".into()]
        {
            etcd.etcdctl(&["put", &format!("{root}/{key}"), "alien"]);
        }
    }
    etcd.etcdctl(&["put", &format!("{root}/m/0000000000000000/{}", ids[2]), "written over"]);
    let mut all = topic.subscribe(From::Beginning).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 6 {
        seen.push(match within("the next", all.next()).await.unwrap() {
            Delivery::Message(message) => String::from_utf8(message.payload.to_vec()).unwrap(),
            Delivery::Lagged { missed } => format!("missed {missed}"),
            Delivery::Reset => panic!("the topic is the same"),
        });
    }
    assert_eq!(seen, ["0", "1", "3", "4", "missed 1", "5"]);
    etcd.etcdctl(&["put", &format!("{root}/head"), "alien"]);
    assert_eq!(topic.trim().await.unwrap(), 0);
    coord.close().await.unwrap();
}

/// Puts so many keys that are no messages.
async fn aliens(client: &etcd_client::Client, below: &str, count: usize) {
    let tasks: Vec<_> = (0..count / 120)
        .map(|part| {
            let puts =
                (0..120).map(|n| etcd_client::TxnOp::put(format!("{below}-{part}-{n}"), "alien", None));
            let (mut client, puts) = (client.clone(), puts.collect::<Vec<_>>());
            tokio::spawn(async move { client.txn(etcd_client::Txn::new().and_then(puts)).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// However much that is no message stands in the buckets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_foreign_keys_among_the_messages_stall_no_subscriber_and_no_trim() {
    let etcd = Etcd::start();
    let client = etcd_client::Client::connect([etcd.node().address()], None).await.unwrap();
    let coord = connect(&etcd.url(), "a").await;
    let (topic, one) = (coord.topic("config"), Retention { count: 1, age: Duration::from_secs(3600) });
    let mut reading = topic.subscribe(From::Now).await.unwrap();
    topic.publish("first").await.unwrap();
    let first = message(&mut reading).await;
    // In the order of their keys they stand before, between and after all ids.
    for begin in ["", "8", "x"] {
        aliens(&client, &format!("/tooz-rs/v1/topic/config/m/0000000000000000/{begin}"), 24_000).await;
    }
    topic.publish("second").await.unwrap();
    assert_eq!(message(&mut reading).await.payload, "second");
    let mut all = topic.subscribe(From::Beginning).await.unwrap();
    for expected in ["first", "second"] {
        assert_eq!(message(&mut all).await.payload, expected);
    }
    let mut after = topic.subscribe(From::After(first.offset)).await.unwrap();
    assert_eq!(message(&mut after).await.payload, "second");

    assert_eq!(coord.topic("config").retain(one).trim().await.unwrap(), 1);
    topic.publish("third").await.unwrap();
    assert_eq!(coord.topic("config").retain(one).trim().await.unwrap(), 1);
    let mut all = topic.subscribe(From::Beginning).await.unwrap();
    assert_eq!(message(&mut all).await.payload, "third");
    coord.close().await.unwrap();
}

/// However large it is: all of it together is more than one answer may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_foreign_keys_among_the_messages_stall_no_subscriber_and_no_trim() {
    let etcd = Etcd::start();
    let mut client = etcd_client::Client::connect([etcd.node().address()], None).await.unwrap();
    let coord = connect(&etcd.url(), "a").await;
    let topic = coord.topic("config");
    topic.publish("first").await.unwrap();
    for n in 0..48 {
        let key = format!("/tooz-rs/v1/topic/config/m/0000000000000000/x{n}");
        client.put(key, vec![b'x'; 1_500_000], None).await.unwrap();
    }
    topic.publish("second").await.unwrap();
    let mut all = topic.subscribe(From::Beginning).await.unwrap();
    let first = message(&mut all).await;
    assert_eq!((first.payload, message(&mut all).await.payload), ("first".into(), "second".into()));
    let mut after = topic.subscribe(From::After(first.offset)).await.unwrap();
    assert_eq!(message(&mut after).await.payload, "second");
    let one = Retention { count: 1, age: Duration::from_secs(3600) };
    assert_eq!(coord.topic("config").retain(one).trim().await.unwrap(), 1);
    coord.close().await.unwrap();
}

/// A subscriber that read the channel before does not expect the new one to begin where the old one ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_was_forgotten_is_read_from_its_new_beginning_by_who_knew_it() {
    let etcd = Etcd::start();
    let (a, b) = (connect(&etcd.url(), "a").await, connect(&etcd.url(), "b").await);
    let one = Retention { count: 1, age: Duration::from_secs(3600) };
    let topic = a.topic("config").retain(one);
    for _ in 0..10 {
        topic.publish("old").await.unwrap();
    }
    topic.trim().await.unwrap();
    let mut all = topic.subscribe(From::Beginning).await.unwrap();
    assert_eq!(message(&mut all).await.offset.number(), 10);
    drop(all);
    etcd.etcdctl(&["del", "--prefix", "/tooz-rs/v1/topic/config/"]);
    for number in 1..=3_u8 {
        b.topic("config").publish(vec![number]).await.unwrap();
    }
    let mut all = topic.subscribe(From::Beginning).await.unwrap();
    for number in 1..=3_u8 {
        assert_eq!(message(&mut all).await.payload[0], number);
    }
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// A body that is gone costs its message, and none of those that did not fit beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_read_takes_no_other_along() {
    let etcd = Etcd::start();
    let coord = connect(&etcd.url(), "a").await;
    let topic = coord.topic("config");
    let mut reading = topic.subscribe(From::Now).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..4 {
        topic.publish(vec![number; 600 * 1024]).await.unwrap();
        ids.push(message(&mut reading).await.id);
    }
    etcd.etcdctl(&["del", &format!("/tooz-rs/v1/topic/config/b/0000000000000000/{}", ids[0])]);
    let mut all = topic.subscribe(From::Beginning).await.unwrap();
    for number in 1..4 {
        assert_eq!(message(&mut all).await.payload[0], number);
    }
    coord.close().await.unwrap();
}

/// Of what is beyond the retention the large bodies go first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_what_was_let_go_of_go_at_once_and_ids_are_known_on() {
    let etcd = Etcd::start();
    let coord = connect(&etcd.url(), "a").await;
    let retention = Retention { count: 10, age: Duration::from_secs(3600) };
    let topic = coord.topic("config").retain(retention);
    for _ in 0..300 {
        topic.publish(vec![b'x'; 3000]).await.unwrap();
    }
    topic.trim().await.unwrap();
    let count = |below: &str| {
        let keys =
            etcd.etcdctl(&["get", &format!("/tooz-rs/v1/topic/config/{below}"), "--prefix", "--keys-only"]);
        keys.lines().filter(|line| !line.is_empty()).count()
    };
    assert_eq!(count("b/"), 10, "bodies go at once");
    assert_eq!((count("m/"), count("i/")), (300, 300), "ids are known for some minutes");
    coord.close().await.unwrap();
}

/// Says that the messages of a bucket are so old that nobody asks for their ids any more.
async fn grow_old(etcd: &Etcd, bucket: u64) {
    let mut client = etcd_client::Client::connect([etcd.node().address()], None).await.unwrap();
    let below = format!("/tooz-rs/v1/topic/config/m/{bucket:016x}/");
    let options = etcd_client::GetOptions::new().with_prefix();
    let found = client.get(below, Some(options)).await.unwrap();
    assert_eq!(found.kvs().len(), 128, "a bucket is full");
    for kv in found.kvs() {
        // A msgpack array: the sender "a", then the time in milliseconds.
        let mut value = kv.value().to_vec();
        assert_eq!(value[..4], [0x94, 0xa1, b'a', 0xcf]);
        let written = u64::from_be_bytes(value[4..12].try_into().unwrap());
        value[4..12].copy_from_slice(&(written - 601_000).to_be_bytes());
        // Anew: what is written over is not believed.
        client.delete(kv.key(), None).await.unwrap();
        client.put(kv.key(), value, None).await.unwrap();
    }
}

/// Whole buckets go once all in them was let go of long ago: messages, bodies and ids, and none of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_buckets_are_removed_as_a_whole_and_the_count_goes_on() {
    let etcd = Etcd::start();
    let coord = connect(&etcd.url(), "a").await;
    let everything = Retention { count: u64::MAX, age: Duration::from_secs(86_400) };
    let publisher = coord.topic("config").retain(everything);
    let mut fifth = None;
    for number in 1..=300_u32 {
        let offset = publisher.publish(number.to_string()).await.unwrap();
        fifth = if number == 5 { Some(offset) } else { fifth };
    }
    let count = |below: &str| {
        let keys =
            etcd.etcdctl(&["get", &format!("/tooz-rs/v1/topic/config/{below}"), "--prefix", "--keys-only"]);
        keys.lines().filter(|line| !line.is_empty()).count()
    };
    let buckets = || [0, 1, 2].map(|bucket| count(&format!("m/{bucket:016x}/")));
    let topic = coord.topic("config").retain(Retention { count: 10, ..everything });
    assert_eq!(topic.trim().await.unwrap(), 290);
    assert_eq!((buckets(), count("i/")), ([128, 128, 44], 300), "too young to go");

    // The second is old and the first is not: they go in their order.
    grow_old(&etcd, 1).await;
    assert_eq!(topic.trim().await.unwrap(), 0);
    assert_eq!(buckets(), [128, 128, 44]);
    grow_old(&etcd, 0).await;
    assert_eq!(topic.trim().await.unwrap(), 0);
    assert_eq!((buckets(), count("i/")), ([0, 0, 44], 44));

    let mut reading = topic.subscribe(From::After(fifth.unwrap())).await.unwrap();
    match within("the gap", reading.next()).await.unwrap() {
        Delivery::Lagged { missed } => assert_eq!(missed, 285),
        other => panic!("no gap but {other:?}"),
    }
    let next = publisher.publish("301").await.unwrap();
    for number in 291..=301_u64 {
        let message = message(&mut reading).await;
        assert_eq!((message.offset.number(), message.payload), (number, number.to_string().into()));
    }
    assert_eq!(next.number(), 301);
    // The one that is being written is never removed.
    assert_eq!(coord.topic("config").retain(Retention { count: 0, ..everything }).trim().await.unwrap(), 11);
    assert_eq!(publisher.publish("302").await.unwrap().number(), 302);
    coord.close().await.unwrap();
}

/// Whatever others did to the messages of a bucket: with it go the ids of those that were written over or removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ids_of_messages_that_were_written_over_or_removed_go_with_their_bucket() {
    let etcd = Etcd::start();
    let coord = connect(&etcd.url(), "a").await;
    let everything = Retention { count: u64::MAX, age: Duration::from_secs(86_400) };
    let publisher = coord.topic("config").retain(everything);
    let mut client = etcd_client::Client::connect([etcd.node().address()], None).await.unwrap();
    for number in 1..=300_u32 {
        publisher.publish(number.to_string()).await.unwrap();
    }
    for bucket in [0, 1] {
        grow_old(&etcd, bucket).await;
        let below = format!("/tooz-rs/v1/topic/config/m/{bucket:016x}/");
        let options = etcd_client::GetOptions::new().with_prefix();
        let found = client.get(below, Some(options)).await.unwrap();
        let [over, gone] = [0, 1].map(|at| found.kvs()[at].key().to_vec());
        client.put(over, "written over", None).await.unwrap();
        client.delete(gone, None).await.unwrap();
    }
    coord.topic("config").retain(Retention { count: 10, ..everything }).trim().await.unwrap();
    let options = etcd_client::GetOptions::new().with_prefix();
    let ids = client.get("/tooz-rs/v1/topic/config/i/", Some(options)).await.unwrap();
    assert!(ids.kvs().iter().all(|id| id.value() == b"2"), "ids of removed buckets are left");
    assert_eq!(ids.kvs().len(), 44);
    coord.close().await.unwrap();
}

/// As many of a session as may be under way in one channel were begun, and their caller does something else. There is one
/// thread: while they are begun, none of them ends.
#[tokio::test]
async fn publishes_that_nobody_polls_keep_another_no_longer_than_a_call_may_take() {
    let etcd = Etcd::start();
    let coord = connect(&format!("{}?timeout=1", etcd.url()), "a").await;
    let (topic, other) = (coord.topic("config"), coord.topic("other"));
    topic.publish("first").await.unwrap();
    let mut left: Vec<_> = (0..128).map(|_| Box::pin(topic.publish("left"))).collect();
    for publish in &mut left {
        let answer = publish.as_mut().now_or_never();
        assert!(answer.is_none(), "{answer:?}");
    }
    other.publish("another channel's").await.unwrap();
    let refused = within("an answer", topic.publish("one too many")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Unavailable, Effect::None), "{refused}");
    drop(left);
    within("room again", topic.publish("next")).await.unwrap();
    coord.close().await.unwrap();
}
