//! What is heard.

use conformance::servers::Redis;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::*;
use crate::line::Heard;

async fn next(heard: &mut UnboundedReceiver<Heard>) -> Heard {
    timeout(Duration::from_secs(10), heard.recv()).await.expect("something is heard").unwrap()
}

fn message(channel: &str, payload: &str) -> Heard {
    Heard::Message { channel: channel.into(), payload: payload.into() }
}

#[tokio::test]
async fn only_subscribed_channels_are_heard() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    let (ear, mut heard) = line.listen().await.unwrap();

    ear.subscribe(b"mine").await.unwrap();
    ear.subscribe(b"other").await.unwrap();
    ear.unsubscribe(b"other").await.unwrap();
    assert_eq!(redis.command(&["PUBLISH", "other", "no"]).text(), "0");
    redis.command(&["PUBLISH", "mine", "a\nb"]);

    assert_eq!(next(&mut heard).await, message("mine", "a\nb"));
}

#[tokio::test]
async fn a_watched_key_tells_once_when_it_is_set_deleted_or_expires() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    let (ear, mut heard) = line.listen().await.unwrap();
    let changed = || Heard::KeyChanged(b"k".to_vec());

    for change in [&["SET", "k", "1"][..], &["DEL", "k"], &["SET", "k", "2", "PX", "100"]] {
        assert!(ear.watch_key(b"k").await.unwrap());
        redis.command(change);
        assert_eq!(next(&mut heard).await, changed());
    }
    // Watched until it expires by itself.
    assert!(ear.watch_key(b"k").await.unwrap());
    assert_eq!(next(&mut heard).await, changed());
    // Nobody watches any more: the next thing heard is what comes later.
    redis.command(&["SET", "k", "3"]);
    ear.subscribe(b"later").await.unwrap();
    redis.command(&["PUBLISH", "later", "now"]);
    assert_eq!(next(&mut heard).await, message("later", "now"));

    assert!(ear.watch_key(b"k").await.unwrap());
    redis.command(&["FLUSHALL"]);
    assert_eq!(next(&mut heard).await, changed());
}

#[tokio::test]
async fn subscriptions_come_back_after_a_restart_and_say_so() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    let (ear, mut heard) = line.listen().await.unwrap();
    ear.subscribe(b"mine").await.unwrap();

    redis.kill();
    // A subscription that meets a server that is away comes back with the others.
    ear.subscribe(b"late").await.unwrap();
    redis.restart();

    assert_eq!(next(&mut heard).await, Heard::Resumed);
    assert_eq!(redis.command(&["PUBLISH", "mine", "a"]).text(), "1");
    assert_eq!(redis.command(&["PUBLISH", "late", "b"]).text(), "1");
    assert_eq!(next(&mut heard).await, message("mine", "a"));
    assert_eq!(next(&mut heard).await, message("late", "b"));
}

#[tokio::test]
async fn an_ear_whose_connection_is_cut_comes_back() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    let (ear, mut heard) = line.listen().await.unwrap();
    ear.subscribe(b"mine").await.unwrap();
    for _ in 0..3 {
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        assert_eq!(next(&mut heard).await, Heard::Resumed);
        assert_eq!(redis.command(&["PUBLISH", "mine", "a"]).text(), "1");
        assert_eq!(next(&mut heard).await, message("mine", "a"));
    }
}

/// A server behind a cable that was pulled sends no end of the connection.
#[tokio::test]
async fn a_silent_server_is_noticed_by_the_ear() {
    let redis = Redis::start();
    let line = open_within(&redis.url(), Duration::from_millis(300)).await.unwrap();
    let (ear, mut heard) = line.listen().await.unwrap();
    ear.subscribe(b"mine").await.unwrap();

    redis.process().freeze();
    // Each call waits for 300 ms in vain; the ear needs 800 ms to be sure.
    for _ in 0..5 {
        line.run(echo("k", "a")).await.unwrap_err();
    }
    redis.process().thaw();

    assert_eq!(next(&mut heard).await, Heard::Resumed);
    redis.command(&["PUBLISH", "mine", "a"]);
    assert_eq!(next(&mut heard).await, message("mine", "a"));
}

#[tokio::test]
async fn the_ear_ends_with_its_last_subscriber() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    let (ear, mut heard) = line.listen().await.unwrap();
    let clone = ear.clone();
    drop(ear);
    clone.subscribe(b"mine").await.unwrap();
    assert_eq!(redis.command(&["PUBLISH", "mine", "a"]).text(), "1");
    assert_eq!(next(&mut heard).await, message("mine", "a"));

    drop(clone);

    assert_eq!(timeout(Duration::from_secs(10), heard.recv()).await.unwrap(), None);
    until("the connection is closed", || async { redis.command(&["PUBLISH", "mine", "a"]).text() == "0" })
        .await;
}
