//! Seats on an etcd in which others write too, and crowded ones.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod etcd_server;

use std::time::Duration;

use conformance::servers::Etcd;
use conformance::{Session, eventually, within};
use etcd_client::{Client, PutOptions, Txn, TxnOp};
use etcd_server::{lock, session_at};
use futures_util::poll;
use tokio::time::timeout;
use tooz_core::backend::{Eviction, Mark, Turn};
use tooz_core::{Claim, ClaimId, Coordinator, Lock, Registry};

/// Before the places in the queue of the lock `nightly`.
const QUEUE: &str = "/tooz-rs/v1/lock/nightly/q/";
/// Before the records of its holders.
const HOLDERS: &str = "/tooz-rs/v1/lock/nightly/h/";
/// Of each of them so many are looked at.
const MOST: usize = 10_000;

async fn connect(etcd: &Etcd, member: &str) -> Coordinator {
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    registry.builder(etcd.url()).member(member).connect().await.unwrap()
}

async fn client(etcd: &Etcd) -> Client {
    Client::connect([etcd.node().address()], None).await.unwrap()
}

async fn waiting(lock: &Lock, count: usize) {
    eventually("all wait", async || match lock.queue().await {
        Ok(queue) if queue.waiting.len() == count => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

async fn session(etcd: &Etcd, member: &str) -> Session {
    session_at(&etcd.url(), member, Duration::from_secs(10)).await
}

/// A transaction carries at most 128 operations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_a_crowd_of_readers_holds_can_be_broken() {
    const READERS: usize = 131;
    let etcd = Etcd::start();
    let (crowd, breaker) = (connect(&etcd, "crowd").await, connect(&etcd, "breaker").await);
    let mut readers = Vec::new();
    for _ in 0..READERS {
        readers.push(crowd.lock("nightly").shared().acquire().await.unwrap());
    }
    let lock = breaker.lock("nightly");
    let next = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire().await.unwrap() }
    });
    waiting(&lock, 1).await;
    let broken = within("the break", lock.evict(Eviction::Force)).await.unwrap();
    assert_eq!(broken.len(), READERS);
    for reader in &readers {
        within("news of the break", reader.lost()).await;
    }
    within("the lock after the break", next).await.unwrap().release().await.unwrap();
    drop(readers);
    crowd.close().await.unwrap();
    breaker.close().await.unwrap();
}

/// What is no place makes nobody a holder and keeps nobody from the lock, whether it was there first, came in
/// between, or stands under somebody's lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_keys_in_the_queue_hold_nobody_up() {
    let etcd = Etcd::start();
    let mut client = client(&etcd).await;
    let (a, b) = (connect(&etcd, "a").await, connect(&etcd, "b").await);
    let lease = client.lease_grant(600, None).await.unwrap().id();
    let alien = async |name: &str, leased: bool, client: &mut Client| {
        let options = leased.then(|| PutOptions::new().with_lease(lease));
        client.put(format!("{QUEUE}{name}"), "alien", options).await.unwrap();
    };
    let claim = || ClaimId::random().to_string();
    for (name, leased) in
        [("alien".to_owned(), false), (claim(), false), (claim(), true), (String::new(), true)]
    {
        alien(&name, leased, &mut client).await;
        assert!(b.lock("nightly").try_acquire().await.unwrap().is_some(), "{name:?}");
        alien(&name, leased, &mut client).await;
        let reader = within("a reader's lock", b.lock("nightly").shared().acquire()).await.unwrap();
        reader.release().await.unwrap();
        alien(&name, leased, &mut client).await;
        let first = within("the lock", a.lock("nightly").acquire()).await.unwrap();
        alien(&name, leased, &mut client).await;
        let waits = |coord: &Coordinator, shared: bool| {
            let lock = coord.lock("nightly");
            let lock = if shared { lock.shared() } else { lock };
            tokio::spawn(async move { lock.acquire().await.unwrap() })
        };
        let second = waits(&b, false);
        waiting(&a.lock("nightly"), 1).await;
        alien(&name, leased, &mut client).await;
        let third = waits(&a, true);
        waiting(&a.lock("nightly"), 2).await;
        let queue = a.lock("nightly").queue().await.unwrap();
        assert!(queue.waiting.iter().all(|one| one.member.is_some()), "{queue:?}");
        first.release().await.unwrap();
        within("the second", second).await.unwrap().release().await.unwrap();
        within("the third", third).await.unwrap().release().await.unwrap();
    }
    // Many at once go at once.
    for number in 0..300 {
        alien(&format!("alien-{number}"), false, &mut client).await;
    }
    within("the lock", a.lock("nightly").acquire()).await.unwrap().release().await.unwrap();
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// Whoever holds need not be one of those who write ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_held_by_whatever_value_can_be_broken() {
    let etcd = Etcd::start();
    let mut client = client(&etcd).await;
    let coord = connect(&etcd, "a").await;
    let lock = coord.lock("nightly");
    for value in [&b""[..], b"somebody", b"sixteen bytes no", &[0xff; 100]] {
        client.put("/tooz/locksnightly", value, None).await.unwrap();
        assert!(lock.try_acquire().await.unwrap().is_none());
        let holders = lock.queue().await.unwrap().holders;
        let seen: Vec<_> = holders.iter().filter_map(|holder| holder.claim).collect();
        assert_eq!(lock.evict(Eviction::Force).await.unwrap(), seen, "{value:?}");
        assert_eq!(seen.len(), 1);
        lock.try_acquire().await.unwrap().unwrap().release().await.unwrap();
    }
    coord.close().await.unwrap();
}

/// Whoever takes and gives back in a row would hear from a watch only what it did itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_nobody_needs_any_more_ends() {
    let etcd = Etcd::start();
    let watchers = || etcd.node().metric("etcd_debugging_mvcc_watcher_total", "");
    let coord = connect(&etcd, "a").await;
    let lock = coord.lock("nightly");
    let guard = lock.acquire().await.unwrap();
    eventually("a long hold is watched", async || match watchers() {
        2.0 => Ok(()),
        other => Err(format!("{other} watches")),
    })
    .await;
    guard.release().await.unwrap();
    eventually("the watch ends", async || {
        for _ in 0..100 {
            lock.acquire().await.unwrap().release().await.unwrap();
        }
        match watchers() {
            0.0 => Ok(()),
            other => Err(format!("{other} watches")),
        }
    })
    .await;
    coord.close().await.unwrap();
}

/// Whoever held for a moment only has not listened to the queue: it finds the head on the way, and listens from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_finds_a_queue_listens_to_it_from_then_on() {
    let etcd = Etcd::start();
    let (ours, theirs) = (session(&etcd, "a").await, session(&etcd, "b").await);
    let nightly = lock("nightly");
    let txns = || txns(&etcd);
    let first = ours.claim_on(&nightly);
    let [second, third] = [(); 2].map(|()| theirs.claim_on(&nightly));
    assert!(ours.attempt(&first).await.is_some());
    theirs.enqueue(&second).await;
    theirs.enqueue(&third).await;
    let before = txns();
    ours.give_back(&first).await;
    // And one that reads the queue it listens to.
    let spent = txns() - before;
    assert!((2.0..=3.0).contains(&spent), "{spent} transactions");
    theirs.take(&second).await;
    // Nobody waits behind the last.
    theirs.give_back(&third).await;
    let before = txns();
    theirs.give_back(&second).await;
    assert_eq!(txns() - before, 1.0);

    let first = ours.claim_on(&nightly);
    assert!(ours.attempt(&first).await.is_some());
    theirs.enqueue(&theirs.claim_on(&nightly)).await;
    assert_eq!(theirs.enqueue(&theirs.claim_on(&nightly)).await.ahead, Some(2));
    within("hear of the queue", ours.locks().stirred(&nightly, Mark(0))).await;
    let before = txns();
    ours.give_back(&first).await;
    assert_eq!(txns() - before, 1.0);
    ours.closed().await;
    theirs.closed().await;
}

/// Whoever ends a session looks for what readers share: at many locks with one request, not at one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_with_many_locks_costs_few_requests() {
    const HELD: u32 = 320;
    let etcd = Etcd::start();
    let session = session(&etcd, "a").await;
    for number in 0..HELD {
        let seat = lock(&format!("lock-{number}"));
        let claim = if number % 64 == 0 { session.shared_on(&seat) } else { session.claim_on(&seat) };
        assert!(session.attempt(&claim).await.is_some());
    }
    let txns = || txns(&etcd);
    let before = txns();
    session.closed().await;
    let spent = txns() - before;
    assert!(spent <= f64::from(HELD / 32 + 5 * 3), "{spent} transactions");
    let left = client(&etcd).await.leases().await.unwrap();
    assert!(left.leases().is_empty(), "what readers share is left");
}

/// What stands under a lease is told in one answer, of 4 MiB at most. What cannot be told is given back all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_more_than_can_be_told_is_closed() {
    let etcd = Etcd::start();
    let mut client = client(&etcd).await;
    let session = session(&etcd, "a").await;
    let lease = client.leases().await.unwrap().leases()[0].id();
    let put = |number| {
        let key = format!("{QUEUE}{number:0800}");
        TxnOp::put(key, "", Some(PutOptions::new().with_lease(lease)))
    };
    for some in (0..6_000).map(put).collect::<Vec<_>>().chunks(128) {
        client.txn(Txn::new().and_then(some)).await.unwrap();
    }
    session.backend.close().await.unwrap();
    assert!(client.leases().await.unwrap().leases().is_empty());
}

/// Waits are dropped all the time; what they asked to be watched is watched once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_dropped_early_leaves_no_second_watch() {
    let etcd = Etcd::start();
    let session = session(&etcd, "a").await;
    let (locks, seat) = (session.locks(), lock("nightly"));
    for _ in 0..20 {
        let dropped = timeout(Duration::ZERO, locks.stirred(&seat, Mark(u64::MAX))).await;
        assert!(dropped.is_err(), "stirred by nothing");
    }
    within("a look", locks.stirred(&seat, Mark(0))).await;
    assert_eq!(etcd.node().metric("etcd_debugging_mvcc_watcher_total", ""), 2.0);
    session.closed().await;
}

/// Other clients poll: the seat that is left to them for a moment is, whatever ours write meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_that_is_left_open_stays_so_while_others_queue() {
    let etcd = Etcd::start();
    etcd.etcdctl(&["put", "/tooz-rs/v1/lock/nightly/foreign", ""]);
    let (ours, theirs) = (session(&etcd, "a").await, session(&etcd, "b").await);
    let nightly = lock("nightly");
    // By its id it leaves the seat open after the shortest turn.
    let held = Claim { id: ClaimId::from_bytes([0; 16]), ..ours.claim_on(&nightly) };
    let next = theirs.claim_on(&nightly);
    ours.take(&held).await;
    theirs.enqueue(&next).await;
    ours.give_back(&held).await;

    let position = theirs.enqueue(&next).await;
    let pause = position.revisit.unwrap();
    let seen = theirs.queue(&nightly).await;
    ours.enqueue(&ours.claim_on(&nightly)).await;
    within("news of another place", theirs.seat_stirred(&nightly, &seen)).await;
    let turn = timeout(pause, theirs.locks().turn(&next, &position)).await;
    assert!(turn.is_err(), "{turn:?} within the pause");
    assert!(theirs.queue(&nightly).await.holders.is_empty());
    theirs.take(&next).await;
    ours.closed().await;
    theirs.closed().await;
}

fn txns(etcd: &Etcd) -> f64 {
    etcd.node().metric("grpc_server_handled_total", "grpc_method=\"Txn\"")
}

/// Puts so many claims of another client, under a lease that is returned.
async fn crowd(client: &mut Client, below: &str, count: usize) -> i64 {
    crowd_with(client, below, count, 0).await
}

/// The same, each with a value of so many bytes.
async fn crowd_with(client: &mut Client, below: &str, count: usize, bytes: u16) -> i64 {
    let [high, low] = bytes.to_be_bytes();
    // Alone, "m", the value, no readers, no time.
    let head = [0x95, 0xc2, 0xa1, b'm', 0xc5, high, low];
    let record = [head.as_slice(), &vec![b'x'; bytes.into()], &[0xc0, 0xc0]].concat();
    let each = (1_000_000 / record.len()).clamp(1, 128);
    let lease = client.lease_grant(600, None).await.unwrap().id();
    let put = |_| {
        let options = PutOptions::new().with_lease(lease);
        TxnOp::put(format!("{below}{}", ClaimId::random()), record.clone(), Some(options))
    };
    for some in (0..count).map(put).collect::<Vec<_>>().chunks(each) {
        client.txn(Txn::new().and_then(some)).await.unwrap();
    }
    lease
}

/// Whoever was handed the lock holds by a record that is newer than all places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_is_known_and_hears_of_its_end_however_many_wait() {
    let etcd = Etcd::start();
    let mut client = client(&etcd).await;
    let (ours, theirs) = (session(&etcd, "a").await, session(&etcd, "b").await);
    let nightly = lock("nightly");
    let (first, second) = (theirs.claim_on(&nightly), ours.claim_on(&nightly));
    theirs.take(&first).await;
    ours.enqueue(&second).await;
    crowd(&mut client, QUEUE, MOST + 1).await;
    theirs.give_back(&first).await;
    ours.take(&second).await;
    let holders = ours.queue(&nightly).await.holders;
    let seen: Vec<_> = holders.iter().map(|holder| (holder.claim, holder.member.clone())).collect();
    assert_eq!(seen, [(Some(second.id), Some(second.member.clone()))]);

    within("a look at the queue", ours.locks().stirred(&nightly, Mark(0))).await;
    let before = txns(&etcd);
    let mut ousted = ours.locks().ousted(&second);
    assert!(timeout(Duration::from_secs(1), &mut ousted).await.is_err(), "nobody broke it");
    let spent = txns(&etcd) - before;
    assert!(spent <= 3.0, "{spent} transactions");
    assert_eq!(theirs.locks().evict(&nightly, Eviction::Notice, &[]).await.unwrap(), [second.id]);
    within("news of the notice", ousted).await;
    ours.closed().await;
    theirs.closed().await;
}

/// More have records of holders than are looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_whose_record_is_not_looked_at_asks_for_it_after_news_only() {
    let etcd = Etcd::start();
    let mut client = client(&etcd).await;
    let ours = session(&etcd, "a").await;
    let nightly = lock("nightly");
    crowd(&mut client, HOLDERS, MOST).await;
    let claim = ours.claim_on(&nightly);
    ours.take(&claim).await;

    within("a look at the records", ours.locks().stirred(&nightly, Mark(0))).await;
    let before = txns(&etcd);
    let mut ousted = ours.locks().ousted(&claim);
    assert!(timeout(Duration::from_secs(1), &mut ousted).await.is_err(), "nobody broke it");
    let spent = txns(&etcd) - before;
    assert!(spent <= 3.0, "{spent} transactions");
    client.put(format!("/tooz-rs/v1/lock/nightly/n/{}", claim.id), "", None).await.unwrap();
    within("news of the notice", ousted).await;
    ours.closed().await;
}

/// Its place is newer than those that are looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_behind_more_than_are_looked_at_comes_to_its_turn() {
    let etcd = Etcd::start();
    let mut client = client(&etcd).await;
    let (ours, theirs) = (session(&etcd, "a").await, session(&etcd, "b").await);
    let nightly = lock("nightly");
    let held = ours.claim_on(&nightly);
    let [next, last] = [(); 2].map(|()| theirs.claim_on(&nightly));
    ours.take(&held).await;
    let lease = crowd(&mut client, QUEUE, MOST).await;
    let position = theirs.enqueue(&next).await;
    for session in [&ours, &theirs] {
        within("a look at the queue", session.locks().stirred(&nightly, Mark(0))).await;
    }
    let mut turn = theirs.locks().turn(&next, &position);
    assert!(poll!(&mut turn).is_pending(), "others are before it");

    theirs.enqueue(&last).await;
    let seen = ours.queue(&nightly).await;
    client.lease_revoke(lease).await.unwrap();
    within("news of the end of the others", ours.seat_stirred(&nightly, &seen)).await;
    ours.give_back(&held).await;
    match within("the turn", turn).await {
        Turn::Granted(_) => {}
        Turn::AskAgain => drop(theirs.take(&next).await),
    }
    ours.closed().await;
    theirs.closed().await;
}

/// Candidates with values of the size that is allowed, and together more than one answer may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_more_than_an_answer_carries_is_listed_and_waited_in() {
    let etcd = Etcd::start();
    let mut client = client(&etcd).await;
    let (ours, theirs) = (session(&etcd, "a").await, session(&etcd, "b").await);
    let nightly = lock("nightly");
    let (held, next) = (ours.claim_on(&nightly), theirs.claim_on(&nightly));
    ours.take(&held).await;
    let position = theirs.enqueue(&next).await;
    crowd_with(&mut client, QUEUE, 1_100, u16::MAX).await;

    let queue = ours.queue(&nightly).await;
    assert_eq!(queue.holders.iter().map(|holder| holder.claim).collect::<Vec<_>>(), [Some(held.id)]);
    assert_eq!(queue.waiting[0].claim, Some(next.id));
    within("a look at the queue", theirs.locks().stirred(&nightly, Mark(0))).await;
    let before = txns(&etcd);
    let mut turn = theirs.locks().turn(&next, &position);
    assert!(timeout(Duration::from_secs(1), &mut turn).await.is_err(), "it is not its turn");
    let spent = txns(&etcd) - before;
    assert!(spent <= 3.0, "{spent} transactions");

    ours.give_back(&held).await;
    match within("the turn", turn).await {
        Turn::Granted(_) => {}
        Turn::AskAgain => drop(theirs.take(&next).await),
    }
    ours.closed().await;
    theirs.closed().await;
}
