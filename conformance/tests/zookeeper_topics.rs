//! Topics on a ZooKeeper server: what they cost, and what of them is kept how long and for whom.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed assumption here is a failed test

mod zookeeper_server;

use conformance::proxy::Proxy;
use conformance::servers::Zookeeper;
use conformance::{unique, within};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tooz_core::backend::Publication;
use tooz_core::{Channel, From, MessageId, Retention};
use zookeeper_client::{Acls, CreateMode, Error};

use zookeeper_server::server;
use zookeeper_server::steps::*;
use zookeeper_server::topics::*;

/// A server that grants sessions without beats.
fn patient() -> Zookeeper {
    Zookeeper::plan().option("maxSessionTimeout", "900000").start()
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

/// A call may be polled once, before the bucket is known or while it is closed, and then stand still: those after it go on
/// without it, and in order.
#[tokio::test]
async fn a_publish_that_nobody_polls_further_holds_up_no_other() {
    let url = url(server().port(), &unique("parked"));
    let (backend, other) = (open(&url).await, open(&url).await);
    let topics = backend.topics().unwrap();
    let publication = |number: u64| Publication {
        id: MessageId::random(),
        channel: Channel::Topic(name("config")),
        sender: name("a"),
        body: number.to_string().into(),
    };
    other.topics().unwrap().publish(&publication(1)).await.unwrap();
    // The first of the session, and the one that closes the bucket, with one more behind each.
    let standing_still = [2, 3, BUCKET + 1, BUCKET + 2];
    let all: Vec<_> = (2..2 * BUCKET).map(|number| (number, publication(number))).collect();
    let mut parked = Vec::new();
    for (number, publication) in &all {
        let mut publish = topics.publish(publication);
        if standing_still.contains(number) {
            assert!(publish.as_mut().now_or_never().is_none());
            parked.push((number, publish));
        } else {
            assert_eq!(within("a publish", publish).await.unwrap().number(), *number);
        }
    }
    for (number, publish) in parked {
        assert_eq!(within("a publish", publish).await.unwrap().number(), *number);
    }
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
