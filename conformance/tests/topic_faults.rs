//! Topics over real stores whose lines break, whose servers and subscribers are restarted, whose publishers are
//! killed, and whose subscribers do not read.
//!
//! `TOOZ_ROUNDS=100` loses so many answers and kills so many publishers; with `TOOZ_ROUNDS=256` a subscriber
//! that does not read is pushed 256 MiB.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test
#![allow(clippy::print_stdout)] // figures are part of the result

use std::time::Duration;

use conformance::peers::Peer;
use conformance::proxy::{Loss, Proxy};
use conformance::servers::redis::Fsync;
use conformance::servers::{Etcd, Redis, Zookeeper};
use conformance::volume::rounds;
use conformance::within;
use serde_json::json;
use tooz_core::{Coordinator, Delivery, From, Message, Offset, Subscription};

/// A time to live of three seconds: a lost answer is asked for again after half a second.
async fn connect(url: &str, member: &str) -> Coordinator {
    tooz::registry().builder(url).member(member).ttl(Duration::from_secs(3)).connect().await.unwrap()
}

async fn message(reading: &mut Subscription) -> Message {
    match within("a message", reading.next()).await.unwrap() {
        Delivery::Message(message) => message,
        other => panic!("no message but {other:?}"),
    }
}

async fn nothing_follows(reading: &mut Subscription) {
    let next = tokio::time::timeout(Duration::from_millis(100), reading.next()).await;
    assert!(next.is_err(), "{next:?}");
}

/// Requests and answers get lost and lines are reset, for who publishes and who reads: every message is there
/// once, at the place that its publisher was told.
async fn lost_answers_make_no_second_message(direct: &str, scheme: &str, proxy: &Proxy) {
    let shaky = format!("{scheme}://{}", proxy.address());
    let (publisher, reader) = (connect(&shaky, "publisher").await, connect(direct, "reader").await);
    let mut steady = reader.topic("news").subscribe(From::Beginning).await.unwrap();
    let shaken = publisher.topic("news");
    let mut shaken = shaken.subscribe(From::Beginning).await.unwrap();
    let topic = publisher.topic("news");
    let losses = rounds(4);
    for number in 0..losses {
        let text = format!("message {number:06}.");
        proxy.lose_next(if number % 2 == 0 { Loss::Reply } else { Loss::Request }, &text);
        let offset = topic.publish(text.clone()).await.unwrap();
        assert_eq!(offset.number(), number + 1, "{text}");
        for reading in [&mut steady, &mut shaken] {
            let message = message(reading).await;
            assert_eq!((message.payload.as_ref(), message.offset), (text.as_bytes(), offset));
        }
    }

    let publishing: Vec<_> = (0..4)
        .map(|task| {
            let topic = topic.clone();
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0..50 {
                    let text = format!("{task} {number}");
                    let offset = topic.publish(text.clone()).await.unwrap();
                    acknowledged.push((offset, text));
                }
                acknowledged
            })
        })
        .collect();
    let mut seen = Vec::new();
    for number in 0..200 {
        let message = message(&mut shaken).await;
        assert_eq!(message.offset.number(), losses + number + 1);
        seen.push((message.offset, String::from_utf8(message.payload.to_vec()).unwrap()));
        if number % 40 == 20 {
            proxy.reset();
        }
    }
    let mut acknowledged = Vec::new();
    for task in publishing {
        acknowledged.extend(task.await.unwrap());
    }
    acknowledged.sort_by_key(|(offset, _)| offset.number());
    assert_eq!(acknowledged, seen);
    for (offset, _) in seen {
        assert_eq!(message(&mut steady).await.offset, offset);
    }
    nothing_follows(&mut steady).await;
    nothing_follows(&mut shaken).await;
    publisher.close().await.unwrap();
    reader.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_make_no_second_message_on_redis() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    lost_answers_make_no_second_message(&redis.url(), "redis", &proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_make_no_second_message_on_etcd() {
    let etcd = Etcd::start();
    let proxy = Proxy::grpc(etcd.node().port());
    lost_answers_make_no_second_message(&etcd.url(), "etcd", &proxy).await;
}

/// Whoever kept an offset goes on after it, with another process, whatever ended in between; and a subscriber
/// that lives through it misses nothing either.
async fn reading_goes_on_after_the_offset(url: &str, restart: impl Fn()) {
    let mut kept = None::<String>;
    let mut published = 0;
    let survivor = connect(url, "survivor").await;
    let mut surviving = survivor.topic("news").subscribe(From::Beginning).await.unwrap();
    for round in 0..3 {
        let publisher = connect(url, "publisher").await;
        for _ in 0..20 {
            published += 1;
            let offset = publisher.topic("news").publish(published.to_string()).await.unwrap();
            assert_eq!(offset.number(), published, "round {round}");
        }
        publisher.close().await.unwrap();

        let reader = connect(url, "reader").await;
        let from = kept.map_or(From::Beginning, |kept| From::After(kept.parse::<Offset>().unwrap()));
        let mut reading = reader.topic("news").subscribe(from).await.unwrap();
        // It reads a part and keeps where it was; the next one begins with what is left.
        let (first, last) = (if round == 0 { 1 } else { published - 29 }, published - 10);
        let mut at = None;
        for number in first..=last {
            let message = message(&mut reading).await;
            assert_eq!((message.offset.number(), message.payload), (number, number.to_string().into()));
            at = Some(message.offset.to_string());
        }
        kept = at;
        drop(reading);
        reader.close().await.unwrap();
        restart();
    }
    for number in 1..=published {
        assert_eq!(message(&mut surviving).await.offset.number(), number);
    }
    let again = survivor.topic("news").publish("after it all").await.unwrap();
    assert_eq!((message(&mut surviving).await.offset, again.number()), (again, published + 1));
    survivor.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_goes_on_after_a_restart_of_redis() {
    let redis = Redis::plan().append_only(Fsync::Always).start();
    reading_goes_on_after_the_offset(&redis.url(), || {
        redis.kill();
        redis.restart();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_goes_on_after_a_restart_of_etcd() {
    let etcd = Etcd::start();
    reading_goes_on_after_the_offset(&etcd.url(), || {
        etcd.node().process().kill();
        etcd.node().process().restart();
        etcd.healthy();
    })
    .await;
}

/// Here the processes are all there is: others come and go while one stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_goes_on_with_other_processes_over_files() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/store", folder.path().display());
    reading_goes_on_after_the_offset(&url, || {
        let passing = Peer::rust(env!("CARGO_BIN_EXE_peer"), &url, "passing");
        passing.ask("subscribe", json!({ "topic": "news" }));
        passing.kill();
    })
    .await;
}

/// Publishers are killed in the midst of large messages: what is there is whole, and in one order without gaps.
fn killed_publishers_leave_whole_messages(url: &str) {
    const BYTES: usize = 700_000;
    let program = env!("CARGO_BIN_EXE_peer");
    let kills = rounds(4);
    for kill in 0..kills {
        let publisher = Peer::rust(program, url, &format!("publisher-{kill}"));
        let mut endless =
            publisher.begin("publish", json!({ "topic": "news", "count": 1_000_000, "bytes": BYTES }));
        // Another moment each time; the process is in the midst of something whenever it comes.
        std::thread::sleep(Duration::from_millis(60 + kill * 37 % 90));
        assert!(!endless.is_answered());
        publisher.kill();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let coord = connect(url, "reader").await;
        let end = coord.topic("news").publish("end").await.unwrap().number();
        assert!(end > kills, "{end} messages of {kills} publishers prove nothing");
        let mut reading = coord.topic("news").subscribe(From::Beginning).await.unwrap();
        let mut of_sender = None;
        for number in 1..end {
            let message = message(&mut reading).await;
            let byte = message.payload.first().copied().unwrap();
            assert!(message.offset.number() == number && message.payload.len() == BYTES);
            assert!(message.payload.iter().all(|other| *other == byte), "message {number} is torn");
            // Each publisher's own are in its order, without a gap and none twice.
            let expected = match &of_sender {
                Some((sender, last)) if *sender == message.sender => (last + 1) % 251,
                _ => 0,
            };
            assert_eq!(byte, expected, "message {number} of {}", message.sender);
            of_sender = Some((message.sender, byte));
        }
        coord.close().await.unwrap();
    });
}

#[test]
fn killed_publishers_leave_whole_messages_on_redis() {
    killed_publishers_leave_whole_messages(&Redis::start().url());
}

#[test]
fn killed_publishers_leave_whole_messages_on_etcd() {
    killed_publishers_leave_whole_messages(&Etcd::start().url());
}

/// Here such a message stands in two nodes beside its own.
#[test]
fn killed_publishers_leave_whole_messages_on_zookeeper() {
    // All of it stays in the server's memory.
    let heap = 256 + 32 * u32::try_from(rounds(4)).unwrap();
    killed_publishers_leave_whole_messages(&Zookeeper::plan().heap_mib(heap).start().url());
}

#[test]
fn killed_publishers_leave_whole_messages_over_files() {
    let folder = tempfile::tempdir().unwrap();
    killed_publishers_leave_whole_messages(&format!("file://{}/store", folder.path().display()));
}

/// A subscriber that does not read while so many MiB are published grows by less than 32 MiB, then reads all.
fn who_does_not_read_does_not_grow(url: &str) {
    const MOST_KIB: u64 = 32 * 1024;
    let program = env!("CARGO_BIN_EXE_peer");
    let (slow, quick) = (Peer::rust(program, url, "slow"), Peer::rust(program, url, "quick"));
    let publish = |count: u64| {
        let asked = json!({ "topic": "news", "count": count, "bytes": 1024 * 1024 });
        let answer = quick.begin("publish", asked).wait_at_most(Duration::from_secs(300));
        answer.result.unwrap();
    };
    let ask = |act: &str, count: u64| slow.ask(act, json!({ "topic": "news", "count": count })).as_u64();
    ask("subscribe", 0);
    publish(2);
    // Now it follows, and has something in its hands.
    assert_eq!(ask("read", 1), Some(1));
    let before = ask("memory", 0).unwrap();
    let mebibytes = rounds(48).max(48);
    publish(mebibytes);
    let idle = ask("memory", 0).unwrap();
    assert!(idle < before + MOST_KIB, "{before} KiB before {mebibytes} MiB were published, {idle} after");
    assert_eq!(ask("read", mebibytes + 1), Some(mebibytes + 2));
    let after = ask("memory", 0).unwrap();
    assert!(after < before + MOST_KIB, "{before} KiB before {mebibytes} MiB were read, {after} after");
    println!("{url}: {before} KiB, {idle} KiB after {mebibytes} MiB were published, {after} KiB when read");
}

#[test]
fn who_does_not_read_does_not_grow_on_redis() {
    who_does_not_read_does_not_grow(&Redis::start().url());
}

#[test]
fn who_does_not_read_does_not_grow_on_etcd() {
    who_does_not_read_does_not_grow(&Etcd::start().url());
}

#[test]
fn who_does_not_read_does_not_grow_on_zookeeper() {
    // The server keeps all of it in memory, and its requests beside it.
    let heap = 256 + 3 * u32::try_from(rounds(48)).unwrap();
    who_does_not_read_does_not_grow(&Zookeeper::plan().heap_mib(heap).start().url());
}

#[test]
fn who_does_not_read_does_not_grow_over_files() {
    let folder = tempfile::tempdir().unwrap();
    who_does_not_read_does_not_grow(&format!("file://{}/store", folder.path().display()));
}
