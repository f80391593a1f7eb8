//! Futures dropped at every await leave nothing behind.

use std::time::Duration;

use tooz_core::Coordinator;

use super::queued;
use crate::cancel::{Cut, at_every_await};
use crate::{World, within};

/// Longer than any step takes when nothing is in its way.
const IDLE: Duration = Duration::from_millis(300);

/// After a cut the lock must be to be had, by the same coordinator and by another.
async fn free_again(coords: [&Coordinator; 2], name: &str) {
    for coord in coords {
        let guard = within("the lock after a cut", coord.lock(name).acquire()).await.unwrap();
        guard.release().await.unwrap();
    }
}

/// An acquire of a free lock.
pub(super) async fn an_acquire_cut_anywhere_leaves_nothing(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let lock = a.lock("nightly");
    at_every_await(IDLE, || lock.acquire(), async |cut| {
        if let Cut::Ended(guard) = cut {
            assert!(guard.unwrap().is_held());
        }
        free_again([&a, &b], "nightly").await;
    })
    .await;
}

/// A try of a free lock, and of a held one.
pub(super) async fn a_try_cut_anywhere_leaves_nothing(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let lock = a.lock("nightly");
    at_every_await(IDLE, || lock.try_acquire(), async |cut| {
        drop(cut);
        free_again([&a, &b], "nightly").await;
    })
    .await;

    let held = b.lock("held").acquire().await.unwrap();
    let lock = a.lock("held");
    at_every_await(IDLE, || lock.try_acquire(), async |cut| {
        if let Cut::Ended(guard) = cut {
            assert!(guard.unwrap().is_none());
        }
        queued(&b, "held", 0).await;
    })
    .await;
    assert!(held.is_held());
}

/// An acquire of a held lock, which waits in the queue until it is cut.
pub(super) async fn a_waiting_acquire_cut_anywhere_leaves_the_queue(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let held = b.lock("nightly").acquire().await.unwrap();
    let lock = a.lock("nightly");
    at_every_await(IDLE, || lock.acquire(), async |cut| {
        assert!(!matches!(cut, Cut::Ended(_)), "granted while held");
        queued(&b, "nightly", 0).await;
    })
    .await;
    held.release().await.unwrap();
    free_again([&a, &b], "nightly").await;
}

/// An acquire that is being granted while it is cut.
pub(super) async fn an_acquire_cut_during_the_hand_over_passes_it_on(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    for polls in 1..12 {
        let held = b.lock("nightly").acquire().await.unwrap();
        let lock = a.lock("nightly");
        let waits = crate::cancel::after(polls, IDLE, lock.acquire());
        let (cut, ()) = tokio::join!(waits, async {
            tokio::task::yield_now().await;
            held.release().await.unwrap();
        });
        drop(cut);
        free_again([&a, &b], "nightly").await;
    }
}

/// An acquire with a limit.
pub(super) async fn a_limited_acquire_cut_anywhere_leaves_nothing(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let held = b.lock("nightly").acquire().await.unwrap();
    let lock = a.lock("nightly");
    at_every_await(IDLE, || lock.acquire_timeout(Duration::from_millis(20)), async |cut| {
        if let Cut::Ended(guard) = cut {
            assert!(guard.unwrap().is_none());
        }
        queued(&b, "nightly", 0).await;
    })
    .await;
    held.release().await.unwrap();
}

/// A release goes on when its future is dropped.
pub(super) async fn a_release_cut_anywhere_goes_on(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    for polls in 1..6 {
        let guard = a.lock("nightly").acquire().await.unwrap();
        drop(crate::cancel::after(polls, IDLE, guard.release()).await);
        free_again([&b, &a], "nightly").await;
    }
}

/// Work under a lock, cut while it runs and on the way in and out.
pub(super) async fn work_cut_anywhere_gives_the_lock_back(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let lock = a.lock("nightly");
    let work = || {
        lock.run(async |_hold| {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
        })
    };
    at_every_await(IDLE, work, async |cut| {
        drop(cut);
        free_again([&a, &b], "nightly").await;
    })
    .await;
}

/// A campaign, and a resignation.
pub(super) async fn a_campaign_cut_anywhere_leaves_the_seat_vacant(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let (mine, other) = (a.group("blue").election(), b.group("blue").election());
    at_every_await(IDLE, || mine.campaign("a"), async |cut| {
        drop(cut);
        let term = within("the seat after a cut", other.campaign("b")).await.unwrap();
        term.resign().await.unwrap();
    })
    .await;
    for polls in 1..6 {
        let term = mine.campaign("a").await.unwrap();
        drop(crate::cancel::after(polls, IDLE, term.proclaim("b")).await);
        drop(crate::cancel::after(polls, IDLE, term.resign()).await);
        within("the seat after a cut", other.campaign("b")).await.unwrap().resign().await.unwrap();
    }
}

/// A connect that is cut leaves no session.
pub(super) async fn a_connect_cut_anywhere_leaves_no_session(world: &World) {
    at_every_await(IDLE, || world.builder("a").connect(), async |cut| {
        if let Cut::Ended(coord) = cut {
            coord.unwrap().close().await.unwrap();
        }
    })
    .await;
}

/// Closing goes on when its future is dropped.
pub(super) async fn a_close_cut_anywhere_goes_on(world: &World) {
    let b = world.connect("b").await;
    for polls in 1..6 {
        let a = world.connect_loose("a").await;
        a.lock("nightly").acquire().await.unwrap().detach();
        drop(crate::cancel::after(polls, IDLE, a.close()).await);
        let guard = within("the lock after a close", b.lock("nightly").acquire()).await.unwrap();
        guard.release().await.unwrap();
    }
}
