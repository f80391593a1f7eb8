//! Topics as their tests use them: published to, read, and looked at by a client that knows nothing of us.

#![allow(dead_code, unreachable_pub)] // each test binary uses its own
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)] // a failed assumption here is a failed test

use std::time::Duration;

use conformance::within;
use futures_util::future::join_all;
use tooz_core::{Coordinator, Delivery, Message, Registry, Subscription, Topic};
use tooz_zookeeper::ZookeeperDriver;
use zookeeper_client::{Acls, Client, CreateMode, Error};

/// Long enough that no beat falls into what is counted.
pub(crate) const LONG: Duration = Duration::from_secs(600);
/// The bucket that is closed with its next message.
pub(crate) const BUCKET: u64 = 256;

pub(crate) async fn connect(url: &str, member: &str, ttl: Duration) -> Coordinator {
    let registry = Registry::new().with(ZookeeperDriver::new());
    registry.builder(url).member(member).ttl(ttl).connect().await.unwrap()
}

pub(crate) async fn message(reading: &mut Subscription) -> Message {
    match within("a message", reading.next()).await.unwrap() {
        Delivery::Message(message) => message,
        other => panic!("no message but {other:?}"),
    }
}

pub(crate) async fn next(reading: &mut Subscription) -> String {
    match within("a delivery", reading.next()).await.unwrap() {
        Delivery::Message(message) => String::from_utf8(message.payload.to_vec()).unwrap(),
        Delivery::Lagged { missed } => format!("missed {missed}"),
        Delivery::Reset => "reset".to_owned(),
    }
}

pub(crate) async fn is_quiet(reading: &mut Subscription) -> bool {
    tokio::time::timeout(Duration::from_millis(50), reading.next()).await.is_err()
}

pub(crate) async fn publish_all(topic: &Topic, numbers: std::ops::Range<u64>) {
    let all = numbers.map(|number| async move { topic.publish(number.to_string()).await.unwrap() });
    join_all(all).await;
}

/// The topic's directory, as a client sees it that knows nothing of us.
pub(crate) fn root(space: &str) -> String {
    format!("/{space}/tooz-rs/tooz/topics/config")
}

/// A node of a stranger's.
pub(crate) async fn put(client: &Client, path: &str, data: &[u8]) {
    client.create(path, data, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await.unwrap();
}

pub(crate) async fn children(client: &Client, path: &str) -> Vec<String> {
    match client.list_children(path).await {
        Err(Error::NoNode) => Vec::new(),
        listed => listed.unwrap(),
    }
}

/// The directory of the newest messages.
pub(crate) async fn newest_bucket(client: &Client, space: &str) -> String {
    let (name, _) = client.get_data(&format!("{}/count", root(space))).await.unwrap();
    format!("{}/m/{}", root(space), String::from_utf8(name).unwrap())
}

/// As if what was let go of by now had been so long ago.
pub(crate) async fn let_time_pass(client: &Client, space: &str) {
    let head = format!("{}/head", root(space));
    let (text, _) = client.get_data(&head).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let words: Vec<&str> = text.split(' ').collect();
    let long_ago = format!("{} {} {} {} 1", words[0], words[1], words[2], words[1]);
    client.set_data(&head, long_ago.as_bytes(), None).await.unwrap();
}

pub(crate) async fn remove_all(client: &Client, path: &str) {
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
