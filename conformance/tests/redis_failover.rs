//! Locks through failovers and moving slots: a holder that is told it holds does, and tokens grow.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use std::time::Duration;

use conformance::servers::sentinel::SERVICE;
use conformance::servers::{Cluster, Redis, Sentinels, until};
use tokio::task::block_in_place;
use tooz_core::{Coordinator, Registry};
use tooz_redis::RedisDriver;

async fn connect(url: &str, member: &str) -> Coordinator {
    let registry = Registry::embedded().with(RedisDriver::new());
    registry.builder(url).member(member).connect().await.unwrap()
}

/// Waits until a server that is in charge now renews the lock: its time to live goes up.
fn renewed(server: &Redis, key: &str) {
    let left = || server.command(&["PTTL", key]).number().unwrap_or(-2);
    let mut before = left();
    until("a beat arrives", || {
        let now = left();
        let is_more = now > before && now > 0;
        before = now;
        is_more
    });
}

fn queued(server: &Redis) {
    until("b stands in the queue", || server.command(&["ZCARD", "{_tooz_nightly_lock}:queue"]).text() == "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_lock_survives_a_planned_failover_and_the_next_token_is_larger() {
    let sentinels = block_in_place(Sentinels::start);
    let url = format!("redis+sentinel://{}?sentinel={SERVICE}&lock_timeout=6", sentinels.addresses());
    let (a, b) = (connect(&url, "a").await, connect(&url, "b").await);
    let first = a.lock("nightly").acquire().await.unwrap();
    let waiting = tokio::spawn({
        let b = b.clone();
        async move { b.lock("nightly").acquire().await }
    });
    let old = sentinels.primary();
    block_in_place(|| queued(old));
    block_in_place(|| old.replicated(2));
    assert_eq!(old.command(&["WAIT", "2", "5000"]).text(), "2");

    let new = block_in_place(|| sentinels.fail_over());
    block_in_place(|| renewed(new, "_tooz_nightly_lock"));

    assert!(first.is_held(), "what was replicated is still held");
    assert!(b.lock("nightly").try_acquire().await.unwrap().is_none());
    let token = first.fencing_token();
    first.release().await.unwrap();
    let second = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap().unwrap();
    assert!(second.fencing_token() > token);
    assert_eq!(new.command(&["EXISTS", "_tooz_nightly_lock"]).text(), "1");
    second.release().await.unwrap();
    a.close().await.unwrap();
    b.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_lock_survives_its_slots_move_and_its_primarys_death() {
    let cluster = block_in_place(Cluster::start);
    let url = format!("redis+cluster://{}?lock_timeout=15", cluster.addresses());
    let (a, b) = (connect(&url, "a").await, connect(&url, "b").await);
    let key = "_tooz_nightly_lock";
    let slot = cluster.slot(key);
    let first = a.lock("nightly").acquire().await.unwrap();
    let waiting = tokio::spawn({
        let b = b.clone();
        async move { b.lock("nightly").acquire().await }
    });
    let from = cluster.primary(slot);
    block_in_place(|| queued(from));

    let primaries = cluster.nodes().iter().take(3);
    let to = primaries.into_iter().find(|node| node.port() != from.port()).unwrap();
    block_in_place(|| cluster.move_slot(slot, to));
    block_in_place(|| renewed(to, key));
    assert!(first.is_held());
    let token = first.fencing_token();
    first.release().await.unwrap();
    let second = tokio::time::timeout(Duration::from_secs(15), waiting).await.unwrap().unwrap().unwrap();
    assert!(second.fencing_token() > token);

    assert_eq!(to.command(&["WAIT", "1", "5000"]).text(), "1");
    let heir = block_in_place(|| cluster.kill_primary(slot));
    block_in_place(|| renewed(heir, key));
    assert!(second.is_held(), "what was replicated is still held");
    let token = second.fencing_token();
    second.release().await.unwrap();
    let third = a.lock("nightly").acquire().await.unwrap();
    assert!(third.fencing_token() > token);
    third.release().await.unwrap();
    a.close().await.unwrap();
    b.close().await.unwrap();
}
