//! The ZooKeeper driver on three nodes that can be cut off from each other: a guard stops claiming before the
//! lock is granted to anybody else.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test
#![allow(clippy::print_stderr)] // by how much is worth seeing

use std::time::Duration;

use conformance::servers::Zookeeper;
use conformance::servers::zookeeper::ZookeeperNode;
use conformance::{eventually, within};
use tooz_core::{BootClock, Clock, Coordinator, Guard, Moment, Registry, State};
use tooz_zookeeper::ZookeeperDriver;

/// Four ticks of half a second: the least there is.
const TTL: Duration = Duration::from_secs(2);

/// How often each way of parting is tried; `TOOZ_ROUNDS` says otherwise.
fn rounds(usual: u64) -> u64 {
    std::env::var("TOOZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// A node that is cut off notices only after so many ticks: until then it answers as if nothing were wrong.
fn ensemble(unnoticed_ticks: u32) -> Zookeeper {
    Zookeeper::plan().nodes(3).partable().option("syncLimit", &unnoticed_ticks.to_string()).start()
}

async fn connect(driver: ZookeeperDriver, addresses: &str, member: &str) -> Coordinator {
    let registry = Registry::new().with(driver);
    // A cut-off node's clients are to learn of it by their own clock.
    let builder = registry.builder(format!("zookeeper://{addresses}?timeout=20")).member(member).ttl(TTL);
    within("connect", builder.connect()).await.unwrap()
}

async fn connected(coord: &Coordinator) {
    let mut state = coord.state();
    within("a session", state.wait_for(|state| *state == State::Connected)).await.unwrap();
}

/// Looks at a guard until it is lost; tells when it was last seen to be held.
fn watch(guard: Guard) -> std::thread::JoinHandle<Moment> {
    std::thread::spawn(move || {
        let (mut last, mut now) = (Moment::ORIGIN, BootClock.now());
        while guard.is_held() {
            last = now;
            // Samples, waits for nothing: a millisecond is fine enough, and leaves the machine to the servers.
            std::thread::sleep(Duration::from_millis(1));
            now = BootClock.now();
        }
        last
    })
}

/// One parting: `holder` holds through `node`, which is then cut off; says by how much the guard was lost before
/// `other` had the lock (negative: after).
async fn part(
    zookeeper: &Zookeeper,
    node: &ZookeeperNode,
    holder: &Coordinator,
    other: &Coordinator,
) -> i128 {
    connected(holder).await;
    connected(other).await;
    let guard = within("the lock", holder.lock("nightly").acquire()).await.unwrap();
    let lock = other.lock("nightly");
    let waiting = tokio::spawn(async move {
        let guard = lock.acquire().await.unwrap();
        (BootClock.now(), guard)
    });
    eventually("see the waiter", async || {
        let queue = holder.lock("nightly").queue().await.map_err(|e| e.to_string())?;
        if queue.waiting.is_empty() { Err(format!("{queue:?}")) } else { Ok(()) }
    })
    .await;
    let watching = watch(guard);
    zookeeper.isolate(node);
    let (granted, next) = within("the lock of who is cut off", waiting).await.unwrap();
    assert!(next.is_held());
    zookeeper.rejoin(node);
    let last = tokio::task::spawn_blocking(move || watching.join().unwrap()).await.unwrap();
    next.release().await.unwrap();
    eventually("see all nodes serve", async || {
        match zookeeper.nodes().iter().all(|node| node.mode().is_some()) {
            true => Ok(()),
            false => Err("a node does not".to_owned()),
        }
    })
    .await;
    i128::from(granted.as_nanos()) - i128::from(last.as_nanos())
}

fn ms(nanos: i128) -> i128 {
    nanos / 1_000_000
}

async fn follower_rounds(driver: ZookeeperDriver, count: u64) -> Vec<i128> {
    let zookeeper = ensemble(20);
    let leader = zookeeper.leader().port();
    let follower = zookeeper.nodes().iter().find(|node| node.port() != leader).unwrap();
    let others: Vec<String> = zookeeper
        .nodes()
        .iter()
        .filter(|node| node.port() != follower.port())
        .map(ZookeeperNode::address)
        .collect();
    let holder = connect(driver, &follower.address(), "holder").await;
    let other = connect(ZookeeperDriver::new(), &others.join(","), "other").await;
    let mut leads = Vec::new();
    for _ in 0..count {
        leads.push(ms(part(&zookeeper, follower, &holder, &other).await));
    }
    leads
}

#[tokio::test]
async fn a_guard_is_lost_before_the_next_is_granted_when_its_follower_is_cut_off() {
    let leads = follower_rounds(ZookeeperDriver::new(), rounds(3)).await;
    eprintln!("lost so many milliseconds before the next grant: {leads:?}");
    assert!(leads.iter().all(|lead| *lead > 0), "held after the next grant: {leads:?}");
}

/// What the rule is there for: with reads taken as proofs of life the same run shows two holders.
#[tokio::test]
async fn a_driver_that_trusts_reads_is_caught() {
    let leads = follower_rounds(ZookeeperDriver::credulous(), 1).await;
    assert!(leads.iter().any(|lead| *lead < 0), "nothing was caught: {leads:?}");
}

#[tokio::test]
async fn a_guard_is_lost_before_the_next_is_granted_when_the_leader_is_cut_off() {
    let zookeeper = ensemble(8);
    let mut leads = Vec::new();
    for _ in 0..rounds(2) {
        let leader = zookeeper.leader();
        let others: Vec<String> = zookeeper
            .nodes()
            .iter()
            .filter(|node| node.port() != leader.port())
            .map(ZookeeperNode::address)
            .collect();
        let holder = connect(ZookeeperDriver::new(), &leader.address(), "holder").await;
        let other = connect(ZookeeperDriver::new(), &others.join(","), "other").await;
        leads.push(ms(part(&zookeeper, leader, &holder, &other).await));
        other.close().await.unwrap();
    }
    eprintln!("lost so many milliseconds before the next grant: {leads:?}");
    assert!(leads.iter().all(|lead| *lead > 0), "held after the next grant: {leads:?}");
}
