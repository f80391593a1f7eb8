//! The etcd driver beside members that speak Python, on one server.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use std::time::Duration;

use conformance::peers::{Peer, Witness};
use conformance::servers::{Etcd, until};
use conformance::{eventually, within};
use serde_json::json;
use tooz_core::{Coordinator, ErrorKind, Registry};

async fn connect(etcd: &Etcd, member: &str) -> Coordinator {
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    registry.builder(etcd.url()).member(member).connect().await.unwrap()
}

fn python(etcd: &Etcd, options: &str) -> String {
    format!("etcd3+http://{}{options}", etcd.addresses())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_holder_is_waited_for_and_waits() {
    let etcd = Etcd::start();
    let peer = Peer::tooz(&python(&etcd, ""), "boa");
    let coord = connect(&etcd, "worker").await;
    let lock = coord.lock("nightly");

    assert!(peer.acquire("nightly"));
    assert!(lock.try_acquire().await.unwrap().is_none());
    let queue = lock.queue().await.unwrap();
    assert!(queue.holders.len() == 1 && queue.holders[0].member.is_none(), "{queue:?}");
    let waiting = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire().await }
    });
    eventually("queue behind the Python member", async || match lock.queue().await {
        Ok(queue) if queue.waiting.len() == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(peer.release("nightly"));
    let guard = within("the lock after the Python member", waiting).await.unwrap().unwrap();

    assert!(!peer.try_acquire("nightly"));
    guard.release().await.unwrap();
    assert!(peer.try_acquire("nightly"));
    peer.release("nightly");
    coord.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_member_waits_for_readers_and_tokens_grow_over_it() {
    let etcd = Etcd::start();
    let peer = Peer::tooz(&python(&etcd, ""), "boa");
    let (a, b) = (connect(&etcd, "a").await, connect(&etcd, "b").await);
    let one = a.lock("nightly").shared().acquire().await.unwrap();
    let two = b.lock("nightly").shared().acquire().await.unwrap();
    one.release().await.unwrap();
    assert!(!peer.try_acquire("nightly"), "the first reader took the common key along");
    let before = two.fencing_token();
    two.release().await.unwrap();

    assert!(peer.try_acquire("nightly"));
    assert!(a.lock("nightly").shared().try_acquire().await.unwrap().is_none());
    assert!(peer.release("nightly"));
    let after = a.lock("nightly").acquire().await.unwrap();
    assert!(after.fencing_token() > before);
    drop(after);
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// Interleaving 6: Python breaks by deleting the main key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_whose_lock_is_broken_by_another_client_is_told() {
    let etcd = Etcd::start();
    let coord = connect(&etcd, "worker").await;
    let guard = coord.lock("nightly").acquire().await.unwrap();
    assert!(guard.is_held());
    let broken = std::time::Instant::now();
    etcd.etcdctl(&["del", "/tooz/locksnightly"]);
    within("news of the break", guard.lost()).await;
    assert!(broken.elapsed() < Duration::from_secs(5), "told after {:?}", broken.elapsed());
    assert_eq!(guard.release().await.unwrap_err().kind(), ErrorKind::Lost);

    let next = within("the lock after the break", coord.lock("nightly").acquire()).await.unwrap();
    next.release().await.unwrap();
    coord.close().await.unwrap();
}

/// 2 + 2 processes' worth of cycles: whoever overlaps fails its visit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_cycles_never_overlap_and_python_gets_turns() {
    const PYTHON: usize = 25;
    const RUST: usize = 400;
    let etcd = Etcd::start();
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::new(folder.path()).unwrap();
    let url = python(&etcd, "");
    let peers = [Peer::tooz(&url, "adder"), Peer::tooz(&url, "boa")];
    let asked = peers.each_ref().map(|peer| peer.begin_cycles("nightly", PYTHON, &witness));
    let ours = ["a", "b"].map(|member| {
        let (etcd, folder) = (etcd.url(), folder.path().to_owned());
        tokio::spawn(async move {
            let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
            let coord = registry.builder(etcd).member(member).connect().await.unwrap();
            let witness = Witness::at(&folder);
            for _ in 0..RUST {
                let guard = coord.lock("nightly").acquire().await.unwrap();
                witness.visit().unwrap();
                guard.release().await.unwrap();
            }
            coord.close().await.unwrap();
        })
    });
    for asked in asked {
        assert_eq!(asked.answered().await.result, Ok(json!(PYTHON)));
    }
    for ours in ours {
        ours.await.unwrap();
    }
    assert_eq!(witness.visits().unwrap(), u64::try_from(2 * (PYTHON + RUST)).unwrap());
}

/// Direct hand-over leaves no gap, and Python leaves no trace while it polls: it must get turns all the same
/// while ours loop without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_gets_turns_while_ours_loop() {
    let etcd = Etcd::start();
    let peer = Peer::tooz(&python(&etcd, ""), "boa");
    // It was seen once, so that it is remembered.
    assert!(peer.acquire("nightly"));
    let coords = [connect(&etcd, "a").await, connect(&etcd, "b").await];
    let loops = coords.each_ref().map(|coord| {
        let lock = coord.lock("nightly");
        tokio::spawn(async move {
            loop {
                lock.acquire().await.unwrap().release().await.unwrap();
            }
        })
    });
    let seen = coords[0].lock("nightly");
    eventually("ours queue", async || match seen.queue().await {
        Ok(queue) if queue.waiting.len() == 2 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    peer.release("nightly");
    for _ in 0..3 {
        let asked = peer.begin("acquire", json!({ "name": "nightly" }));
        let answer = within("a turn for Python", asked.answered()).await;
        assert_eq!(answer.result, Ok(json!(true)));
        peer.release("nightly");
    }
    loops.iter().for_each(tokio::task::JoinHandle::abort);
    for coord in coords {
        coord.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_and_capabilities_are_seen_both_ways() {
    let etcd = Etcd::start();
    let peer = Peer::tooz(&python(&etcd, "?membership_timeout=3"), "boa");
    let coord = connect(&etcd, "worker").await;
    let group = coord.group("snakes");

    peer.create("snakes");
    let mut view = group.watch().await.unwrap();
    peer.join("snakes", &json!({ "weight": 3 }));
    within("see the Python member", async {
        while !view.borrow().contains("boa") {
            view.changed().await.unwrap();
        }
    })
    .await;
    let membership = group.join(&json!({ "weight": 5 })).await.unwrap();
    let mut members = peer.members("snakes");
    members.sort();
    assert_eq!(members, ["boa", "worker"]);
    assert_eq!(peer.capabilities("snakes", "worker"), json!({ "weight": 5 }));
    assert!(peer.groups().contains(&"snakes".to_owned()));
    let listed: Vec<String> =
        coord.groups().await.unwrap().iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(listed, ["snakes"]);

    peer.kill();
    within("see the killed member gone", async {
        while view.borrow().contains("boa") {
            view.changed().await.unwrap();
        }
    })
    .await;
    membership.leave().await.unwrap();
    let other = Peer::tooz(&python(&etcd, ""), "cobra");
    until("Python sees ours gone", || other.members("snakes").is_empty());
    coord.close().await.unwrap();
}
