//! Faults of stores, drivers and runtimes: nobody is misled, nothing stays behind, nothing goes on for ever.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Script, builder, connect, settle};
use futures_util::FutureExt;
use tokio::time::timeout;
use tooz_core::backend::Proof;
use tooz_core::memory::Store;
use tooz_core::{Cause, Clock, ErrorKind, Name, Seat, State, TokioClock};

const TTL: Duration = Duration::from_secs(10);

/// Interleaving 1: while every grant comes on a proof that is over, the store is asked at a bearable pace,
/// and the caller's time still counts.
#[tokio::test(start_paused = true)]
async fn grants_on_old_proofs_are_no_storm_and_outlast_no_patience() {
    let script = Arc::new(Script::default());
    let coord = connect("fault-stale", "a", &script).await;
    let clock = TokioClock::new();
    *script.claim_proof.lock().unwrap() =
        Some(Proof::Lease { sent: clock.now() - Duration::from_secs(60), ttl: TTL });
    script.most_claims.store(100, Ordering::SeqCst);
    let begun = clock.now();

    let won = coord.lock("x").acquire_timeout(Duration::from_secs(3)).await.unwrap();

    assert!(won.is_none());
    assert!(clock.now().since(begun) < Duration::from_secs(4), "{:?}", clock.now().since(begun));
    assert!(script.claims.load(Ordering::SeqCst) < 20, "{:?}", script.claims);
    assert!(coord.lock("x").queue().await.unwrap().holders.is_empty());
    coord.close().await.unwrap();
}

/// A wait that ends at once every time makes nobody ask at the speed of the line.
#[tokio::test(start_paused = true)]
async fn waits_that_always_end_early_are_no_storm() {
    let script = Arc::new(Script::default());
    let (holder, coord) =
        (connect("fault-early", "h", &Arc::default()).await, connect("fault-early", "a", &script).await);
    let held = holder.lock("x").acquire().await.unwrap();
    *script.mute_turns.lock().unwrap() = Some(Duration::ZERO);
    script.most_claims.store(1_000, Ordering::SeqCst);

    let won = coord.lock("x").acquire_timeout(Duration::from_secs(3)).await.unwrap();

    assert!(won.is_none());
    assert!(script.claims.load(Ordering::SeqCst) < 100, "{:?}", script.claims);
    held.release().await.unwrap();
    coord.close().await.unwrap();
    holder.close().await.unwrap();
}

/// A hand-over comes without a request of the waiter's own: what its beats proved while it waited counts.
#[tokio::test(start_paused = true)]
async fn a_hand_over_after_a_long_wait_is_valid_by_the_waiters_beats() {
    let script = Arc::new(Script::default());
    let (holder, coord) =
        (connect("fault-beats", "h", &Arc::default()).await, connect("fault-beats", "a", &script).await);
    let held = holder.lock("x").acquire().await.unwrap();
    let sent = TokioClock::new().now();
    *script.turn_proof.lock().unwrap() = Some(Proof::Lease { sent, ttl: TTL });
    let lock = coord.lock("x");
    let waiting = tokio::spawn(async move { lock.acquire().await });
    tokio::time::sleep(TTL * 5).await;
    let asked = script.claims.load(Ordering::SeqCst);

    held.release().await.unwrap();
    let guard = waiting.await.unwrap().unwrap();

    assert!(guard.is_held() && guard.valid_for(TTL / 2));
    assert_eq!(script.claims.load(Ordering::SeqCst), asked, "the grant needed no further request");
    guard.release().await.unwrap();
    coord.close().await.unwrap();
    holder.close().await.unwrap();
}

/// A lost session grants nothing, whatever its driver still answers.
#[tokio::test(start_paused = true)]
async fn a_step_that_tells_of_the_end_of_the_session_ends_it_at_once() {
    let script = Arc::new(Script::default());
    let coord = connect("fault-told", "a", &script).await;
    let held = coord.lock("y").acquire().await.unwrap();
    let first = coord.session();
    script.session_lost_claims.store(1, Ordering::SeqCst);

    let guard = timeout(Duration::from_secs(1), coord.lock("x").acquire()).await;

    let guard = guard.expect("no beat had to tell it again").unwrap();
    assert_ne!(coord.session(), first);
    assert_eq!(held.lost().await, Cause::SessionEnded);
    assert!(guard.is_held());
    coord.close().await.unwrap();
}

/// A lost session is closed behind the back of steps that are under way: their callers have closed nothing.
#[tokio::test(start_paused = true)]
async fn steps_that_meet_the_closing_of_a_lost_session_go_on_with_the_next() {
    let script = Arc::new(Script::default());
    let store = Store::named("fault-closed");
    let coord = connect("fault-closed", "a", &script).await;
    let other = builder("fault-closed", "b").connect().await.unwrap();
    let group = coord.group("blue");
    group.create().await.unwrap();
    let mut view = group.watch().await.unwrap();
    // The look of the view, which the other's join stirs, and the steps below.
    script.answers_when_closed.store(4, Ordering::SeqCst);
    let membership = other.group("blue").join(&()).await.unwrap();
    let joining = tokio::spawn(async move { group.join(&()).await });
    let lock = coord.lock("x");
    let acquiring = tokio::spawn(async move { lock.acquire().await });
    let lock = coord.lock("y");
    let looking = tokio::spawn(async move { lock.queue().await });
    settle().await;

    store.expire("a");

    assert!(acquiring.await.unwrap().unwrap().is_held());
    assert!(looking.await.unwrap().unwrap().holders.is_empty());
    let joined = joining.await.unwrap().unwrap();
    while view.borrow().len() < 2 {
        view.changed().await.unwrap();
    }
    drop((joined, membership));
    other.close().await.unwrap();
    coord.close().await.unwrap();
}

/// The withdrawal may have been carried out long before its answer comes.
#[tokio::test(start_paused = true)]
async fn a_lock_being_released_is_not_held() {
    let script = Arc::new(Script::default());
    let coord = connect("fault-release", "a", &script).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    let hold = guard.hold();
    script.hold_withdrawals.set(true);

    let release = tokio::spawn(guard.release());
    settle().await;

    assert!(!hold.is_held());
    assert_eq!(hold.lost().await, Cause::Closed);
    script.hold_withdrawals.set(false);
    release.await.unwrap().unwrap();
    coord.close().await.unwrap();
}

/// A claim under a session that lives on has no end of its own.
#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_tried_for_as_long_as_its_session_lives() {
    let script = Arc::new(Script::default());
    let coord = connect("fault-withdraw", "a", &script).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    script.hide_strays.store(true, Ordering::SeqCst);
    script.fail_withdrawals.store(true, Ordering::SeqCst);

    drop(guard);
    tokio::time::sleep(TTL * 10).await;
    script.fail_withdrawals.store(false, Ordering::SeqCst);
    tokio::time::sleep(TTL).await;

    assert!(coord.lock("x").queue().await.unwrap().holders.is_empty());
    coord.close().await.unwrap();
}

/// Whoever is refused has nothing to give back, and asks for it in vain.
#[tokio::test(start_paused = true)]
async fn claims_that_are_refused_keep_nothing_else_from_being_given_back() {
    let script = Arc::new(Script::default());
    let coord = connect("fault-refused", "a", &script).await;
    let other = connect("fault-refused", "b", &Arc::default()).await;
    *script.refused.lock().unwrap() = Some(Seat::Lock(Name::new("x").unwrap()));
    let lock = coord.lock("x");
    let refused = futures_util::future::join_all((0..100).map(|_| lock.acquire())).await;
    assert!(refused.iter().all(|refused| refused.as_ref().unwrap_err().kind() == ErrorKind::Denied));

    drop(coord.lock("y").acquire().await.unwrap());
    let given_back = other.lock("y").acquire_timeout(TTL / 4).await.unwrap();
    assert!(given_back.is_some(), "what was dropped is still held");

    // The store is not asked for ever.
    let withdrawals = || script.withdrawals.lock().unwrap().len();
    tokio::time::sleep(TTL).await;
    let asked = withdrawals();
    tokio::time::sleep(TTL * 10).await;
    assert_eq!(withdrawals(), asked);
    given_back.unwrap().release().await.unwrap();
    coord.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn leaving_goes_on_for_as_long_as_the_session_lives() {
    let script = Arc::new(Script::default());
    let coord = connect("fault-leave", "a", &script).await;
    let group = coord.group("g");
    group.create().await.unwrap();
    let me = group.join(&()).await.unwrap();
    script.fail_leaves.store(true, Ordering::SeqCst);

    assert_eq!(me.leave().await.unwrap_err().kind(), ErrorKind::Unavailable);
    tokio::time::sleep(TTL * 10).await;
    assert!(group.members().await.unwrap().contains("a"));
    script.fail_leaves.store(false, Ordering::SeqCst);
    tokio::time::sleep(TTL).await;

    assert!(group.members().await.unwrap().is_empty());
    group.join(&1).await.unwrap().leave().await.unwrap();
    coord.close().await.unwrap();
}

/// Interleaving 2: an ousting from the queue that is told after the claim was granted ousts nobody.
#[tokio::test(start_paused = true)]
async fn an_ousting_of_a_waiter_does_not_hit_the_holder_it_became() {
    let script = Arc::new(Script::default());
    let holder = builder("fault-ousted", "holder").connect().await.unwrap();
    let coord = connect("fault-ousted", "a", &script).await;
    let held = holder.lock("x").acquire().await.unwrap();
    let lock = coord.lock("x");
    let acquire = tokio::spawn(async move { lock.acquire().await });
    settle().await;
    let waiting = holder.lock("x").queue().await.unwrap().waiting[0].claim.unwrap();
    script.ousted.lock().unwrap().push(waiting);
    script.hold_renewals.set(true);
    tokio::time::sleep(TTL / 2).await;
    assert_eq!(*script.renewed.lock().unwrap(), [waiting]);

    held.release().await.unwrap();
    let guard = acquire.await.unwrap().unwrap();
    script.hold_renewals.set(false);
    settle().await;

    assert!(guard.is_held());
    coord.close().await.unwrap();
    holder.close().await.unwrap();
}

/// A broken lock passes on to the next; breaking it again because the answer was lost must not break that one too.
#[tokio::test(start_paused = true)]
async fn breaking_a_lock_whose_answer_is_lost_breaks_no_second_holder() {
    let script = Arc::new(Script::default());
    let holder = builder("fault-evict", "holder").connect().await.unwrap();
    let next = builder("fault-evict", "next").connect().await.unwrap();
    let breaker = connect("fault-evict", "breaker", &script).await;
    let broken = holder.lock("x").acquire().await.unwrap();
    let lock = next.lock("x");
    let waiting = tokio::spawn(async move { lock.acquire().await.unwrap() });
    settle().await;
    script.lose_evict_replies.store(1, Ordering::SeqCst);

    let hit = breaker.lock("x").evict(tooz_core::backend::Eviction::Force).await.unwrap();

    assert_eq!(hit, [broken.claim_id()]);
    let guard = waiting.await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(guard.is_held(), "who came to hold was broken too");
    for coord in [holder, next, breaker] {
        coord.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_panicking_driver_is_an_error_and_leaves_nothing() {
    let script = Arc::new(Script::default());
    let coord = connect("fault-panic", "a", &script).await;
    script.panicking_claims.store(1, Ordering::SeqCst);

    let error = coord.lock("x").acquire().await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Internal);
    settle().await;
    assert!(coord.lock("x").queue().await.unwrap().holders.is_empty());
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_longest_times_to_live_and_patience_are_no_trap() {
    let coord = builder("fault-max", "a").ttl(Duration::MAX).timeout(Duration::MAX).connect().await.unwrap();
    let lock = coord.lock("x");
    let guard = lock.acquire_timeout(Duration::MAX).await.unwrap().unwrap();
    assert!(guard.valid_for(Duration::from_secs(1)));

    drop(guard);

    let again = timeout(Duration::from_secs(60), lock.acquire_timeout(Duration::ZERO)).await;
    assert!(again.expect("the janitor lives").unwrap().is_some());
    coord.close().await.unwrap();
}

/// What was let go before is waited for, but not beyond the caller's patience.
#[tokio::test(start_paused = true)]
async fn short_patience_is_not_spent_on_the_past() {
    let script = Arc::new(Script::default());
    let coord = connect("fault-patience", "a", &script).await;
    let lock = coord.lock("x");
    drop(lock.acquire().await.unwrap());
    script.hold_withdrawals.set(true);
    let begun = script.claims.load(Ordering::SeqCst);

    let short = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire_timeout(Duration::from_millis(50)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;

    assert_eq!(script.claims.load(Ordering::SeqCst), begun + 1);
    script.hold_withdrawals.set(false);
    assert!(short.await.unwrap().is_ok());
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn patience_also_counts_while_there_is_no_session() {
    let store = Store::named("fault-between");
    let coord = builder("fault-between", "a").connect().await.unwrap();
    store.cut_off("a");
    store.expire("a");
    coord.state().wait_for(|state| matches!(state, State::Lost(_))).await.unwrap();
    let clock = TokioClock::new();
    let begun = clock.now();

    let won = coord.lock("x").acquire_timeout(Duration::from_secs(1)).await.unwrap();

    assert!(won.is_none());
    assert!(clock.now().since(begun) < Duration::from_secs(2));
    store.reconnect("a");
    coord.state().wait_for(|state| *state == State::Connected).await.unwrap();
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_ends_calls_that_wait_for_a_session_at_once() {
    let store = Store::named("fault-close");
    let coord = builder("fault-close", "a").connect().await.unwrap();
    store.cut_off("a");
    store.expire("a");
    coord.state().wait_for(|state| matches!(state, State::Lost(_))).await.unwrap();
    let waiting = tokio::spawn({
        let lock = coord.lock("x");
        async move { lock.acquire().await }
    });
    settle().await;

    let _ = coord.close().await;
    settle().await;

    assert!(waiting.is_finished());
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
}

/// A caller who tries again because giving back failed would do the work twice.
#[tokio::test(start_paused = true)]
async fn work_that_is_done_is_not_thrown_away_because_giving_back_failed() {
    let script = Arc::new(Script::default());
    let coord = connect("fault-run", "a", &script).await;
    let done = coord
        .lock("x")
        .run(|_| async {
            script.fail_withdrawals.store(true, Ordering::SeqCst);
            7
        })
        .await;
    assert_eq!(done.unwrap(), 7);
    script.fail_withdrawals.store(false, Ordering::SeqCst);
    coord.lock("x").acquire().await.unwrap().release().await.unwrap();
    coord.close().await.unwrap();
}

/// Nobody counts with its deadline any more.
#[tokio::test(start_paused = true)]
async fn an_expired_claim_whose_guard_is_dropped_is_given_back_at_once() {
    let script = Arc::new(Script::default());
    let coord = connect("fault-expired-dropped", "a", &script).await;
    let (lock, session) = (coord.lock("x"), coord.session());
    let clock = TokioClock::new();
    tokio::time::sleep(TTL).await;
    script.hold_renewals.set(true);
    let early = clock.now() - TTL * 4 / 5;
    *script.claim_proof.lock().unwrap() = Some(Proof::Lease { sent: early, ttl: TTL });
    let lost = lock.acquire().await.unwrap();
    assert_eq!(lost.lost().await, Cause::Expired);

    let told = tokio::time::Instant::now();
    let mut trying = Box::pin(lock.try_acquire());
    assert!(trying.as_mut().now_or_never().is_none(), "the work under the guard may not have ended");
    drop(lost);

    assert!(trying.await.unwrap().is_some());
    assert_eq!((told.elapsed(), coord.session()), (Duration::ZERO, session));
    script.hold_renewals.set(false);
    coord.close().await.unwrap();
}
