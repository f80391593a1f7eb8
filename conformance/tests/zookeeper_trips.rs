//! What the steps of the ZooKeeper driver cost: round trips, writes, bytes.

#![allow(clippy::print_stdout)] // how many is worth seeing
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed assumption here is a failed test

mod zookeeper_server;

use std::time::Duration;

use conformance::proxy::{Counts, Proxy};
use conformance::servers::Zookeeper;
use conformance::{eventually, unique, within};
use tooz_core::backend::{Eviction, Turn};
use zookeeper_client::{Acls, CreateMode};

use zookeeper_server::server;
use zookeeper_server::steps::*;

#[tokio::test]
async fn a_free_lock_is_one_round_trip_and_its_release_another() {
    let proxy = Proxy::bytes(server().port());
    let backend = open(&prompt_url(proxy.port(), &unique("trips"))).await;
    let seat = lock("nightly");
    let first = claim(&seat);
    take(&backend, &first).await; // makes the directory
    release(&backend, &first).await;

    proxy.delay(Duration::from_millis(10));
    let again = claim(&seat);
    let before = proxy.counts();
    take(&backend, &again).await;
    assert_eq!(proxy.counts().since(&before).trips, 1, "acquire");
    let before = proxy.counts();
    release(&backend, &again).await;
    assert_eq!(proxy.counts().since(&before).trips, 1, "release");
}

/// The queue is read only until it is clear that nobody else comes: then a cycle is what it is without the library.
#[tokio::test]
async fn a_lock_taken_again_and_again_costs_a_create_and_a_delete() {
    let zookeeper = Zookeeper::start();
    let proxy = Proxy::zookeeper(zookeeper.port());
    let backend = open(&prompt_url(proxy.port(), "again")).await;
    let cycle = async || {
        let claim = claim(&lock("nightly"));
        take(&backend, &claim).await;
        release(&backend, &claim).await;
    };
    for _ in 0..4 {
        cycle().await;
    }
    let (before, writes) = (proxy.counts(), last_write(&zookeeper));
    for _ in 0..50 {
        cycle().await;
    }
    let passed = proxy.counts().since(&before);
    let commands = ["create", "delete"].map(|name| (name.to_owned(), 50)).into();
    assert_eq!((passed.commands, passed.trips, last_write(&zookeeper) - writes), (commands, 100, 100));
}

/// Once the holder has been met, and where it is of the same session.
#[tokio::test]
async fn a_failed_try_is_one_round_trip_and_writes_nothing() {
    // A server of its own: others write to the common one.
    let zookeeper = Zookeeper::start();
    let proxy = Proxy::bytes(zookeeper.port());
    let holder = open(&url(zookeeper.port(), "try")).await;
    let other = open(&prompt_url(proxy.port(), "try")).await;
    take(&holder, &claim(&lock("nightly"))).await;
    proxy.delay(Duration::from_millis(10));
    // The first time it makes sure that the holder is one.
    for trips in [2, 1, 1] {
        let (before, writes) = (proxy.counts(), last_write(&zookeeper));
        assert_eq!(locks(&other).try_claim(&claim(&lock("nightly"))).await.unwrap(), None);
        assert_eq!((proxy.counts().since(&before).trips, last_write(&zookeeper)), (trips, writes));
    }
    take(&other, &claim(&lock("own"))).await;
    let before = proxy.counts();
    assert_eq!(locks(&other).try_claim(&claim(&lock("own"))).await.unwrap(), None);
    assert_eq!(proxy.counts().since(&before).trips, 1);
}

#[tokio::test]
async fn a_hand_over_is_one_round_trip_after_the_event() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("turn");
    let holder = open(&url(server().port(), &space)).await;
    let waiter = open(&prompt_url(proxy.port(), &space)).await;
    let (first, second) = (claim(&lock("nightly")), claim(&lock("nightly")));
    take(&holder, &first).await;
    let position = enqueue(&waiter, &second).await;
    proxy.delay(Duration::from_millis(10));
    let turn = locks(&waiter).turn(&second, &position);
    let (turn, passed) = tokio::join!(within("the turn", turn), async {
        // Armed once the watches were answered: two looks in one trip.
        let armed = proxy.counts();
        eventually("see the watches answered", async || match proxy.counts().since(&armed).replies {
            0 => Err("no answer".to_owned()),
            _ => Ok(()),
        })
        .await;
        let before = proxy.counts();
        release(&holder, &first).await;
        before
    });
    assert!(matches!(turn, Turn::Granted(_)), "{turn:?}");
    let passed = proxy.counts().since(&passed);
    assert!(passed.trips <= 1, "{passed:?}");
}

#[tokio::test]
async fn a_beat_for_a_thousand_locks_is_one_round_trip_and_one_write() {
    let zookeeper = Zookeeper::start();
    let proxy = Proxy::zookeeper(zookeeper.port());
    let backend = open(&prompt_url(proxy.port(), "thousand")).await;
    let mut claims = Vec::new();
    for number in 0..1_000 {
        let claim = claim(&lock(&format!("lock-{number}")));
        take(&backend, &claim).await;
        claims.push(claim);
    }
    // Longer than a busy machine takes from one of its requests to the next.
    proxy.delay(Duration::from_millis(100));
    let (before, writes) = (proxy.counts(), last_write(&zookeeper));
    let renewal = backend.renew(&claims, &[]).await.unwrap();
    assert!(renewal.ousted.is_empty() && renewal.stray.is_empty());
    assert_eq!(last_write(&zookeeper) - writes, 1);
    let listed = proxy.counts().since(&before);
    assert_eq!(listed.trips, 1);

    // So much is listed at one beat in three, and what went is noticed then at the latest.
    let gone = claims.remove(500);
    let other = open(&url(zookeeper.port(), "thousand")).await;
    assert_eq!(locks(&other).evict(&gone.seat, Eviction::Force, &[]).await.unwrap(), [gone.id]);
    claims.push(gone);
    let (before, mut ousted) = (proxy.counts(), 0);
    for _ in 0..3 {
        ousted += backend.renew(&claims, &[]).await.unwrap().ousted.len();
    }
    let three = proxy.counts().since(&before);
    assert_eq!(ousted, 1);
    assert!(three.bytes_down < listed.bytes_down * 3 / 2, "{three:?} after {listed:?}");
    println!("bytes of a beat for a thousand locks: {} with the list", listed.bytes_up + listed.bytes_down);
}

/// Waits until somebody behind a proxy has armed its wait: the watches are answered.
async fn armed(proxy: &Proxy, since: &Counts) {
    eventually("see the watches answered", async || match proxy.counts().since(since).replies {
        0 => Err("no answer".to_owned()),
        _ => Ok(()),
    })
    .await;
}

/// With a thousand in the queue: who was waited with says so when it lets go, and the next reads no more than that.
#[tokio::test]
async fn a_hand_over_among_a_thousand_waiters_reads_no_queue() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("crowd");
    let first = open(&url(server().port(), &space)).await;
    let second = open(&url(server().port(), &space)).await;
    let third = open(&prompt_url(proxy.port(), &space)).await;
    let claims = [(); 3].map(|()| claim(&lock("nightly")));
    take(&first, &claims[0]).await;
    let second_place = enqueue(&second, &claims[1]).await;
    let third_place = enqueue(&third, &claims[2]).await;
    let crowd = stranger().await;
    let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let prefix = format!("/{space}/tooz/locks/nightly/{}__lock__", "0".repeat(32));
    let joining = (3..1_000).map(|_| crowd.create(&prefix, b"crowd", &options));
    for joined in joining.collect::<Vec<_>>() {
        joined.await.unwrap();
    }

    release(&first, &claims[0]).await;
    let turn = within("the second turn", locks(&second).turn(&claims[1], &second_place)).await;
    assert!(matches!(turn, Turn::Granted(_)), "{turn:?}");
    proxy.delay(Duration::from_millis(10));
    let before = proxy.counts();
    let turn = locks(&third).turn(&claims[2], &third_place);
    let (turn, before) = tokio::join!(within("the third turn", turn), async {
        armed(&proxy, &before).await;
        let before = proxy.counts();
        release(&second, &claims[1]).await;
        before
    });
    assert!(matches!(turn, Turn::Granted(_)), "{turn:?}");
    let passed = proxy.counts().since(&before);
    assert!(passed.trips <= 1 && passed.bytes_up + passed.bytes_down < 1_200, "{passed:?}");
    println!("bytes of a hand-over among a thousand: {}", passed.bytes_up + passed.bytes_down);
}

/// A stranger says nothing when it lets go: then the queue is read, in the same trip.
#[tokio::test]
async fn a_hand_over_by_a_stranger_is_one_round_trip_too() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("by-stranger");
    let waiter = open(&prompt_url(proxy.port(), &space)).await;
    let foreign = stranger().await;
    let directory = format!("/{space}/tooz/locks/nightly");
    foreign.mkdir(&directory, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await.unwrap();
    let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let prefix = format!("{directory}/{}__lock__", "0".repeat(32));
    let (_, ahead) = foreign.create(&prefix, b"python", &options).await.unwrap();
    let (_, between) = foreign.create(&prefix, b"python", &options).await.unwrap();
    let own = claim(&lock("nightly"));
    let place = enqueue(&waiter, &own).await;
    foreign.delete(&format!("{prefix}{ahead}"), None).await.unwrap();

    proxy.delay(Duration::from_millis(10));
    let before = proxy.counts();
    let (turn, before) = tokio::join!(within("the turn", locks(&waiter).turn(&own, &place)), async {
        // The watches, and whose session that is.
        eventually("see the stranger looked up", async || match proxy.counts().since(&before).trips {
            2.. => Ok(()),
            trips => Err(format!("{trips} trips")),
        })
        .await;
        let asked = proxy.counts();
        armed(&proxy, &asked).await;
        let before = proxy.counts();
        foreign.delete(&format!("{prefix}{between}"), None).await.unwrap();
        before
    });
    assert!(matches!(turn, Turn::Granted(_)), "{turn:?}");
    let passed = proxy.counts().since(&before);
    assert!(passed.trips <= 1, "{passed:?}");
}
