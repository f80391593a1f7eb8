//! The claim deadline under paused time: what proves a claim, what does not, and when it ends.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Script, builder, connect, settle};
use tooz_core::backend::{Doubt, Eviction, Proof};
use tooz_core::{Cause, Clock, ErrorKind, State, TokioClock};

const TTL: Duration = Duration::from_secs(10);

/// Interleaving 1: a claim's own success says nothing about the session. Granted on a proof that is over,
/// it becomes a guard only after the next proof.
#[tokio::test(start_paused = true)]
async fn a_grant_on_an_old_proof_becomes_a_guard_only_with_the_next_one() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-1", "a", &script).await;
    let long_ago = TokioClock::new().now() - Duration::from_secs(60);
    *script.claim_proof.lock().unwrap() = Some(Proof::Lease { sent: long_ago, ttl: TTL });
    let lock = coord.lock("x");

    let acquire = lock.acquire();
    tokio::pin!(acquire);
    tokio::select! {
        biased;
        _ = &mut acquire => panic!("a guard was born of an old proof"),
        () = settle() => {}
    }
    *script.claim_proof.lock().unwrap() = None;
    let guard = acquire.await.unwrap();

    assert!(guard.is_held());
    coord.close().await.unwrap();
}

/// Interleaving 2: a beat that was sent before a claim was granted does not extend it, although it is carried
/// out later.
#[tokio::test(start_paused = true)]
async fn a_beat_extends_only_the_claims_it_named() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-2", "a", &script).await;
    script.delay_renewals.set(true);
    tokio::time::sleep(TTL * 9 / 20).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    assert!(script.renewed.lock().unwrap().is_empty(), "only a beat without claims is under way");
    let before = guard.deadline().unwrap();
    // Still before the next beat, and long enough for the proof of this one to be newer than the grant's.
    tokio::time::advance(TTL / 100).await;

    script.delay_renewals.set(false);
    settle().await;

    assert_eq!(guard.deadline().unwrap(), before);
    coord.close().await.unwrap();
}

/// Interleaving 2: a beat that found a claim in the queue renewed its place there, and no more.
#[tokio::test(start_paused = true)]
async fn a_beat_that_named_a_waiter_does_not_extend_the_holder_it_became() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-waiter", "a", &script).await;
    let other = connect("deadline-waiter", "b", &Arc::default()).await;
    *script.turn_proof.lock().unwrap() = Some(Proof::Lease { sent: TokioClock::new().now(), ttl: TTL });
    let held = other.lock("x").acquire().await.unwrap();
    let lock = coord.lock("x");
    let waiting = tokio::spawn(async move { lock.acquire().await.unwrap() });
    settle().await;
    script.renewed.lock().unwrap().clear();
    script.hold_renewals.set(true);
    while script.renewed.lock().unwrap().is_empty() {
        tokio::time::advance(TTL / 100).await;
        settle().await;
    }
    held.release().await.unwrap();
    let guard = waiting.await.unwrap();
    let before = guard.deadline().unwrap();
    assert_eq!(*script.renewed.lock().unwrap(), [guard.claim_id()], "the beat under way named the waiter");

    script.hold_renewals.set(false);
    settle().await;

    assert_eq!(guard.deadline().unwrap(), before);
    tokio::time::sleep(TTL / 2).await;
    assert!(guard.deadline().unwrap() > before, "the next one counts");
    coord.close().await.unwrap();
    other.close().await.unwrap();
}

/// However late a beat is answered, it proves nothing beyond the moment it was sent at.
#[tokio::test(start_paused = true)]
async fn a_late_answer_counts_from_when_its_beat_was_sent() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-late", "a", &script).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    let granted = guard.deadline().unwrap();
    script.hold_renewals.set(true);
    tokio::time::sleep(TTL * 9 / 20).await;

    script.hold_renewals.set(false);
    settle().await;

    let gained = guard.deadline().unwrap().since(granted);
    // Beats are a third of the time to live apart, give or take a tenth.
    assert!(gained >= TTL * 29 / 100 && gained <= TTL * 37 / 100, "the deadline moved by {gained:?}");
    coord.close().await.unwrap();
}

/// Interleaving 2: "ousted" about a claim whose grant arrived after the beat was sent is not believed.
#[tokio::test(start_paused = true)]
async fn an_ousting_counts_only_for_claims_the_beat_named() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-2b", "a", &script).await;
    script.hold_renewals.set(true);
    tokio::time::sleep(TTL / 2).await;
    let late = coord.lock("late").acquire().await.unwrap();
    // The answer under way was computed before; only its delivery is outstanding.
    script.hold_renewals.set(false);
    settle().await;
    assert!(late.is_held());

    script.ousted.lock().unwrap().push(late.claim_id());
    assert_eq!(late.lost().await, Cause::Ousted);
    coord.close().await.unwrap();
}

/// Interleaving 5: a holder that cannot renew hears of it before the store can grant anyone else.
#[tokio::test(start_paused = true)]
async fn lost_fires_before_the_deadline_when_answers_stop() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-5", "a", &script).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    let clock = TokioClock::new();
    let ends_in = guard.remaining().unwrap();
    script.hold_renewals.set(true);
    let begun = clock.now();

    assert_eq!(guard.lost().await, Cause::Expired);

    assert!(clock.now().since(begun) < ends_in, "told after {:?} of {ends_in:?}", clock.now().since(begun));
    assert!(!guard.is_held());
    script.hold_renewals.set(false);
    let error = guard.release().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lost);
    coord.close().await.unwrap();
}

/// `lost()` comes early; work that was begun before counts with the deadline that it was told.
#[tokio::test(start_paused = true)]
async fn a_lost_claim_is_given_back_no_earlier_than_its_deadline() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-given-back", "a", &script).await;
    let other = connect("deadline-given-back", "b", &Arc::default()).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    let lock = other.lock("x");
    let waiting = tokio::spawn(async move { lock.acquire().await.unwrap() });
    script.hold_renewals.set(true);
    let (left, began) = (guard.remaining().unwrap(), tokio::time::Instant::now());

    let next = waiting.await.unwrap();

    assert!(began.elapsed() >= left, "{:?} of {left:?}", began.elapsed());
    assert_eq!(guard.lost().await, Cause::Expired);
    script.hold_renewals.set(false);
    drop((guard, next));
    coord.close().await.unwrap();
    other.close().await.unwrap();
}

/// Interleaving 4: answers stall past the deadline while the store still shows us as the holder. A new
/// acquire in the `lost()` handler must not wait for the lost claim.
#[tokio::test(start_paused = true)]
async fn a_lost_guard_does_not_make_its_successor_wait() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-4", "a", &script).await;
    let lock = coord.lock("x");
    let lost = lock.acquire().await.unwrap();
    script.hold_renewals.set(true);
    lost.lost().await;
    script.hold_renewals.set(false);

    let again = lock.try_acquire().await.unwrap().expect("the lost claim was withdrawn");

    assert!(again.fencing_token() > lost.fencing_token());
    assert!(again.is_held() && !lost.is_held());
    coord.close().await.unwrap();
}

/// Told of a loss that the store knows nothing of, under a session that lives on, the claim is given back all the same.
#[tokio::test(start_paused = true)]
async fn a_lost_claim_does_not_stay_under_a_session_that_lives_on() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-lives-on", "a", &script).await;
    let (lock, session) = (coord.lock("x"), coord.session());
    let lost = lock.acquire().await.unwrap();
    script.ousted.lock().unwrap().push(lost.claim_id());
    assert_eq!(lost.lost().await, Cause::Ousted);

    assert!(lock.try_acquire().await.unwrap().is_some(), "the lost claim was withdrawn");
    assert_eq!(coord.session(), session);
    coord.close().await.unwrap();
}

/// The same of a claim that was proved for less long than its session.
#[tokio::test(start_paused = true)]
async fn an_expired_claim_does_not_stay_under_a_session_that_lives_on() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-claim-only", "a", &script).await;
    let (lock, session) = (coord.lock("x"), coord.session());
    let clock = TokioClock::new();
    tokio::time::sleep(TTL).await;
    script.hold_renewals.set(true);
    let early = clock.now() - TTL * 4 / 5;
    *script.claim_proof.lock().unwrap() = Some(Proof::Lease { sent: early, ttl: TTL });
    let lost = lock.acquire().await.unwrap();
    assert_eq!(lost.lost().await, Cause::Expired);
    script.hold_renewals.set(false);

    assert!(lock.try_acquire().await.unwrap().is_some(), "the lost claim was withdrawn");
    assert_eq!(coord.session(), session);
    coord.close().await.unwrap();
}

/// A new hold is watched a little later, and nobody else's watch waits for that.
#[tokio::test(start_paused = true)]
async fn a_broken_lock_is_told_at_once_while_another_is_granted() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-busy", "a", &script).await;
    let other = connect("deadline-busy", "b", &Arc::default()).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    tokio::time::sleep(TTL / 100).await;
    // It is about to be watched, in a moment.
    let young = coord.lock("y").acquire().await.unwrap();
    settle().await;
    let clock = TokioClock::new();
    other.lock("x").evict(Eviction::Force).await.unwrap();
    let broken = clock.now();

    assert_eq!(guard.lost().await, Cause::Ousted);

    assert!(clock.now().since(broken) < Duration::from_millis(2));
    young.release().await.unwrap();
    coord.close().await.unwrap();
    other.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn renewals_keep_a_claim_for_as_long_as_it_is_held() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-renew", "a", &script).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(TTL).await;
        assert!(guard.is_held());
    }
    guard.release().await.unwrap();
    coord.close().await.unwrap();
}

/// The watch over deadlines rests while nothing is held; a claim held after a long rest is watched again.
#[tokio::test(start_paused = true)]
async fn a_claim_held_after_a_long_rest_is_told_in_time() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-rest", "a", &script).await;
    tokio::time::sleep(TTL * 10).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    let ends_in = guard.remaining().unwrap();
    let clock = TokioClock::new();
    let begun = clock.now();
    script.hold_renewals.set(true);

    assert_eq!(guard.lost().await, Cause::Expired);

    assert!(clock.now().since(begun) < ends_in);
    script.hold_renewals.set(false);
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn single_lost_beats_cost_no_claim_but_are_told_as_suspended() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-suspend", "a", &script).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    let mut state = coord.state();
    script.fail_renewals.store(true, Ordering::SeqCst);

    state.wait_for(|state| matches!(state, State::Suspended { .. })).await.unwrap();
    script.fail_renewals.store(false, Ordering::SeqCst);
    state.wait_for(|state| *state == State::Connected).await.unwrap();

    assert!(guard.is_held());
    guard.release().await.unwrap();
    coord.close().await.unwrap();
}

/// Interleaving 6: holders are looked after, but a short hold is over before that, however many follow each other.
#[tokio::test(start_paused = true)]
async fn short_holds_in_a_row_are_not_waited_for_and_a_long_one_is() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-short", "a", &script).await;
    let lock = coord.lock("x");
    for _ in 0..20 {
        let guard = lock.acquire().await.unwrap();
        tokio::time::sleep(Duration::from_millis(15)).await;
        guard.release().await.unwrap();
    }
    assert_eq!(script.watched.load(Ordering::SeqCst), 0);

    let guard = lock.acquire().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(script.watched.load(Ordering::SeqCst), 1);
    guard.release().await.unwrap();
    coord.close().await.unwrap();
}

/// The answer to its release may take long: whatever the store shows of it meanwhile is no news.
#[tokio::test(start_paused = true)]
async fn a_hold_that_is_being_given_back_is_not_looked_after() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-giving-back", "a", &script).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    tokio::time::sleep(Duration::from_millis(15)).await;
    script.hold_withdrawals.set(true);
    let releasing = tokio::spawn(guard.release());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(script.watched.load(Ordering::SeqCst), 0);

    script.hold_withdrawals.set(false);
    releasing.await.unwrap().unwrap();
    coord.close().await.unwrap();
}

/// Interleaving 9: a grant or queue entry of ours that nobody here knows is withdrawn when seen.
#[tokio::test(start_paused = true)]
async fn a_claim_that_nobody_here_made_is_withdrawn_when_a_beat_shows_it() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-9", "a", &script).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    let stray = tooz_core::Claim {
        id: tooz_core::ClaimId::random(),
        seat: tooz_core::Seat::Lock(tooz_core::Name::new("x").unwrap()),
        mode: tooz_core::Mode::Exclusive,
        member: coord.member().clone(),
        value: bytes::Bytes::new(),
    };
    script.strays.lock().unwrap().push(stray.clone());

    tokio::time::sleep(TTL / 2).await;

    assert_eq!(*script.withdrawals.lock().unwrap(), [(stray.id, Doubt::None)]);
    assert!(guard.is_held());
    coord.close().await.unwrap();
}

/// Interleaving 17: a lost push costs a waiter no more than the time its place asks to be revisited after.
#[tokio::test(start_paused = true)]
async fn a_waiter_whose_push_is_lost_asks_again() {
    let script = Arc::new(Script::default());
    let holder = builder("deadline-17", "holder").connect().await.unwrap();
    let waiter = connect("deadline-17", "waiter", &script).await;
    *script.mute_turns.lock().unwrap() = Some(Duration::from_secs(3));
    let held = holder.lock("x").acquire().await.unwrap();
    let lock = waiter.lock("x");
    let acquire = tokio::spawn(async move { lock.acquire().await });
    settle().await;
    held.release().await.unwrap();

    let asked_again = tokio::time::timeout(TTL, acquire).await.expect("the waiter sleeps on");
    let guard = asked_again.unwrap().unwrap();

    assert!(guard.is_held());
    assert_eq!(script.claims.load(Ordering::SeqCst), 2);
    drop(guard);
    waiter.close().await.unwrap();
    holder.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_healed_by_the_claim_id() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-reply", "a", &script).await;
    script.lose_claim_replies.store(2, Ordering::SeqCst);

    let guard = coord.lock("x").acquire().await.unwrap();

    assert_eq!(script.claims.load(Ordering::SeqCst), 3);
    assert_eq!(coord.lock("x").queue().await.unwrap().holders.len(), 1);
    // Interleaving 7: an attempt of it may still land, so its withdrawal leaves a mark.
    let id = guard.claim_id();
    guard.release().await.unwrap();
    assert_eq!(*script.withdrawals.lock().unwrap(), [(id, Doubt::MayLand)]);
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_store_that_never_answers_ends_in_unavailable_within_the_timeout() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-mute", "a", &script).await;
    script.hold_claims.set(true);
    let clock = TokioClock::new();
    let begun = clock.now();

    let error = coord.lock("x").acquire().await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(clock.now().since(begun) <= Duration::from_secs(13), "{:?}", clock.now().since(begun));
    script.hold_claims.set(false);
    settle().await;
    assert!(coord.lock("x").queue().await.unwrap().holders.is_empty(), "the claim was withdrawn");
    coord.close().await.unwrap();
}

/// The watch over deadlines looks now and then: whoever holds for less than that would be told too late.
#[tokio::test(start_paused = true)]
async fn a_guard_is_born_only_with_time_for_its_loss_to_be_told() {
    let script = Arc::new(Script::default());
    let coord = connect("deadline-nearly-over", "a", &script).await;
    let clock = TokioClock::new();
    tokio::time::sleep(TTL).await;
    let nearly_over = Proof::Lease { sent: clock.now() - (TTL - Duration::from_millis(220)), ttl: TTL };
    *script.claim_proof.lock().unwrap() = Some(nearly_over);
    let lock = coord.lock("x");
    let acquire = tokio::spawn(async move { lock.acquire().await });
    settle().await;
    assert!(!acquire.is_finished(), "a hundred milliseconds are too few");

    *script.claim_proof.lock().unwrap() = None;
    let guard = acquire.await.unwrap().unwrap();

    assert!(guard.valid_for(TTL / 2));
    coord.close().await.unwrap();
}
