//! The etcd driver against a server that is stopped, restarted, compacted, full, or asks who is there; and
//! what its steps cost by the server's own count.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod etcd_server;

use std::time::{Duration, Instant};

use conformance::servers::Etcd;
use conformance::servers::etcd::EtcdNode;
use conformance::{eventually, within};
use etcd_server::{lock, session_at};
use tooz_core::backend::Eviction;
use tooz_core::{Coordinator, Error, ErrorKind, Registry};

async fn try_connect(url: &str, member: &str) -> Result<Coordinator, Error> {
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    registry.builder(url).member(member).connect().await
}

async fn connect(url: &str, member: &str) -> Coordinator {
    try_connect(url, member).await.unwrap()
}

async fn refused(url: &str) -> Error {
    match try_connect(url, "worker").await {
        Ok(_) => panic!("{url} is accepted"),
        Err(error) => error,
    }
}

fn txns(node: &EtcdNode) -> f64 {
    node.metric("grpc_server_handled_total", "grpc_method=\"Txn\"")
}

fn revision(etcd: &Etcd) -> i64 {
    let status = etcd.etcdctl(&["get", "/nothing", "-w", "json"]);
    let at = status.find("\"revision\":").unwrap() + "\"revision\":".len();
    status[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// Acquire 1, release 1, failed try 1 and no write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_acquire_release_and_failed_try_are_one_transaction_each() {
    let etcd = Etcd::start();
    let (a, b) = (connect(&etcd.url(), "a").await, connect(&etcd.url(), "b").await);
    let before = txns(etcd.node());
    for n in 0..50 {
        let guard = a.lock(format!("l{n}")).acquire().await.unwrap();
        guard.release().await.unwrap();
    }
    let spent = txns(etcd.node()) - before;
    // Looking after a holder may cost a read of each now and then, but only of those held long.
    assert!((100.0..=104.0).contains(&spent), "50 acquires and releases took {spent} transactions");

    let guard = a.lock("held").acquire().await.unwrap();
    let (before, was) = (txns(etcd.node()), revision(&etcd));
    for _ in 0..20 {
        assert!(b.lock("held").try_acquire().await.unwrap().is_none());
    }
    let spent = txns(etcd.node()) - before;
    assert!((20.0..=22.0).contains(&spent), "20 failed tries took {spent} transactions");
    assert_eq!(revision(&etcd), was, "a failed try wrote");
    guard.release().await.unwrap();
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// A hand-over is the releaser's one transaction, however many wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_costs_one_transaction_however_many_wait() {
    let etcd = Etcd::start();
    // Beats, which read many claims at once, are not what is counted.
    let url = format!("{}?lock_timeout=600", etcd.url());
    let (holder, crowd) = (connect(&url, "holder").await, connect(&url, "crowd").await);
    for waiters in [1_usize, 100, 1_000] {
        let name = format!("crowded-{waiters}");
        let first = holder.lock(&name).acquire().await.unwrap();
        let tasks: Vec<_> = (0..waiters)
            .map(|_| {
                let lock = crowd.lock(&name);
                tokio::spawn(async move { lock.acquire().await.unwrap().release().await.unwrap() })
            })
            .collect();
        let seen = holder.lock(&name);
        eventually("all wait", async || match seen.queue().await {
            Ok(queue) if queue.waiting.len() == waiters => Ok(()),
            other => Err(format!("{:?}", other.map(|queue| queue.waiting.len()))),
        })
        .await;
        let before = txns(etcd.node());
        first.release().await.unwrap();
        for task in tasks {
            within("a turn", task).await.unwrap();
        }
        let (spent, turns) = (txns(etcd.node()) - before, f64::from(u32::try_from(waiters).unwrap() + 1));
        // One for each turn, and a few where a first waiter's watch was not yet standing: it asks again.
        assert!(spent <= turns * 1.1 + 3.0, "{waiters} waiters: {spent} transactions for {turns} turns");
    }
    holder.close().await.unwrap();
    crowd.close().await.unwrap();
}

/// No event is lost or repeated over a killed server and a compaction: the view shows what is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_lives_through_kill_and_compaction() {
    let etcd = Etcd::start();
    let (a, b) = (connect(&etcd.url(), "a").await, connect(&etcd.url(), "b").await);
    a.group("blue").create().await.unwrap();
    let mut view = b.group("blue").watch().await.unwrap();
    let membership = a.group("blue").join(&std::collections::BTreeMap::from([("weight", 1)])).await.unwrap();
    within("see a", async {
        while !view.borrow().contains("a") {
            view.changed().await.unwrap();
        }
    })
    .await;
    etcd.node().process().kill();
    etcd.node().process().restart();
    etcd.healthy();
    membership.update(&std::collections::BTreeMap::from([("weight", 2)])).await.unwrap();
    let now = revision(&etcd).to_string();
    etcd.etcdctl(&["compact", &now]);
    membership.leave().await.unwrap();
    within("see a leave", async {
        while view.borrow().contains("a") {
            view.changed().await.unwrap();
        }
    })
    .await;
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// Waiters keep their places over a restart, and are granted after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_and_a_holder_live_through_a_restart() {
    let etcd = Etcd::start();
    let (a, b) = (connect(&etcd.url(), "a").await, connect(&etcd.url(), "b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    let waiting = tokio::spawn({
        let lock = b.lock("nightly");
        async move { lock.acquire().await.unwrap() }
    });
    let seen = a.lock("nightly");
    eventually("b waits", async || match seen.queue().await {
        Ok(queue) if queue.waiting.len() == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    etcd.node().process().kill();
    etcd.node().process().restart();
    etcd.healthy();
    assert!(guard.is_held());
    let token = guard.fencing_token();
    guard.release().await.unwrap();
    let next = within("the lock after the restart", waiting).await.unwrap();
    assert!(next.fencing_token() > token);
    next.release().await.unwrap();
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// The common lease would not live long enough between the beats of a reader with a longer one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_with_a_longer_lease_never_relies_on_a_shorter_one() {
    let etcd = Etcd::start();
    let short = connect(&format!("{}?lock_timeout=10", etcd.url()), "short").await;
    let long = connect(&format!("{}?lock_timeout=40", etcd.url()), "long").await;
    let first = short.lock("nightly").shared().acquire().await.unwrap();
    let second = short.lock("nightly").shared().try_acquire().await.unwrap();
    assert!(second.is_some(), "readers with equal leases hold together");
    let tried = long.lock("nightly").shared().try_acquire().await.unwrap();
    assert!(tried.is_none(), "let in under a lease shorter than its own");
    let waiting = tokio::spawn({
        let lock = long.lock("nightly").shared();
        async move { lock.acquire().await.unwrap() }
    });
    let seen = short.lock("nightly");
    eventually("the long reader waits", async || match seen.queue().await {
        Ok(queue) if queue.waiting.len() == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    second.unwrap().release().await.unwrap();
    first.release().await.unwrap();
    let guard = within("the lock after the short readers", waiting).await.unwrap();

    let mut client = etcd_client::Client::connect([etcd.node().address()], None).await.unwrap();
    let main = client.get("/tooz/locksnightly", None).await.unwrap();
    let lease = main.kvs().first().unwrap().lease();
    let common = client.lease_time_to_live(lease, None).await.unwrap();
    assert!(common.granted_ttl() >= 40, "{}", common.granted_ttl());
    // A shorter lease of its own is no hindrance.
    let shorter = short.lock("nightly").shared().try_acquire().await.unwrap().unwrap();
    shorter.release().await.unwrap();
    guard.release().await.unwrap();
    short.close().await.unwrap();
    long.close().await.unwrap();
}

/// A holder and a member whose watches could not be opened again listen anew once the server answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_and_a_member_listen_again_after_the_server_was_away() {
    let etcd = Etcd::start();
    let coord = connect(&format!("{}?lock_timeout=9&timeout=3", etcd.url()), "a").await;
    let guard = coord.lock("nightly").acquire().await.unwrap();
    let group = coord.group("blue");
    group.create().await.unwrap();
    let membership = group.join(&std::collections::BTreeMap::from([("weight", 1)])).await.unwrap();
    let watchers = async || etcd.node().metric("etcd_debugging_mvcc_watcher_total", "");
    // The lock's main key and its own root; the group's root and that of its odd members.
    eventually("both are listened for", async || match watchers().await {
        4.0 => Ok(()),
        other => Err(format!("{other} watches")),
    })
    .await;
    etcd.node().process().kill();
    // Refused: whoever listened has found nobody to listen to.
    assert!(coord.lock("other").try_acquire().await.is_err());
    etcd.node().process().restart();
    etcd.healthy();
    eventually("both are listened for again", async || match watchers().await {
        4.0 => Ok(()),
        other => Err(format!("{other} watches")),
    })
    .await;
    assert!(guard.is_held());
    let other = connect(&etcd.url(), "b").await;
    let evicting = tokio::spawn({
        let lock = other.lock("nightly");
        async move { lock.evict(Eviction::Notice).await }
    });
    within("the notice", guard.lost()).await;
    drop(guard);
    within("the eviction", evicting).await.unwrap().unwrap();
    membership.leave().await.unwrap();
    coord.close().await.unwrap();
    other.close().await.unwrap();
}

/// A beat tells what the ear may have missed: that the holder is to let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_reports_a_claim_that_was_told_to_let_go() {
    let etcd = Etcd::start();
    let session = session_at(&etcd.url(), "a", Duration::from_secs(10)).await;
    let seat = lock("nightly");
    for claim in [session.claim_on(&seat), session.shared_on(&seat)] {
        let locks = session.locks();
        assert!(session.attempt(&claim).await.is_some());
        let beat = async || session.backend.renew(std::slice::from_ref(&claim), &[]).await.unwrap().ousted;
        assert_eq!(beat().await, []);
        assert_eq!(locks.evict(&claim.seat, Eviction::Notice, &[]).await.unwrap(), [claim.id]);
        assert_eq!(beat().await, [claim.id], "{:?}", claim.mode);
        session.give_back(&claim).await;
    }
    session.closed().await;
}

/// A server that accepts and never answers: every call ends by its deadline, the guard before its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_ends_the_claim_in_time() {
    let etcd = Etcd::start();
    let coord = connect(&format!("{}?timeout=3&lock_timeout=4", etcd.url()), "a").await;
    let guard = coord.lock("nightly").acquire().await.unwrap();
    etcd.node().process().freeze();
    let frozen = Instant::now();
    let other = coord.lock("other");
    let (failed, ended) = tokio::join!(other.acquire_timeout(Duration::from_secs(2)), async {
        within("the end of the claim", guard.lost()).await;
        frozen.elapsed()
    });
    assert!(!matches!(failed, Ok(Some(_))), "a frozen server granted");
    assert!(!guard.is_held());
    assert!(ended < Duration::from_secs(4), "the claim outlived its lease: {ended:?}");
    etcd.node().process().thaw();
    let again = within("the lock after the thaw", async {
        loop {
            if let Ok(guard) = coord.lock("nightly").acquire().await {
                return guard;
            }
        }
    })
    .await;
    again.release().await.unwrap();
    coord.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_refuses_and_never_grants() {
    let etcd = Etcd::plan().argument("--quota-backend-bytes=200000").start();
    let coord = connect(&etcd.url(), "a").await;
    let group = coord.group("blue");
    group.create().await.unwrap();
    let mut n = 0;
    let refusal = loop {
        let election = coord.group(format!("g{n}")).election().campaign("x".repeat(32_768)).await;
        n += 1;
        match election {
            Ok(leadership) => leadership.resign().await.unwrap(),
            Err(error) => break error,
        }
        assert!(n < 100, "never full");
    };
    assert_eq!(refusal.kind(), ErrorKind::Exhausted, "{refusal}");
    assert_eq!(coord.lock("nightly").try_acquire().await.unwrap_err().kind(), ErrorKind::Exhausted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_said_at_once_and_by_name() {
    let start = Instant::now();
    let error = refused("etcd://127.0.0.1:1,127.0.0.1:2").await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
}

/// A write guarded by a lost lock is not carried out, whoever holds now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guarded_writes_go_through_only_under_the_lock() {
    let etcd = Etcd::start();
    let coord = connect(&etcd.url(), "a").await;
    let mut client = etcd_client::Client::connect([etcd.node().address()], None).await.unwrap();
    let name = tooz_core::Name::new("nightly").unwrap();
    let mut write = async |token| {
        let put = etcd_client::TxnOp::put("report", "done", None);
        let txn = etcd_client::Txn::new().when([tooz_etcd::still_held(&name, token)]).and_then([put]);
        client.txn(txn).await.unwrap().succeeded()
    };
    let guard = coord.lock("nightly").acquire().await.unwrap();
    let old = guard.fencing_token();
    assert!(write(old).await);
    guard.release().await.unwrap();
    assert!(!write(old).await, "nobody holds");
    let guard = coord.lock("nightly").acquire().await.unwrap();
    assert!(!write(old).await, "another holds");
    assert!(write(guard.fencing_token()).await);
    guard.release().await.unwrap();
    coord.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_refused_and_an_old_server_warned_of() {
    let etcd = Etcd::start();
    let coord = connect(&etcd.url(), "a").await;
    let version = coord.profile().server.clone().unwrap();
    assert_eq!(coord.profile().warnings.is_empty(), !version.starts_with("3.4.2"), "{version}");
    coord.close().await.unwrap();
    etcd.etcdctl(&["put", "/tooz-rs/format", "2"]);
    let error = refused(&etcd.url()).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("format 2"), "{error}");
}
