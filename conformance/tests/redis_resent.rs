//! What the client of a cluster sends again by itself, after a connection broke on which it was answered.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::time::Duration;

use conformance::proxy::Proxy;
use conformance::servers::Cluster;
use conformance::{eventually, within};
use tooz_core::Registry;
use tooz_redis::RedisDriver;

const LOCK: &str = "nightly";

/// The lock was given back, though the answer to that was lost: nobody has taken it away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_whose_answer_a_cluster_lost_is_no_lost_lock() {
    let cluster = Cluster::start();
    let holder = cluster.primary(cluster.slot("_tooz_nightly_lock"));
    let proxy = Proxy::redis(holder.port());
    // The cluster sends whoever asks for that node to the proxy.
    holder.command(&["CONFIG", "SET", "cluster-announce-port", &proxy.port().to_string()]);
    let others: Vec<_> = cluster.nodes().iter().filter(|node| node.port() != holder.port()).collect();
    eventually("see every node tell of the proxy", async || {
        let tells = |text: String| text.contains(&format!(":{}@", proxy.port()));
        let silent = others.iter().filter(|node| !tells(node.command(&["CLUSTER", "NODES"]).text())).count();
        if silent == 0 { Ok(()) } else { Err(format!("{silent} do not")) }
    })
    .await;
    let hosts: Vec<_> = others.iter().map(|node| node.address()).collect();
    let url = format!("redis+cluster://{}", hosts.join(","));
    let coord = Registry::new()
        .with(RedisDriver::new())
        .builder(url)
        .member("a")
        .ttl(Duration::from_secs(30))
        .connect()
        .await
        .unwrap();
    // So that the scripts are known.
    coord.lock(LOCK).acquire().await.unwrap().release().await.unwrap();

    let guard = coord.lock(LOCK).acquire().await.unwrap();
    let claim = guard.claim_id().to_string();
    proxy.lose_next_reply_to(&claim);
    within("the release", guard.release()).await.unwrap();
    assert_eq!(proxy.counts().lost, 1, "vacuous: no answer was lost");
    let guard = within("the next claim", coord.lock(LOCK).acquire()).await.unwrap();
    guard.release().await.unwrap();
    coord.close().await.unwrap();
}
