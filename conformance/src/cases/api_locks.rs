//! Locks: acquire, try, wait, release.

use std::time::Duration;

use tooz_core::backend::Eviction;
use tooz_core::{Cause, Coordinator, ErrorKind, FencingToken};

use super::{names, queued};
use crate::{World, within};

/// An acquired lock is held, shows its holder, and is free after the release.
pub(super) async fn a_lock_is_held_until_released(world: &World) {
    let coord = world.connect("a").await;
    let lock = coord.lock("nightly");
    let guard = lock.acquire().await.unwrap();
    assert!(guard.is_held());
    assert!(guard.valid_for(Duration::from_millis(1)));
    let queue = lock.queue().await.unwrap();
    assert_eq!(queue.holders.len(), 1, "{queue:?}");
    assert_eq!(queue.holders[0].claim, Some(guard.claim_id()));
    assert_eq!(queue.holders[0].token, Some(guard.fencing_token()));

    guard.release().await.unwrap();
    assert!(lock.queue().await.unwrap().holders.is_empty());
}

/// A try on a held lock is no error, and leaves nothing.
pub(super) async fn a_try_on_a_held_lock_is_none(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    for _ in 0..3 {
        assert!(b.lock("nightly").try_acquire().await.unwrap().is_none());
    }
    assert!(b.lock("nightly").queue().await.unwrap().waiting.is_empty());
    guard.release().await.unwrap();
    let guard = b.lock("nightly").try_acquire().await.unwrap().expect("free");
    assert!(guard.is_held());
}

/// A wait that runs out is no error, and leaves no place in the queue.
pub(super) async fn a_wait_that_runs_out_is_none(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    let limit = Duration::from_millis(100);
    assert!(b.lock("nightly").acquire_timeout(limit).await.unwrap().is_none());
    queued(&a, "nightly", 0).await;
    assert!(guard.is_held());
    drop(guard);
    let limit = Duration::from_secs(30);
    assert!(b.lock("nightly").acquire_timeout(limit).await.unwrap().is_some());
}

/// A waiter gets the lock when its holder releases it, with a larger token.
pub(super) async fn a_waiter_gets_the_lock_on_release(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let first = a.lock("nightly").acquire().await.unwrap();
    let waiter = tokio::spawn({
        let lock = b.lock("nightly");
        async move { lock.acquire().await }
    });
    queued(&a, "nightly", 1).await;
    let token = first.fencing_token();
    first.release().await.unwrap();
    let second = within("the waiter's turn", waiter).await.unwrap().unwrap();
    assert!(second.is_held() && second.fencing_token() > token);
}

/// Two tasks of one coordinator exclude each other as two hosts do.
pub(super) async fn tasks_of_one_coordinator_exclude_each_other(world: &World) {
    let coord = world.connect("a").await;
    let inside = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (lock, inside) = (coord.lock("nightly"), std::sync::Arc::clone(&inside));
        tasks.push(tokio::spawn(async move {
            let guard = lock.acquire().await.unwrap();
            assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0, "two tasks inside");
            tokio::task::yield_now().await;
            inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            guard.release().await.unwrap();
        }));
    }
    for task in tasks {
        within("every task's turn", task).await.unwrap();
    }
}

/// Dropping a guard gives the lock back, without an await.
pub(super) async fn a_dropped_guard_gives_the_lock_back(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    drop(guard);
    within("the lock after a drop", b.lock("nightly").acquire()).await.unwrap().release().await.unwrap();
}

/// Interleaving 10: a try right after a drop on the same coordinator succeeds, each time.
pub(super) async fn a_try_right_after_a_drop_succeeds(world: &World) {
    let coord = world.connect("a").await;
    let lock = coord.lock("nightly");
    let mut last = FencingToken::new(0);
    for round in 0..50 {
        let guard = lock.try_acquire().await.unwrap().unwrap_or_else(|| panic!("busy in round {round}"));
        assert!(guard.fencing_token() > last);
        last = guard.fencing_token();
        drop(guard);
    }
}

/// A guard moves to other tasks and threads, and may outlive the place that made it.
pub(super) async fn a_guard_goes_anywhere(world: &World) {
    fn is_free<T: Send + Sync + 'static>(_: &T) {}
    let coord = world.connect("a").await;
    let guard = coord.lock("nightly").acquire().await.unwrap();
    is_free(&guard);
    let there = std::thread::spawn(move || {
        assert!(guard.is_held());
        drop(guard);
    });
    there.join().unwrap();
    drop(within("the lock after a drop elsewhere", coord.lock("nightly").acquire()).await.unwrap());
}

/// A guard whose task panics or is aborted gives the lock back.
pub(super) async fn a_panic_or_abort_gives_the_lock_back(world: &World) {
    let coord = world.connect("a").await;
    let lock = coord.lock("nightly");
    let panics = tokio::spawn({
        let lock = lock.clone();
        async move {
            let _guard = lock.acquire().await.unwrap();
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    });
    assert!(panics.await.unwrap_err().is_panic());
    let guard = within("the lock after a panic", lock.acquire()).await.unwrap();

    let aborted = tokio::spawn(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    aborted.abort();
    drop(within("the lock after an abort", lock.acquire()).await.unwrap());
}

/// The holder is told when its lock is broken, its guard claims no more, and its release says so.
pub(super) async fn a_broken_lock_is_lost(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    for how in [Eviction::Notice, Eviction::Force] {
        let guard = a.lock("nightly").acquire().await.unwrap();
        let id = guard.claim_id();
        let lock = b.lock("nightly");
        let (cause, evicted) = tokio::join!(within("news of the break", guard.lost()), lock.evict(how));
        assert_eq!(cause, Cause::Ousted, "{how:?}");
        assert!(!guard.is_held() && !guard.valid_for(Duration::ZERO));
        if !world.is_faulty() {
            assert_eq!(evicted.unwrap(), [id], "{how:?}");
        }
        assert_eq!(guard.release().await.unwrap_err().kind(), ErrorKind::Lost);
        within("the lock after a break", b.lock("nightly").acquire()).await.unwrap().release().await.unwrap();
    }
}

/// A lost guard stays lost, and its late drop does not hit the next holder.
pub(super) async fn a_lost_guard_does_not_hit_the_next_holder(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let lost = a.lock("nightly").acquire().await.unwrap();
    b.lock("nightly").evict(Eviction::Force).await.unwrap();
    within("news of the break", lost.lost()).await;
    let next = within("the lock after a break", b.lock("nightly").acquire()).await.unwrap();
    drop(lost);
    // The drop is carried out before the try: see interleaving 10.
    assert!(a.lock("nightly").try_acquire().await.unwrap().is_none());
    assert!(next.is_held());
    next.release().await.unwrap();
}

/// A detached guard leaves the lock held until its coordinator is closed.
pub(super) async fn a_detached_lock_stays_held(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    a.lock("nightly").acquire().await.unwrap().detach();
    assert!(b.lock("nightly").try_acquire().await.unwrap().is_none());
    a.close().await.unwrap();
    drop(within("the lock after a close", b.lock("nightly").acquire()).await.unwrap());
}

/// A cancelled acquire gives up its place, and those behind it are served.
pub(super) async fn a_cancelled_acquire_gives_up_its_place(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    let gives_up = tokio::spawn(acquire(&b, "nightly"));
    queued(&a, "nightly", 1).await;
    let stays = tokio::spawn(acquire(&b, "nightly"));
    queued(&a, "nightly", 2).await;
    gives_up.abort();
    queued(&a, "nightly", 1).await;
    guard.release().await.unwrap();
    drop(within("the turn of who stayed", stays).await.unwrap());
}

async fn acquire_owned(coord: Coordinator, name: &'static str) -> tooz_core::Guard {
    coord.lock(name).acquire().await.unwrap()
}

fn acquire(coord: &Coordinator, name: &'static str) -> impl Future<Output = tooz_core::Guard> + use<> {
    acquire_owned(coord.clone(), name)
}

/// Locks of every name are locks of their own; an impossible name is refused before anything is sent.
pub(super) async fn names_of_every_shape_are_locks_of_their_own(world: &World) {
    let coord = world.connect("a").await;
    let mut guards = Vec::new();
    for name in names() {
        let guard = coord.lock(&name).try_acquire().await.unwrap();
        guards.push(guard.unwrap_or_else(|| panic!("{name:?} met another name")));
    }
    assert!(guards.iter().all(tooz_core::Guard::is_held));
    for bad in [String::new(), "x".repeat(256)] {
        assert_eq!(coord.lock(&bad).acquire().await.unwrap_err().kind(), ErrorKind::InvalidName);
        assert_eq!(coord.lock(&bad).queue().await.unwrap_err().kind(), ErrorKind::InvalidName);
    }
}

/// A view of the queue shows who comes and who goes.
pub(super) async fn a_view_follows_the_queue(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let mut view = a.lock("nightly").watch().await.unwrap();
    let guard = b.lock("nightly").acquire().await.unwrap();
    within("see the holder", async {
        while view.borrow().holders.first().and_then(|holder| holder.claim) != Some(guard.claim_id()) {
            view.changed().await.unwrap();
        }
    })
    .await;
    drop(guard);
    within("see it free", async {
        while !view.borrow().holders.is_empty() {
            view.changed().await.unwrap();
        }
    })
    .await;
}

/// Work under a lock runs while it is held; its result comes back and the lock is free again.
pub(super) async fn work_runs_under_the_lock(world: &World) {
    let coord = world.connect("a").await;
    let done = coord.lock("nightly").run(async |hold| hold.is_held()).await.unwrap();
    assert!(done, "the work ran without the lock");
    assert!(coord.lock("nightly").try_acquire().await.unwrap().is_some());
}

/// Work under a lock is cancelled when the lock is lost.
pub(super) async fn work_is_cancelled_when_the_lock_is_lost(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let lock = a.lock("nightly");
    let (begun, begins) = tokio::sync::oneshot::channel();
    let work = lock.run(async |_hold| {
        begun.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    let breaking = async {
        within("the beginning of the work", begins).await.unwrap();
        b.lock("nightly").evict(Eviction::Force).await.unwrap();
    };
    let (done, ()) = tokio::join!(within("the end of the work", work), breaking);
    assert_eq!(done.unwrap_err().kind(), ErrorKind::Lost);
}
