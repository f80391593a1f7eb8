//! The engine's thread: one for all, gone with the last. Its own process, so that nobody else's is counted.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed assumption in a test is a failed test")]

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tooz_core::memory::Store;
use tooz_core::{Coordinator, Registry};

/// All tests of this process share the thread: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn engine_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "tooz").count()
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits for a thread that was told to end: the kernel has no event for it.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < patience, "{what}");
        std::thread::yield_now();
    }
}

async fn connect(round: usize) -> Coordinator {
    let member = format!("m{round}");
    Registry::embedded().builder("memory://engine").member(member).connect().await.unwrap()
}

/// Uses everything that has a task on the engine.
async fn use_all(coord: &Coordinator, round: usize) {
    let lock = coord.lock(format!("x{round}"));
    let guard = lock.acquire().await.unwrap();
    assert!(lock.try_acquire().await.unwrap().is_none());
    drop(guard);
    let group = coord.group("g");
    group.create_if_missing().await.unwrap();
    let me = group.join(&round).await.unwrap();
    let view = group.watch().await.unwrap();
    let observer = group.election().observe().await.unwrap();
    lock.acquire().await.unwrap().detach();
    drop((me, view, observer));
}

#[test]
fn the_engine_ends_with_the_last_coordinator_and_leaks_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let store = Store::named("engine");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let first = connect(0).await;
        let second = connect(1).await;
        assert_eq!(engine_threads(), 1, "one for all");
        use_all(&first, 0).await;
        first.close().await.unwrap();
        drop(first);
        second.round_trip().await.unwrap();
        assert_eq!(engine_threads(), 1);
        drop(second);
    });
    until("orphaned: no thread is left", || engine_threads() == 0);
    let before = descriptors();

    for round in 0..1000 {
        runtime.block_on(async {
            let coord = connect(round).await;
            use_all(&coord, round).await;
            coord.close().await.unwrap();
        });
    }

    until("closed: no thread is left", || engine_threads() == 0);
    until("no descriptor is left", || descriptors() <= before);
    let left: Vec<_> = store.leftovers().into_iter().filter(|line| !line.contains("m1\"")).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Guards, views and memberships that outlive their coordinator keep nothing running once they are gone.
#[test]
fn what_outlives_the_coordinator_does_not_keep_the_engine_for_ever() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let outlived = runtime.block_on(async {
        let coord = Registry::embedded().builder("memory://engine-outlived").connect().await.unwrap();
        let guard = coord.lock("x").acquire().await.unwrap();
        let hold = guard.hold();
        coord.group("g").create().await.unwrap();
        let view = coord.group("g").watch().await.unwrap();
        let me = coord.group("g").join(&()).await.unwrap();
        (guard, hold, view, me)
    });
    drop(runtime);
    drop(outlived);
    until("no thread is left", || engine_threads() == 0);
}
