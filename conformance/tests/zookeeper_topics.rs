//! Topics on a ZooKeeper server: what they cost, and what restarts, losses and others can do to them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed assumption here is a failed test

mod zookeeper_server;

use std::time::Duration;

use conformance::proxy::{Loss, Proxy};
use conformance::servers::Zookeeper;
use conformance::{unique, within};
use futures_util::future::join_all;
use tooz_core::{
    Channel, Coordinator, Delivery, ErrorKind, From, Message, Registry, Retention, Subscription, Topic,
};
use tooz_zookeeper::ZookeeperDriver;
use zookeeper_client::{Acls, Client, CreateMode, Error};

use zookeeper_server::server;
use zookeeper_server::steps::*;

/// Long enough that no beat falls into what is counted.
const LONG: Duration = Duration::from_secs(600);
/// The bucket that is closed with its next message.
const BUCKET: u64 = 256;

/// A server that grants sessions without beats.
fn patient() -> Zookeeper {
    Zookeeper::plan().option("maxSessionTimeout", "900000").start()
}

async fn connect(url: &str, member: &str, ttl: Duration) -> Coordinator {
    let registry = Registry::new().with(ZookeeperDriver::new());
    registry.builder(url).member(member).ttl(ttl).connect().await.unwrap()
}

async fn message(reading: &mut Subscription) -> Message {
    match within("a message", reading.next()).await.unwrap() {
        Delivery::Message(message) => message,
        other => panic!("no message but {other:?}"),
    }
}

async fn next(reading: &mut Subscription) -> String {
    match within("a delivery", reading.next()).await.unwrap() {
        Delivery::Message(message) => String::from_utf8(message.payload.to_vec()).unwrap(),
        Delivery::Lagged { missed } => format!("missed {missed}"),
        Delivery::Reset => "reset".to_owned(),
    }
}

async fn is_quiet(reading: &mut Subscription) -> bool {
    tokio::time::timeout(Duration::from_millis(50), reading.next()).await.is_err()
}

async fn publish_all(topic: &Topic, numbers: std::ops::Range<u64>) {
    let all = numbers.map(|number| async move { topic.publish(number.to_string()).await.unwrap() });
    join_all(all).await;
}

/// The topic's directory, as a client sees it that knows nothing of us.
fn root(space: &str) -> String {
    format!("/{space}/tooz-rs/tooz/topics/config")
}

/// A node of a stranger's.
async fn put(client: &Client, path: &str, data: &[u8]) {
    client.create(path, data, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await.unwrap();
}

async fn children(client: &Client, path: &str) -> Vec<String> {
    match client.list_children(path).await {
        Err(Error::NoNode) => Vec::new(),
        listed => listed.unwrap(),
    }
}

/// The directory of the newest messages.
async fn newest_bucket(client: &Client, space: &str) -> String {
    let (name, _) = client.get_data(&format!("{}/count", root(space))).await.unwrap();
    format!("{}/m/{}", root(space), String::from_utf8(name).unwrap())
}

/// As if what was let go of by now had been so long ago.
async fn let_time_pass(client: &Client, space: &str) {
    let head = format!("{}/head", root(space));
    let (text, _) = client.get_data(&head).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let words: Vec<&str> = text.split(' ').collect();
    let long_ago = format!("{} {} {} {} 1", words[0], words[1], words[2], words[1]);
    client.set_data(&head, long_ago.as_bytes(), None).await.unwrap();
}

#[tokio::test]
async fn a_publish_is_one_transaction_and_who_listens_sends_nothing_until_a_push() {
    let zookeeper = patient();
    let (says, hears) = (Proxy::zookeeper(zookeeper.port()), Proxy::zookeeper(zookeeper.port()));
    let a = connect(&prompt_url(says.port(), "count"), "a", LONG).await;
    let b = connect(&prompt_url(hears.port(), "count"), "b", LONG).await;
    let topic = a.topic("config");
    topic.publish("first").await.unwrap();
    let mut all = Vec::new();
    for _ in 0..10 {
        let mut reading = b.topic("config").subscribe(From::Beginning).await.unwrap();
        assert_eq!(next(&mut reading).await, "first");
        assert!(is_quiet(&mut reading).await);
        all.push(reading);
    }

    let before = (says.counts(), hears.counts());
    topic.publish("second").await.unwrap();
    let said = says.counts().since(&before.0);
    assert_eq!((said.requests, said.trips, said.command("multi")), (1, 1, 1), "{said:?}");
    for reading in &mut all {
        assert_eq!(next(reading).await, "second");
        assert!(is_quiet(reading).await);
    }
    let heard = hears.counts().since(&before.1);
    assert_eq!(heard.pushes, 1, "one push serves all: {heard:?}");
    assert_eq!(heard.command("sync"), 10, "each fetches once: {heard:?}");
    // Of a fetch: whether the bucket stands, and whether the message before is the one it was. And one watch for all.
    assert_eq!(heard.command("exists"), 10 * 2 + 1, "{heard:?}");
    assert_eq!(heard.requests, 10 * 6 + 1, "{heard:?}");

    let before = hears.counts();
    for reading in &mut all {
        assert!(is_quiet(reading).await);
    }
    assert_eq!(hears.counts().since(&before).requests, 0, "an idle subscriber asks");
}

/// Publishers are in each other's way only where a bucket ends, and what fails there means that others went on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishers_do_not_hold_each_other_up() {
    const EACH: u64 = 300;
    let proxy = Proxy::zookeeper(server().port());
    let url = url(proxy.port(), &unique("crowd"));
    let mut coords = Vec::new();
    for member in ["a", "b", "c", "d"] {
        let coord = connect(&url, member, TTL).await;
        coord.topic("config").publish("first").await.unwrap();
        coords.push(coord);
    }
    let before = proxy.counts();
    join_all(coords.iter().map(async |coord| {
        let topic = coord.topic("config");
        for _ in 0..EACH {
            topic.publish("x").await.unwrap();
        }
    }))
    .await;
    let (spent, published) = (proxy.counts().since(&before).command("multi"), 4 * EACH);
    assert!(spent <= published + published / 20, "{spent} transactions for {published} messages");

    let before = proxy.counts();
    publish_all(&coords[0].topic("config"), 0..4 * BUCKET).await;
    let (spent, published) = (proxy.counts().since(&before).command("multi"), 4 * BUCKET);
    assert!(spent <= published + 8, "{spent} transactions for {published} messages on their way at once");

    let mut reading = coords[1].topic("config").subscribe(From::Beginning).await.unwrap();
    for number in 1..=4 + 4 * EACH + published {
        assert_eq!(message(&mut reading).await.offset.number(), number);
    }
}

/// Reading on lists nothing, whatever is retained.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_lists_nothing_while_it_keeps_up() {
    let proxy = Proxy::zookeeper(server().port());
    let space = unique("listing");
    let a = connect(&url(server().port(), &space), "a", TTL).await;
    let b = connect(&url(proxy.port(), &space), "b", TTL).await;
    let topic = a.topic("config");
    publish_all(&topic, 0..2 * BUCKET + 9).await;
    let mut reading = b.topic("config").subscribe(From::Now).await.unwrap();
    let before = proxy.counts();
    for number in 0..50 {
        topic.publish(number.to_string()).await.unwrap();
        assert_eq!(next(&mut reading).await, number.to_string());
    }
    let passed = proxy.counts().since(&before);
    // Of the few buckets, where one ends; never of messages or ids.
    assert!(passed.command("getChildren") <= 1, "{passed:?}");
    assert!(passed.bytes_down < 50 * 2_000, "{passed:?}");
}

/// Where a bucket ends the next message is in another one than whoever keeps up expects.
#[tokio::test]
async fn a_subscriber_that_keeps_up_misses_nothing_where_a_bucket_ends() {
    let space = unique("end");
    let a = connect(&url(server().port(), &space), "a", TTL).await;
    let b = connect(&url(server().port(), &space), "b", TTL).await;
    let topic = a.topic("config");
    publish_all(&topic, 0..BUCKET - 5).await;
    let mut reading = b.topic("config").subscribe(From::Now).await.unwrap();
    for number in 0..20 {
        topic.publish(number.to_string()).await.unwrap();
        assert_eq!(next(&mut reading).await, number.to_string());
    }
    assert!(is_quiet(&mut reading).await);
}

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

/// Of what is beyond the retention the large bodies go first; messages and ids some minutes later, by buckets.
#[tokio::test]
async fn bodies_of_what_was_let_go_of_go_at_once_and_ids_later() {
    let space = unique("retention");
    let (coord, strange) = (connect(&url(server().port(), &space), "a", TTL).await, stranger().await);
    let topic = coord.topic("config").retain(Retention { count: 10, age: LONG });
    for number in 0..20 {
        topic.publish(vec![number; 3_000]).await.unwrap();
    }
    publish_all(&topic, 0..2 * BUCKET).await;
    topic.trim().await.unwrap();
    let count = async |below: &str| children(&strange, &format!("{}/{below}", root(&space))).await.len();
    let published = 20 + 2 * usize::try_from(BUCKET).unwrap();
    assert_eq!(count("i").await, published, "ids are known for some minutes");
    let bodies = children(&strange, &format!("{}/p", root(&space))).await;
    for bucket in &bodies {
        assert_eq!(count(&format!("p/{bucket}")).await, 0, "bodies go at once");
    }
    assert_eq!(count("m").await, 3);

    let_time_pass(&strange, &space).await;
    assert_eq!(topic.trim().await.unwrap(), 0);
    assert_eq!(count("m").await, 1, "the bucket of the newest stays");
    assert!(count("i").await <= usize::try_from(BUCKET).unwrap());
    assert_eq!(count("p").await, 0);
    let mut reading = topic.subscribe(From::Beginning).await.unwrap();
    for number in 2 * BUCKET - 10..2 * BUCKET {
        assert_eq!(next(&mut reading).await, number.to_string());
    }
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

async fn remove_all(client: &Client, path: &str) {
    let mut doomed = vec![path.to_owned()];
    let mut at = 0;
    while at < doomed.len() {
        let below = children(client, &doomed[at]).await;
        let parent = doomed[at].clone();
        doomed.extend(below.into_iter().map(|child| format!("{parent}/{child}")));
        at += 1;
    }
    for path in doomed.iter().rev() {
        client.delete(path, None).await.unwrap();
    }
}

/// With credentials everything of a topic is its makers' alone.
#[tokio::test]
async fn topics_are_their_makers_alone() {
    let space = unique("acl");
    let address = format!("u:secret@127.0.0.1:{}", server().port());
    let coord = connect(&format!("zookeeper://{address}?chroot=/{space}"), "a", TTL).await;
    coord.topic("config").publish(vec![b'x'; 100_000]).await.unwrap();
    coord.group("blue").send("b", "letter").await.unwrap();
    let strange = stranger().await;
    let mut doors = vec![format!("/{space}/tooz-rs/tooz")];
    for path in ["count", "head", "i", "m", "p"] {
        doors.push(format!("{}/{path}", root(&space)));
    }
    for path in doors {
        assert_eq!(strange.get_data(&path).await.unwrap_err(), Error::NoAuth, "{path}");
    }
}

/// Whoever may write where topics are made may make false ones.
#[tokio::test]
async fn a_directory_of_topics_that_anyone_may_change_is_warned_about() {
    let (space, strange) = (unique("open"), stranger().await);
    let own = format!("/{space}/tooz-rs/tooz");
    let anyone = CreateMode::Persistent.with_acls(Acls::anyone_all());
    strange.mkdir(&format!("{own}/topics"), &anyone).await.unwrap();
    strange.set_data(&own, b"tooz-zookeeper 1", None).await.unwrap();
    let address = format!("u:secret@127.0.0.1:{}", server().port());
    let coord = connect(&format!("zookeeper://{address}?chroot=/{space}"), "a", TTL).await;
    let warnings = coord.profile().warnings.clone();
    let open = warnings.iter().filter(|warning| warning.contains("anyone may change")).collect::<Vec<_>>();
    assert_eq!(open.len(), 1, "{warnings:?}");
    assert!(open[0].contains("/topics"), "{warnings:?}");
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
    assert_eq!(a.topic("config").last().await.unwrap(), Some(second));
    zookeeper.rejoin(follower);
    assert_eq!(within("the answer of the follower", asking).await.unwrap(), Some(second));
    let mut reading = within("the answer of the follower", reading).await.unwrap();
    a.topic("config").publish("third").await.unwrap();
    assert_eq!(next(&mut reading).await, "third");
}
