//! Letting go in every way: nothing stays behind.

mod common;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Script, builder, connect, settle};
use futures_util::FutureExt;
use tooz_core::memory::Step;
use tooz_core::{Cause, Coordinator, ErrorKind, MembershipState, Registry, State};

/// Interleaving 10: a guard of the same coordinator that was just dropped does not make a try fail.
#[tokio::test(start_paused = true)]
async fn a_try_right_after_a_drop_succeeds() {
    let script = Arc::new(Script::default());
    let coord = connect("drop-10", "a", &script).await;
    let lock = coord.lock("x");
    for _ in 0..100 {
        let guard = lock.try_acquire().await.unwrap().expect("the dropped guard was given back first");
        drop(guard);
    }
    let guard = lock.try_acquire().await.unwrap().unwrap();
    assert!(lock.try_acquire().await.unwrap().is_none(), "a held lock is not re-entrant");
    drop(guard);
    coord.close().await.unwrap();
}

/// Interleaving 10 across a loss: what a try was granted under a session that was lost does not make it fail under the next.
#[tokio::test(start_paused = true)]
async fn a_try_whose_session_is_lost_does_not_find_itself_in_the_way() {
    let script = Arc::new(Script::default());
    let coord = connect("drop-try-lost", "a", &script).await;
    let lock = coord.lock("x");
    script.session_lost_tries.store(1, Ordering::SeqCst);
    script.lose_closings.store(true, Ordering::SeqCst);
    script.hold_withdrawals.set(true);
    let trying = tokio::spawn(async move { lock.try_acquire().await });
    settle().await;
    assert!(!trying.is_finished(), "it found what it was granted itself");

    // In this store what stands under a session ends with that one only.
    let store = tooz_core::memory::Store::named("drop-try-lost");
    let old = store.snapshot().held[0].0.session;
    store.apply(old, &Step::Close).unwrap();
    script.hold_withdrawals.set(false);
    let guard = trying.await.unwrap().unwrap().expect("nobody else has it");
    assert!(guard.is_held());
    script.lose_closings.store(false, Ordering::SeqCst);
    guard.release().await.unwrap();
    coord.close().await.unwrap();
}

/// A step is never dropped half-way: the claim of a dropped acquire is withdrawn after it has landed.
#[tokio::test(start_paused = true)]
async fn an_acquire_dropped_while_its_claim_is_under_way_is_withdrawn_after_it_landed() {
    let script = Arc::new(Script::default());
    let coord = connect("drop-flight", "a", &script).await;
    let lock = coord.lock("x");
    script.hold_claims.set(true);
    tokio::select! {
        biased;
        _ = lock.acquire() => panic!("answers are held back"),
        () = settle() => {}
    }
    assert!(script.withdrawals.lock().unwrap().is_empty(), "not before the step has ended");
    assert_eq!(lock.queue().await.unwrap().holders.len(), 1);

    script.hold_claims.set(false);
    let guard = lock.try_acquire().await.unwrap();

    // Whoever tries next either waits for the withdrawal or, if it was not queued yet, is told "busy".
    drop(guard);
    settle().await;
    assert!(lock.queue().await.unwrap().holders.is_empty());
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_a_waiting_acquire_gives_up_its_place() {
    let script = Arc::new(Script::default());
    let coord = connect("drop-wait", "a", &script).await;
    let lock = coord.lock("x");
    let guard = lock.acquire().await.unwrap();
    tokio::select! {
        biased;
        _ = lock.acquire() => panic!("it is held"),
        () = settle() => {}
    }
    settle().await;
    let queue = lock.queue().await.unwrap();
    assert_eq!((queue.holders.len(), queue.waiting.len()), (1, 0));
    guard.release().await.unwrap();
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_acquire_out_of_time_leaves_nothing() {
    let coord = builder("drop-timeout", "a").connect().await.unwrap();
    let lock = coord.lock("x");
    let guard = lock.acquire().await.unwrap();
    assert!(lock.acquire_timeout(Duration::from_secs(3)).await.unwrap().is_none());
    assert!(lock.queue().await.unwrap().waiting.is_empty());
    guard.release().await.unwrap();
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_under_the_guard_gives_the_lock_back() {
    let coord = builder("drop-panic", "a").connect().await.unwrap();
    let lock = coord.lock("x");
    let inner = lock.clone();
    let task = tokio::spawn(async move {
        let _guard = inner.acquire().await.unwrap();
        panic!("user code");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert!(lock.try_acquire().await.unwrap().is_some());
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_aborted_task_gives_the_lock_back() {
    let coord = builder("drop-abort", "a").connect().await.unwrap();
    let lock = coord.lock("x");
    let guard = lock.acquire().await.unwrap();
    let task = tokio::spawn(async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    });
    settle().await;
    task.abort();
    let _ = task.await;
    assert!(lock.try_acquire().await.unwrap().is_some());
    coord.close().await.unwrap();
}

/// Interleaving 11: on success, failure, panic and cancellation the scope gives everything back.
#[tokio::test(start_paused = true)]
async fn a_scope_closes_on_every_way_out() {
    let witness = builder("drop-11", "witness").connect().await.unwrap();
    let free = || async {
        let guard = witness.lock("x").try_acquire().await.unwrap();
        match guard {
            Some(guard) => guard.release().await.is_ok(),
            None => false,
        }
    };

    let coord = builder("drop-11", "ok").connect().await.unwrap();
    let done = tooz_core::scope(coord, |coord| async move {
        coord.lock("x").acquire().await?.detach();
        Ok::<_, tooz_core::Error>(7)
    });
    assert_eq!(done.await.unwrap(), 7);
    assert!(free().await);

    let coord = builder("drop-11", "err").connect().await.unwrap();
    let failed = tooz_core::scope(coord, |coord| async move {
        coord.lock("x").acquire().await?.detach();
        Err::<(), _>(tooz_core::Error::new(ErrorKind::Internal, "work failed"))
    });
    assert_eq!(failed.await.unwrap_err().to_string(), "work failed");
    assert!(free().await);

    let coord = builder("drop-11", "panic").connect().await.unwrap();
    let panicking = tokio::spawn(tooz_core::scope(coord, |coord| async move {
        coord.lock("x").acquire().await?.detach();
        if coord.session().is_some() {
            panic!("user code");
        }
        Ok::<_, tooz_core::Error>(())
    }));
    assert!(panicking.await.unwrap_err().is_panic());
    assert!(free().await);

    let coord = builder("drop-11", "cancel").connect().await.unwrap();
    let mut state = coord.state();
    tokio::select! {
        biased;
        _ = tooz_core::scope(coord, |coord| async move {
            coord.lock("x").acquire().await?.detach();
            std::future::pending::<tooz_core::Result<()>>().await
        }) => panic!("the work never ends"),
        () = settle() => {}
    }
    state.wait_for(|state| *state == State::Closed).await.unwrap();
    assert!(free().await);
    witness.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn close_makes_guards_lost_and_later_calls_fail() {
    let coord = builder("drop-close", "a").connect().await.unwrap();
    let guard = coord.lock("x").acquire().await.unwrap();
    let waiting = tokio::spawn({
        let lock = coord.lock("x");
        async move { lock.acquire().await }
    });
    settle().await;

    coord.close().await.unwrap();
    coord.close().await.unwrap();

    assert_eq!(guard.lost().await, Cause::Closed);
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(coord.lock("y").acquire().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(guard.release().await.unwrap_err().kind(), ErrorKind::Lost);
    let left = tooz_core::memory::Store::named("drop-close").leftovers();
    assert!(left.is_empty(), "{left:?}");
}

/// Whoever watches in a loop ends, instead of waiting for what never comes.
#[tokio::test(start_paused = true)]
async fn whoever_watches_what_is_over_is_told() {
    let coord = builder("drop-watched", "a").connect().await.unwrap();
    let group = coord.group("g");
    group.create().await.unwrap();
    let me = group.join(&()).await.unwrap();
    let (mut state, mut membership) = (coord.state(), me.state());

    coord.close().await.unwrap();

    let kind = |over: tooz_core::Error| over.kind();
    assert_eq!(state.changed().now_or_never().unwrap().map_err(kind), Ok(()));
    assert_eq!(state.changed().now_or_never().unwrap().map_err(kind), Err(ErrorKind::Closed));
    let waited = state.wait_for(|state| *state == State::Connected).now_or_never();
    assert_eq!(waited.unwrap().map_err(kind), Err(ErrorKind::Closed));
    let waited = membership.wait_for(|state| *state == MembershipState::Joined).now_or_never();
    assert_eq!(waited.unwrap().map_err(kind), Err(ErrorKind::Closed));
    assert_eq!(me.state().changed().now_or_never().unwrap().map_err(kind), Err(ErrorKind::Closed));
    assert_eq!((state.borrow(), membership.borrow()), (State::Closed, MembershipState::Left));
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_coordinator_orphans_its_guards_at_once() {
    let other = builder("drop-orphan", "b").connect().await.unwrap();
    let coord = builder("drop-orphan", "a").connect().await.unwrap();
    let guard = coord.lock("x").acquire().await.unwrap();
    let second = coord.clone();
    drop(coord);
    settle().await;
    assert!(guard.is_held(), "a clone lives on");

    drop(second);

    assert_eq!(guard.lost().await, Cause::Orphaned);
    assert!(other.lock("x").try_acquire().await.unwrap().is_none(), "left to its time to live");
    let next = other.lock("x").acquire_timeout(Duration::from_secs(11)).await.unwrap();
    assert!(next.is_some());
    other.close().await.unwrap();
}

/// What a coordinator gives to act with.
type Taken = fn(&Coordinator) -> Box<dyn Any>;

#[tokio::test(start_paused = true)]
async fn what_a_coordinator_gave_to_act_with_keeps_its_session() {
    let kinds: [Taken; 4] = [
        |coord| Box::new(coord.lock("y")),
        |coord| Box::new(coord.group("g")),
        |coord| Box::new(coord.group("g").election()),
        |coord| Box::new(coord.topic("t")),
    ];
    for (nth, take) in kinds.into_iter().enumerate() {
        let coord = builder("drop-kept", &format!("member {nth}")).connect().await.unwrap();
        let guard = coord.lock(format!("lock {nth}")).acquire().await.unwrap();
        let kept = take(&coord);
        drop(coord);
        settle().await;
        assert!(guard.is_held(), "kept kind {nth}");

        drop(kept);

        assert_eq!(guard.lost().await, Cause::Orphaned, "kept kind {nth}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_guard_stays_held_until_close() {
    let other = builder("drop-detach", "b").connect().await.unwrap();
    let coord = builder("drop-detach", "a").connect().await.unwrap();
    coord.lock("x").acquire().await.unwrap().detach();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(other.lock("x").try_acquire().await.unwrap().is_none());
    coord.close().await.unwrap();
    assert!(other.lock("x").try_acquire().await.unwrap().is_some());
    other.close().await.unwrap();
}

/// Giving back one by one what goes with the session anyway may take long where there is much of it.
#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_what_the_sessions_end_frees() {
    let script = Arc::new(Script::default());
    let (coord, other) =
        (connect("drop-many", "a", &script).await, builder("drop-many", "b").connect().await.unwrap());
    let mut guards = Vec::new();
    for number in 0..500 {
        guards.push(coord.lock(format!("x{number}")).acquire().await.unwrap());
    }
    script.hold_withdrawals.set(true);
    drop(guards);
    let began = tokio::time::Instant::now();
    coord.close().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    for number in 0..500 {
        assert!(other.lock(format!("x{number}")).try_acquire().await.unwrap().is_some(), "x{number} is left");
    }
    script.hold_withdrawals.set(false);
    other.close().await.unwrap();
    assert!(tooz_core::memory::Store::named("drop-many").leftovers().is_empty());
}

/// Guards may outlive every runtime and be dropped on a plain thread.
#[test]
fn a_guard_dropped_without_any_runtime_is_given_back() {
    let registry = Registry::embedded();
    let coord = pollster::block_on(registry.builder("memory://drop-thread").member("a").connect()).unwrap();
    let guard = pollster::block_on(coord.lock("x").acquire()).unwrap();
    std::thread::spawn(move || drop(guard)).join().unwrap();
    let again = pollster::block_on(coord.lock("x").try_acquire()).unwrap();
    assert!(again.is_some());
    pollster::block_on(coord.close()).unwrap();
}

/// The engine's thread is not the user's: a runtime that is blocked for three times the time to live loses
/// nothing.
#[test]
fn a_blocked_user_runtime_loses_no_lease() {
    let ttl = Duration::from_millis(400);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let coord = Registry::embedded()
            .builder("memory://drop-blocked")
            .member("a")
            .ttl(ttl)
            .connect()
            .await
            .unwrap();
        let guard = coord.lock("x").acquire().await.unwrap();
        let begun = std::time::Instant::now();
        while begun.elapsed() < ttl * 3 {
            std::hint::spin_loop();
        }
        assert!(guard.is_held());
        guard.release().await.unwrap();
        coord.close().await.unwrap();
    });
}

/// Interleaving 7: the runtime that ran a claim ends before its answer: the claim may still land, so it is
/// withdrawn in doubt.
#[test]
fn a_claim_whose_runtime_ends_half_way_is_withdrawn_in_doubt() {
    let script = Arc::new(Script::default());
    script.hold_claims.set(true);
    let builder = Registry::embedded().builder("memory://engine-half-way").member("a").wrap(script.wrap());
    let coord = pollster::block_on(builder.connect()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lock = coord.lock("x");
    runtime.block_on(async {
        tokio::spawn(async move { lock.acquire().await });
        while script.claims.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    });

    drop(runtime);

    let until = std::time::Instant::now() + Duration::from_secs(10);
    while script.withdrawals.lock().unwrap().is_empty() && std::time::Instant::now() < until {
        std::thread::yield_now();
    }
    let withdrawn = script.withdrawals.lock().unwrap().clone();
    assert!(matches!(withdrawn.as_slice(), [(_, tooz_core::backend::Doubt::MayLand)]), "{withdrawn:?}");
    script.hold_claims.set(false);
    pollster::block_on(coord.close()).unwrap();
}

/// What was given up leaves nothing held, also where its runtime lives on and nobody drives it.
#[test]
fn a_claim_given_up_on_a_runtime_that_nobody_drives_is_withdrawn_in_doubt() {
    let script = Arc::new(Script::default());
    script.hold_claims.set(true);
    let of = |member: &str| Registry::embedded().builder("memory://drop-undriven").member(member);
    let coord = pollster::block_on(of("a").wrap(script.wrap()).connect()).unwrap();
    let other = pollster::block_on(of("b").connect()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let lock = coord.lock("x");
        let mut acquire = std::pin::pin!(lock.acquire());
        while script.claims.load(Ordering::SeqCst) == 0 {
            assert!(acquire.as_mut().now_or_never().is_none());
        }
    });
    script.hold_claims.set(false);

    let taken = pollster::block_on(other.lock("x").acquire_timeout(Duration::from_secs(10))).unwrap();

    assert!(taken.expect("nobody holds it").is_held());
    let withdrawn = script.withdrawals.lock().unwrap().clone();
    assert!(matches!(withdrawn.as_slice(), [(_, tooz_core::backend::Doubt::MayLand)]), "{withdrawn:?}");
    pollster::block_on(coord.close()).unwrap();
    pollster::block_on(other.close()).unwrap();
    drop(runtime);
}

/// A subscription may be read from anywhere, whatever became of the runtime that it was read on last.
#[test]
fn a_subscription_is_read_on_while_nobody_drives_the_runtime_it_was_read_on() {
    let script = Arc::new(Script::default());
    let builder = Registry::embedded().builder("memory://drop-read-on").member("a").wrap(script.wrap());
    let coord = pollster::block_on(builder.connect()).unwrap();
    let topic = coord.topic("config");
    let mut messages = pollster::block_on(topic.subscribe(tooz_core::From::Beginning)).unwrap();
    let before = script.fetches.load(Ordering::SeqCst);
    script.hold_fetches.set(true);
    pollster::block_on(topic.publish("blue")).unwrap();
    let [first, second] =
        [(); 2].map(|()| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    first.block_on(async {
        let mut next = std::pin::pin!(messages.next());
        while script.fetches.load(Ordering::SeqCst) == before {
            assert!(next.as_mut().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
    });
    script.hold_fetches.set(false);

    let read =
        second.block_on(async { tokio::time::timeout(Duration::from_secs(10), messages.next()).await });

    let delivery = read.expect("it is read on").unwrap();
    assert!(matches!(delivery, tooz_core::Delivery::Message(message) if message.payload == "blue"));
    pollster::block_on(coord.close()).unwrap();
    drop(first);
}
