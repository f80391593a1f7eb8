//! The etcd driver over three nodes, some of them dead or frozen.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use conformance::checkers::{Least, Register, check};
use conformance::contend::contend;
use conformance::history::{Recorder, merge};
use conformance::servers::etcd::EtcdNode;
use conformance::servers::{Etcd, until};
use conformance::volume::rounds;
use conformance::within;
use tooz_core::{Coordinator, Registry};

/// How long one call may wait for a server's answer.
const TIMEOUT: Duration = Duration::from_secs(8);

async fn connect(etcd: &Etcd, member: &str) -> Coordinator {
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    let url = format!("{}?timeout={}&lock_timeout=10", etcd.url(), TIMEOUT.as_secs());
    registry.builder(url).member(member).connect().await.unwrap()
}

/// Takes and gives back locks, and says how long the slowest of these calls took. None may fail.
async fn slowest(coord: &Coordinator, cycles: usize) -> Duration {
    let mut slowest = Duration::ZERO;
    for n in 0..cycles {
        let start = Instant::now();
        let guard = coord.lock(format!("lock-{n}")).acquire().await.unwrap();
        guard.release().await.unwrap();
        slowest = slowest.max(start.elapsed());
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_dead_node_no_call_fails() {
    let etcd = Etcd::plan().nodes(3).start();
    for node in etcd.nodes() {
        let coord = connect(&etcd, "worker").await;
        slowest(&coord, 5).await;
        node.process().kill();
        let slowest = slowest(&coord, 100).await;
        assert!(slowest < TIMEOUT, "{slowest:?}");
        // And who comes now finds the way too.
        let late = connect(&etcd, "late").await;
        late.close().await.unwrap();
        coord.close().await.unwrap();
        node.process().restart();
        etcd.healthy();
    }
}

/// Nodes that have no leader say so at once, and whoever wants to connect waits until they have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_connects_during_an_election_waits_for_its_end() {
    let etcd = Arc::new(Etcd::plan().nodes(3).start());
    let alive = &etcd.nodes()[1];
    for node in [&etcd.nodes()[0], &etcd.nodes()[2]] {
        node.process().kill();
    }
    until("the last node has no leader", || alive.metric("etcd_server_has_leader", "") == 0.0);
    let connecting = tokio::spawn({
        let etcd = Arc::clone(&etcd);
        async move { connect(&etcd, "early").await }
    });
    until("it was asked", || alive.metric("grpc_server_started_total", "grpc_method=\"Txn\"") >= 1.0);
    etcd.nodes()[0].process().restart();
    let coord = within("connect once there is a leader", connecting).await.unwrap();
    slowest(&coord, 1).await;
    coord.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_frozen_node_no_call_takes_more_than_its_deadline() {
    let etcd = Etcd::plan().nodes(3).start();
    let first = &etcd.nodes()[0];
    let coord = connect(&etcd, "worker").await;
    slowest(&coord, 5).await;
    first.process().freeze();
    let slowest = slowest(&coord, 100).await;
    assert!(slowest < TIMEOUT, "{slowest:?}");
    let late = within("connect beside a frozen node", connect(&etcd, "late")).await;
    late.close().await.unwrap();
    first.process().thaw();
    coord.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_exclude_while_leaders_die_and_freeze() {
    let etcd = Etcd::plan().nodes(3).start();
    contested(etcd, 8, |etcd, round, _| {
        let leader = etcd.leader();
        if round % 3 == 2 {
            leader.process().freeze();
            another_leads(etcd, leader);
            leader.process().thaw();
        } else {
            etcd.kill_leader();
            leader.process().restart();
        }
    })
    .await;
}

/// In silence: from the other nodes, and then from its clients, for whom it swallows everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_exclude_while_leaders_are_cut_off() {
    let etcd = Etcd::plan().nodes(3).apart().start();
    contested(etcd, 2 * rounds(1), |etcd, round, pass_on| {
        let leader = etcd.leader();
        let machine = etcd.nodes().iter().position(|node| node.address() == leader.address()).unwrap();
        let (machine, network) = (u8::try_from(machine).unwrap(), etcd.network());
        if round % 2 == 0 {
            network.isolate(machine);
            another_leads(etcd, leader);
            pass_on();
            network.rejoin(machine);
        } else {
            network.hide(machine);
            pass_on();
            network.show(machine);
        }
    })
    .await;
}

fn another_leads(etcd: &Etcd, leader: &EtcdNode) {
    until("another node leads", || {
        etcd.nodes().iter().any(|node| node.address() != leader.address() && node.is_leader())
    });
}

/// Contention while so many faults happen in turn; each is given what waits until locks passed on. Histories are
/// checked: exclusion in the order of tokens, tokens that grow, claims that end before the next begins.
async fn contested(etcd: Etcd, faults: u64, fault: impl Fn(&Etcd, u64, &dyn Fn()) + Send + 'static) {
    const CONTENDERS: usize = 4;
    const TURNS: usize = 20;
    let folder = tempfile::tempdir().unwrap();
    let (over, turns) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut coords = Vec::new();
    for n in 0..CONTENDERS {
        coords.push(connect(&etcd, &format!("c{n}")).await);
    }
    let contenders = coords.into_iter().enumerate().map(|(n, coord)| {
        let (folder, over, turns) = (folder.path().to_owned(), Arc::clone(&over), Arc::clone(&turns));
        tokio::spawn(async move {
            let recorder = Recorder::to_file(format!("c{n}"), &folder.join(format!("c{n}.jsonl"))).unwrap();
            let mut register = Register::open(&folder.join("register")).unwrap();
            while !over.load(Ordering::Relaxed) {
                // An acquire may run out of its call's time while there is no leader; what counts is the history.
                let outcome = contend(&coord, "contended", TURNS, &recorder, &mut register).await;
                turns.fetch_add(if outcome.is_ok() { TURNS } else { 0 }, Ordering::Relaxed);
            }
            coord.close().await.unwrap();
        })
    });
    let contenders: Vec<_> = contenders.collect();
    let faults = tokio::task::spawn_blocking(move || {
        let pass_on = || {
            let before = turns.load(Ordering::Relaxed);
            until("locks pass on", || turns.load(Ordering::Relaxed) >= before + 2 * TURNS);
        };
        for round in 0..faults {
            pass_on();
            fault(&etcd, round, &pass_on);
            etcd.healthy();
        }
        etcd
    });
    let etcd = faults.await.unwrap();
    over.store(true, Ordering::Relaxed);
    for contender in contenders {
        within("the end of a contender", contender).await.unwrap();
    }
    drop(etcd);
    let least = Least { procs: CONTENDERS, grants: 200, hand_overs: 50, contended: 50, writes: 200 };
    let violations = check(&merge(folder.path()).unwrap(), &least);
    assert!(violations.is_empty(), "{}", violations.iter().map(|v| format!("{v}\n")).collect::<String>());
}
