//! Topics on a ZooKeeper server where answers, publishers and servers are lost, and others write among ours: nothing is
//! torn, told twice or taken for another life.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed assumption here is a failed test

mod zookeeper_server;

use std::time::Duration;

use conformance::proxy::{Loss, Proxy};
use conformance::servers::Zookeeper;
use conformance::{eventually, unique, within};
use tooz_core::{Channel, ErrorKind, From, Retention};

use zookeeper_server::server;
use zookeeper_server::steps::*;
use zookeeper_server::topics::*;

/// Nothing is lost or given twice over a killed server, by subscribers that wait and publishers that go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribers_and_publishers_live_through_a_killed_server() {
    const ROUNDS: u64 = 2;
    const EACH: u64 = 60;
    let zookeeper = Zookeeper::start();
    let url = url(zookeeper.port(), "restart");
    let (a, b) = (connect(&url, "a", LONG).await, connect(&url, "b", LONG).await);
    let mut waiting = b.topic("config").subscribe(From::Now).await.unwrap();
    let mut idle = b.topic("config").subscribe(From::Beginning).await.unwrap();
    for round in 0..ROUNDS {
        let publishing = async {
            for number in round * EACH..(round + 1) * EACH {
                a.topic("config").publish(number.to_string()).await.unwrap();
            }
        };
        let breaking = async {
            assert_eq!(next(&mut waiting).await, (round * EACH).to_string());
            zookeeper.process().kill();
            zookeeper.process().restart();
        };
        tokio::join!(publishing, breaking);
        for number in round * EACH + 1..(round + 1) * EACH {
            assert_eq!(next(&mut waiting).await, number.to_string());
        }
        assert!(is_quiet(&mut waiting).await);
    }
    for number in 0..ROUNDS * EACH {
        assert_eq!(next(&mut idle).await, number.to_string());
    }
    assert!(is_quiet(&mut idle).await);
}

/// The transaction arrived, its answer did not: sent again it is the same message, also where it closed or opened a
/// bucket.
#[tokio::test]
async fn a_message_whose_answer_was_lost_is_found_again_wherever_it_stands() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("lost");
    let sure = connect(&url(server().port(), &space), "sure", TTL).await;
    let risky = open(&url(proxy.port(), &space)).await;
    publish_all(&sure.topic("config"), 0..BUCKET - 6).await;
    let channel = Channel::Topic(name("config"));
    for number in BUCKET - 5..BUCKET + 5 {
        let text = format!("risky-{number}");
        let publication = tooz_core::backend::Publication {
            id: tooz_core::MessageId::random(),
            channel: channel.clone(),
            sender: name("risky"),
            body: text.clone().into(),
        };
        proxy.lose_next_reply_to(&text);
        let topics = risky.topics().unwrap();
        let lost = topics.publish(&publication).await.unwrap_err();
        assert_eq!(lost.effect(), tooz_core::Effect::Unknown, "{lost}");
        let offset = within("publish again", async {
            loop {
                // Until the connection is back.
                if let Ok(offset) = topics.publish(&publication).await {
                    return offset;
                }
            }
        })
        .await;
        assert_eq!(offset.number(), number, "{text}");
        // And long after, from the middle of a bucket.
        if number == BUCKET {
            publish_all(&sure.topic("other"), 0..3).await;
            assert_eq!(topics.publish(&publication).await.unwrap(), offset);
        }
    }
    let mut reading = sure.topic("config").subscribe(From::Beginning).await.unwrap();
    for number in 1..BUCKET + 5 {
        assert_eq!(message(&mut reading).await.offset.number(), number);
    }
    assert!(is_quiet(&mut reading).await);
}

/// A publisher that dies after the parts of a large body and before the message leaves nothing to see, and what it
/// left goes with its bucket.
#[tokio::test]
async fn a_body_without_its_message_is_never_seen_and_goes_with_its_bucket() {
    let proxy = Proxy::zookeeper(server().port());
    let space = unique("torn");
    let (reader, strange) = (connect(&url(server().port(), &space), "r", TTL).await, stranger().await);
    let topic = reader.topic("config").retain(Retention { count: 3, age: LONG });
    topic.publish("first").await.unwrap();
    let doomed = open(&url(proxy.port(), &space)).await;
    let large = |letter: u8| vec![letter; 1024 * 1024];
    let publication = tooz_core::backend::Publication {
        id: tooz_core::MessageId::random(),
        channel: Channel::Topic(name("config")),
        sender: name("doomed"),
        body: large(b'x').into(),
    };
    // The transaction alone says who sends.
    proxy.lose_next(Loss::Request, "doomed");
    doomed.topics().unwrap().publish(&publication).await.unwrap_err();
    assert_eq!(proxy.counts().lost, 1);
    drop(doomed);
    let bucket = newest_bucket(&strange, &space).await.replace("/m/", "/p/");
    let orphans = async || children(&strange, &bucket).await.len();
    assert_eq!(orphans().await, 2, "both parts arrived");

    let mut reading = topic.subscribe(From::Beginning).await.unwrap();
    assert_eq!(next(&mut reading).await, "first");
    assert!(is_quiet(&mut reading).await);
    topic.publish(large(b'y')).await.unwrap();
    let whole = message(&mut reading).await;
    assert_eq!((whole.offset.number(), whole.payload.len()), (2, 1024 * 1024));
    assert!(whole.payload.iter().all(|byte| *byte == b'y'));

    publish_all(&topic, 0..BUCKET + 9).await;
    topic.trim().await.unwrap();
    assert_eq!(orphans().await, 2, "they may still come to a message");
    let_time_pass(&strange, &space).await;
    topic.trim().await.unwrap();
    assert_eq!(orphans().await, 0);
}

/// Nodes that others put among ours are skipped and hold nobody up; what they write over or remove is told as missed.
#[tokio::test]
async fn foreign_nodes_are_skipped_and_damage_is_told() {
    let space = unique("foreign");
    let (coord, strange) = (connect(&url(server().port(), &space), "a", TTL).await, stranger().await);
    let topic = coord.topic("config");
    let mut waiting = topic.subscribe(From::Now).await.unwrap();
    for number in 0..6 {
        topic.publish(number.to_string()).await.unwrap();
        assert_eq!(next(&mut waiting).await, number.to_string());
    }
    let bucket = newest_bucket(&strange, &space).await;
    for path in ["m/alien", "m/0000000000000001-x", "i/alien", "p/alien", "alien"] {
        put(&strange, &format!("{}/{path}", root(&space)), b"alien").await;
    }
    strange.set_data(&format!("{bucket}/m0000000002"), b"written over", None).await.unwrap();
    strange.delete(&format!("{bucket}/m0000000004"), None).await.unwrap();
    let mut all = topic.subscribe(From::Beginning).await.unwrap();
    for expected in ["0", "1", "missed 1", "3", "missed 1", "5"] {
        assert_eq!(next(&mut all).await, expected);
    }

    // Takes a number of ours, and stands where the server wants to put one of the next messages.
    put(&strange, &format!("{bucket}/x"), b"alien").await;
    put(&strange, &format!("{bucket}/m0000000010"), b"alien").await;
    for number in 6..20 {
        topic.publish(number.to_string()).await.unwrap();
    }
    for reading in [&mut waiting, &mut all] {
        let mut seen = Vec::new();
        while seen.len() < 14 {
            let text = next(reading).await;
            assert_ne!(text, "reset");
            seen.extend(text.parse::<u64>());
        }
        assert_eq!(seen, Vec::from_iter(6..20));
        assert!(is_quiet(reading).await);
    }
    assert_ne!(newest_bucket(&strange, &space).await, bucket, "the bucket with the obstacle is left");
    assert_eq!(topic.retain(Retention { count: 2, age: LONG }).trim().await.unwrap() % 2, 0);
}

/// A channel of which something is missing is refused for good, and one that is gone begins anew.
#[tokio::test]
async fn a_lost_topic_is_a_reset_and_half_a_topic_an_error() {
    let space = unique("gone");
    let (coord, strange) = (connect(&url(server().port(), &space), "a", TTL).await, stranger().await);
    let topic = coord.topic("config");
    let mut reading = topic.subscribe(From::Beginning).await.unwrap();
    let before = topic.publish("before").await.unwrap();
    assert_eq!(next(&mut reading).await, "before");

    strange.delete(&format!("{}/count", root(&space)), None).await.unwrap();
    let refused = topic.publish("x").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");

    remove_all(&strange, &root(&space)).await;
    let after = topic.publish("after").await.unwrap();
    assert_eq!(after.number(), 1);
    assert_ne!(after.incarnation(), before.incarnation());
    let mut seen = next(&mut reading).await;
    if seen == "reset" {
        seen = next(&mut reading).await;
    }
    assert_eq!(seen, "after");
}

/// A node that is cut off shows old messages for a while: nobody who asks there is given them for the newest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_on_one_node_is_seen_on_every_other() {
    let zookeeper = Zookeeper::plan().nodes(3).partable().option("syncLimit", "20").start();
    let leader = zookeeper.leader().port();
    let follower = zookeeper.nodes().iter().find(|node| node.port() != leader).unwrap();
    let a = connect(&url(leader, "three"), "a", TTL).await;
    let b = connect(&url(follower.port(), "three"), "b", TTL).await;
    let first = a.topic("config").publish("first").await.unwrap();
    assert_eq!(b.topic("config").last().await.unwrap(), Some(first));

    zookeeper.isolate(follower);
    let second = a.topic("config").publish("second").await.unwrap();
    let (topic, same) = (b.topic("config"), b.topic("config"));
    let asking = tokio::spawn(async move { topic.last().await.unwrap() });
    let reading = tokio::spawn(async move { same.subscribe(From::After(second)).await.unwrap() });
    // As long as the majority takes for fifty answers: one of the node's own would be there by then.
    for _ in 0..50 {
        assert_eq!(a.topic("config").last().await.unwrap(), Some(second));
    }
    zookeeper.rejoin(follower);
    assert_eq!(within("the answer of the follower", asking).await.unwrap(), Some(second));
    let mut reading = within("the answer of the follower", reading).await.unwrap();
    a.topic("config").publish("third").await.unwrap();
    assert_eq!(next(&mut reading).await, "third");
}

/// Somebody removes the place of large bodies: what would be told without its body is not told at all.
#[tokio::test]
async fn a_body_whose_parts_are_not_there_makes_no_message() {
    let space = unique("partless");
    let (coord, strange) = (connect(&url(server().port(), &space), "a", TTL).await, stranger().await);
    let topic = coord.topic("config");
    topic.publish("first").await.unwrap();
    remove_all(&strange, &format!("{}/p", root(&space))).await;

    for _ in 0..2 {
        let refused = topic.publish(vec![b'x'; 700_000]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    }
    assert_eq!(children(&strange, &format!("{}/i", root(&space))).await.len(), 1, "no id is known of it");
    topic.publish("second").await.unwrap();
    let mut reading = topic.subscribe(From::Beginning).await.unwrap();
    for (number, text) in [(1, "first"), (2, "second")] {
        let message = message(&mut reading).await;
        assert_eq!((message.offset.number(), message.payload.as_ref()), (number, text.as_bytes()));
    }
    assert!(is_quiet(&mut reading).await);
}

/// Who last published long ago still has an old bucket in mind, which was removed meanwhile: its large body does not
/// stay behind where no message will ever be.
#[tokio::test]
async fn a_body_written_for_a_removed_bucket_is_not_left_behind() {
    let space = unique("late-body");
    let (coord, strange) = (connect(&url(server().port(), &space), "a", TTL).await, stranger().await);
    let late = connect(&url(server().port(), &space), "late", TTL).await;
    late.topic("config").publish(vec![b'x'; 700_000]).await.unwrap();
    let topic = coord.topic("config").retain(Retention { count: 3, age: LONG });
    publish_all(&topic, 0..BUCKET + 9).await;
    topic.trim().await.unwrap();
    let_time_pass(&strange, &space).await;
    topic.trim().await.unwrap();
    let bodies = async || children(&strange, &format!("{}/p", root(&space))).await;
    assert!(bodies().await.is_empty(), "the first bucket is gone");

    let mut reading = topic.subscribe(From::Now).await.unwrap();
    late.topic("config").publish(vec![b'y'; 700_000]).await.unwrap();
    assert_eq!(message(&mut reading).await.payload.len(), 700_000);
    let bucket = newest_bucket(&strange, &space).await;
    let (left, bucket) = (bodies().await, bucket.rsplit('/').next().unwrap().to_owned());
    assert_eq!(left, [bucket], "bodies stand in the newest bucket alone");
}

/// A server that was left behind answers even `sync` by what it has until it notices, as a leader does that is cut off.
/// Whoever asks it about a newer message is not told that the topic has begun another life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_left_behind_makes_nobody_begin_anew() {
    const PATIENT: Duration = Duration::from_secs(24);
    let start = || Zookeeper::plan().option("maxSessionTimeout", "900000").start();
    let (zookeeper, behind) = (start(), start());
    let proxy = Proxy::bytes(zookeeper.port());
    let a = connect(&url(zookeeper.port(), "left"), "a", PATIENT).await;
    let b = connect(&url(proxy.port(), "left"), "b", PATIENT).await;
    let first = a.topic("config").publish("first").await.unwrap();
    assert_eq!(b.topic("config").last().await.unwrap(), Some(first));

    // The one that is behind knows the session and the first message; the other goes on.
    proxy.refuse();
    proxy.reset();
    zookeeper.process().kill();
    behind.process().kill();
    copy_data(&zookeeper, &behind);
    zookeeper.process().restart();
    behind.process().restart();
    behind.serving();
    let second = within("publish a second", a.topic("config").publish("second")).await.unwrap();

    // Writes need the quorum, and do not get there: the write that asks it names our root and nothing below.
    let path = "/left/tooz-rs/tooz";
    let asks = format!("\0\0\0{}{path}", char::from(u8::try_from(path.len()).unwrap()));
    for _ in 0..100 {
        proxy.lose_next(Loss::Request, &asks);
    }
    proxy.lead_to(behind.port());
    proxy.join();
    let topic = b.topic("config");
    let reading = tokio::spawn(async move { topic.subscribe(From::After(second)).await.unwrap() });
    eventually("see the server that is behind asked", async || {
        let is_asked = reading.is_finished() || proxy.counts().lost > 0;
        is_asked.then_some(()).ok_or_else(|| format!("{:?}", proxy.counts()))
    })
    .await;
    proxy.lead_to(zookeeper.port());
    proxy.reset();
    let mut reading = within("the answer of the right server", reading).await.unwrap();
    a.topic("config").publish("third").await.unwrap();
    assert_eq!(next(&mut reading).await, "third");
}

/// Gives one server what another had when it was killed.
fn copy_data(from: &Zookeeper, to: &Zookeeper) {
    let [from, to] = [from, to].map(|server| server.process().folder().join("data/version-2"));
    std::fs::remove_dir_all(&to).unwrap();
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
