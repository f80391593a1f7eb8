//! After a lost session intents come back by themselves, possessions never.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Script, builder, connect, settle};
use futures_util::FutureExt;
use tooz_core::memory::Store;
use tooz_core::{Cause, ErrorKind, Event, MembershipState, Observation, State};

/// Interleaving 12: a waiting acquire whose session is lost ends that claim and queues again under the next
/// session, at the end of the queue.
#[tokio::test(start_paused = true)]
async fn a_waiting_acquire_survives_the_loss_of_its_session() {
    let store = Store::named("session-12");
    let holder = builder("session-12", "holder").connect().await.unwrap();
    let waiter = builder("session-12", "waiter").connect().await.unwrap();
    let later = builder("session-12", "later").connect().await.unwrap();
    let held = holder.lock("x").acquire().await.unwrap();
    let spawn = |coord: &tooz_core::Coordinator| {
        let lock = coord.lock("x");
        tokio::spawn(async move { lock.acquire().await })
    };
    let waiting = spawn(&waiter);
    settle().await;
    let behind = spawn(&later);
    settle().await;
    let before = holder.lock("x").queue().await.unwrap();

    store.expire("waiter");
    waiter.state().wait_for(|state| *state == State::Connected).await.unwrap();
    let queue = loop {
        settle().await;
        let queue = holder.lock("x").queue().await.unwrap();
        if queue.waiting.len() == 2 && queue.waiting[1].member.as_ref().unwrap() == "waiter" {
            break queue;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };

    assert_ne!(queue.waiting[1].claim, before.waiting[0].claim, "a new claim");
    held.release().await.unwrap();
    behind.await.unwrap().unwrap().release().await.unwrap();
    waiting.await.unwrap().unwrap().release().await.unwrap();
    for coord in [holder, waiter, later] {
        coord.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn guards_are_lost_with_their_session_and_never_come_back() {
    let store = Store::named("session-guard");
    let coord = builder("session-guard", "a").connect().await.unwrap();
    let guard = coord.lock("x").acquire().await.unwrap();
    let first = coord.session().unwrap();

    store.expire("a");

    assert_eq!(guard.lost().await, Cause::SessionEnded);
    coord.state().wait_for(|state| *state == State::Connected).await.unwrap();
    assert_ne!(coord.session().unwrap(), first);
    assert!(!guard.is_held());
    assert_eq!(guard.release().await.unwrap_err().kind(), ErrorKind::Lost);
    assert!(coord.lock("x").try_acquire().await.unwrap().is_some());
    coord.close().await.unwrap();
}

/// Interleaving 22: a membership comes back with a new incarnation; watchers see both.
#[tokio::test(start_paused = true)]
async fn a_membership_comes_back_with_a_new_incarnation() {
    let store = Store::named("session-22");
    let watcher = builder("session-22", "watcher").connect().await.unwrap();
    let coord = builder("session-22", "a").connect().await.unwrap();
    coord.group("g").create().await.unwrap();
    let me = coord.group("g").join(&"hello").await.unwrap();
    let mut view = watcher.group("g").watch().await.unwrap();
    let first = coord.session();
    let mut state = me.state();

    store.expire("a");
    state.wait_for(|state| *state == MembershipState::Rejoining).await.unwrap();
    state.wait_for(|state| *state == MembershipState::Joined).await.unwrap();

    assert!(matches!(view.next_event().await.unwrap(), Event::Left(member) if member.session() == first));
    let Event::Joined(back) = view.next_event().await.unwrap() else { panic!("joined again") };
    assert_eq!(back.session(), coord.session());
    assert_eq!(back.capabilities().read::<String>().unwrap(), "hello");
    me.leave().await.unwrap();
    assert!(matches!(view.next_event().await.unwrap(), Event::Left(_)));
    coord.close().await.unwrap();
    watcher.close().await.unwrap();
}

/// What stands under the session that was lost is its own, also when nobody knows whether the next one has replaced it.
#[tokio::test(start_paused = true)]
async fn a_membership_comes_back_though_its_join_is_lost_on_the_way() {
    for lost_joins in 1..4 {
        let script = Arc::new(Script::default());
        let coord = connect(&format!("session-join-{lost_joins}"), "a", &script).await;
        coord.group("g").create().await.unwrap();
        let me = coord.group("g").join(&()).await.unwrap();
        let mut state = me.state();
        script.lose_joins.store(lost_joins, Ordering::SeqCst);
        script.lose_closings.store(true, Ordering::SeqCst);
        script.session_lost_claims.store(1, Ordering::SeqCst);

        let guard = coord.lock("x").acquire().await.unwrap();

        let back = state.wait_for(|state| *state != MembershipState::Rejoining).await;
        assert_eq!(back.unwrap(), MembershipState::Joined, "after {lost_joins} joins that were lost");
        let members = coord.group("g").members().await.unwrap();
        assert!(members.iter().any(|member| member.session() == coord.session()));
        guard.release().await.unwrap();
        script.lose_closings.store(false, Ordering::SeqCst);
        coord.close().await.unwrap();
    }
}

/// A join that had landed although its answer was lost brought the old capabilities; those acknowledged since count.
#[tokio::test(start_paused = true)]
async fn capabilities_updated_while_a_join_is_in_doubt_are_those_that_stand() {
    let (script, store) = (Arc::new(Script::default()), Store::named("session-update"));
    let coord = connect("session-update", "a", &script).await;
    coord.group("g").create().await.unwrap();
    let me = coord.group("g").join(&"old").await.unwrap();
    let mut state = me.state();
    script.lose_join_replies.store(1, Ordering::SeqCst);

    store.expire("a");
    while script.lose_join_replies.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    me.update(&"new").await.unwrap();

    state.wait_for(|state| *state == MembershipState::Joined).await.unwrap();
    let capabilities = coord.group("g").members().await.unwrap().get("a").unwrap().capabilities();
    assert_eq!(capabilities.read::<String>().unwrap(), "new");
    coord.close().await.unwrap();
}

/// A store that ends every session at once is not asked for the next at the speed of the line.
#[tokio::test(start_paused = true)]
async fn sessions_that_end_young_are_followed_ever_more_slowly() {
    let store = Store::named("session-young");
    let coord = builder("session-young", "a").connect().await.unwrap();
    let began = tokio::time::Instant::now();
    for _ in 0..12 {
        let session = coord.session();
        store.expire("a");
        while coord.session().is_none_or(|next| Some(next) == session) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    let spent = began.elapsed();
    assert!(spent > Duration::from_secs(5), "twelve sessions in {spent:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    let began = tokio::time::Instant::now();
    store.expire("a");
    while coord.session().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(began.elapsed() < Duration::from_millis(100), "one that has lived is followed at once");
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn candidates_campaign_again_and_observers_see_the_vacancy() {
    let store = Store::named("session-elect");
    let observer = builder("session-elect", "observer").connect().await.unwrap();
    let coord = builder("session-elect", "a").connect().await.unwrap();
    let leads = coord.group("g").election().campaign("v1").await.unwrap();
    let first_term = leads.term();
    let mut seen = observer.group("g").election().observe().await.unwrap();
    assert!(
        matches!(seen.next().await, Some(Observation::Held(leader)) if leader.value.as_deref() == Some(b"v1"))
    );

    store.expire("a");

    assert_eq!(leads.lost().await, Cause::SessionEnded);
    assert_eq!(seen.next().await, Some(Observation::Vacant));
    let again = coord.group("g").election().campaign("v2").await.unwrap();
    assert!(again.term() > first_term);
    assert!(
        matches!(seen.next().await, Some(Observation::Held(leader)) if leader.term == Some(again.term()))
    );
    again.proclaim("v3").await.unwrap();
    assert!(
        matches!(seen.next().await, Some(Observation::Held(leader)) if leader.value.as_deref() == Some(b"v3"))
    );
    again.resign().await.unwrap();
    assert_eq!(seen.next().await, Some(Observation::Vacant));
    coord.close().await.unwrap();
    observer.close().await.unwrap();
}

/// Interleaving 21: the same member id twice: one session never releases or renews what the other holds.
#[tokio::test(start_paused = true)]
async fn namesakes_exclude_each_other_and_touch_nothing_of_each_other() {
    let one = builder("session-21", "same").connect().await.unwrap();
    let two = builder("session-21", "same").connect().await.unwrap();
    one.group("g").create().await.unwrap();
    let guard = one.lock("x").acquire().await.unwrap();
    let me = one.group("g").join(&()).await.unwrap();

    assert!(two.lock("x").try_acquire().await.unwrap().is_none());
    assert_eq!(two.group("g").join(&()).await.unwrap_err().kind(), ErrorKind::AlreadyMember);
    two.close().await.unwrap();

    assert!(guard.is_held());
    assert!(one.group("g").members().await.unwrap().contains("same"));
    assert_eq!(one.group("g").join(&()).await.unwrap_err().kind(), ErrorKind::AlreadyMember);
    me.leave().await.unwrap();
    guard.release().await.unwrap();
    one.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_evicted_holder_is_told() {
    let coord = builder("session-6", "a").connect().await.unwrap();
    let other = builder("session-6", "b").connect().await.unwrap();
    let guard = coord.lock("x").acquire().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;

    let hit = other.lock("x").evict(tooz_core::backend::Eviction::Notice).await.unwrap();

    assert_eq!(hit, [guard.claim_id()]);
    assert_eq!(guard.lost().await, Cause::Ousted);
    assert!(other.lock("x").try_acquire().await.unwrap().is_some());
    coord.close().await.unwrap();
    other.close().await.unwrap();
}

/// The work under a broken lock needs a moment to end: the next holder's begins after it.
#[tokio::test(start_paused = true)]
async fn a_broken_lock_passes_on_when_its_guard_is_dropped_or_after_a_while() {
    let store = |member| builder("session-let-go", member).connect();
    let (a, b, operator) = (store("a").await.unwrap(), store("b").await.unwrap(), store("o").await.unwrap());
    for drops in [true, false] {
        let guard = a.lock("x").acquire().await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let lock = b.lock("x");
        let waiting = tokio::spawn(async move { lock.acquire().await });
        let lock = operator.lock("x");
        let breaking = tokio::spawn(async move { lock.evict(tooz_core::backend::Eviction::Notice).await });

        assert_eq!(guard.lost().await, Cause::Ousted);
        let told = tokio::time::Instant::now();
        settle().await;
        assert!(!waiting.is_finished(), "the work under the guard may not have ended");

        let held = (!drops).then_some(guard);
        let next = waiting.await.unwrap().unwrap();
        let took = told.elapsed();
        assert_eq!(took < Duration::from_millis(50), drops, "{took:?}");
        assert!(took < Duration::from_millis(400), "{took:?}");
        assert_eq!(breaking.await.unwrap().unwrap().len(), 1);
        drop(held);
        next.release().await.unwrap();
    }
    for coord in [a, b, operator] {
        coord.close().await.unwrap();
    }
}

/// Nobody is left then to withdraw the claim when its guard has had its while.
#[tokio::test(start_paused = true)]
async fn a_broken_lock_whose_session_ends_is_free_at_once() {
    let coord = builder("session-let-go-ended", "a").connect().await.unwrap();
    let operator = builder("session-let-go-ended", "o").connect().await.unwrap();
    let broken = coord.lock("x").acquire().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let lock = operator.lock("x");
    let breaking = tokio::spawn(async move { lock.evict(tooz_core::backend::Eviction::Notice).await });
    assert_eq!(broken.lost().await, Cause::Ousted);

    let mut state = coord.state();
    Store::named("session-let-go-ended").expire("a");
    state.wait_for(|state| matches!(state, State::Lost(_))).await.unwrap();
    state.wait_for(|state| *state == State::Connected).await.unwrap();
    breaking.await.unwrap().unwrap();
    let asked = tokio::time::Instant::now();
    let guard = coord.lock("x").try_acquire().await.unwrap().expect("its session ended");

    assert_eq!(asked.elapsed(), Duration::ZERO);
    drop((broken, guard));
    coord.close().await.unwrap();
    operator.close().await.unwrap();
}

/// Waits for an ousting end with their session, and may do so before anybody else hears of it.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_session_is_not_taken_for_an_ousting() {
    let script = Arc::new(Script::default());
    let coord = connect("session-not-ousted", "a", &script).await;
    let guard = coord.lock("x").acquire().await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(script.watched.load(Ordering::SeqCst), 1);

    script.has_ended.store(true, Ordering::SeqCst);
    script.ended_unheard.notify_waiters();

    assert_eq!(guard.lost().await, Cause::SessionEnded);
    coord.state().wait_for(|state| *state == State::Connected).await.unwrap();
    drop(guard);
    coord.close().await.unwrap();
}

/// The answer to a join comes when its session is over and the store is out of reach.
#[tokio::test(start_paused = true)]
async fn a_membership_between_sessions_hears_its_owner() {
    let script = Arc::new(Script::default());
    let coord = connect("session-late-join", "a", &script).await;
    coord.group("g").create().await.unwrap();
    script.hold_renewals.set(true);
    tokio::time::sleep(Duration::from_secs(9)).await;
    script.hold_joins.set(true);
    let group = coord.group("g");
    let joining = tokio::spawn(async move { group.join(&()).await });
    settle().await;
    let store = Store::named("session-late-join");
    store.cut_off("a");
    coord.state().wait_for(|state| matches!(state, State::Lost(_))).await.unwrap();
    script.hold_joins.set(false);
    let me = joining.await.unwrap().unwrap();
    me.state().wait_for(|state| *state == MembershipState::Rejoining).await.unwrap();

    let left = tokio::time::timeout(Duration::from_secs(60), me.leave()).await.expect("an answer in time");

    assert_eq!(left.unwrap_err().kind(), ErrorKind::Unavailable);
    store.reconnect("a");
    script.hold_renewals.set(false);
    coord.state().wait_for(|state| *state == State::Connected).await.unwrap();
    coord.close().await.unwrap();
}

/// It seems to be gone, and is not: what it finds there of its own says what it said before.
#[tokio::test(start_paused = true)]
async fn an_update_made_while_away_stands_after_the_return() {
    let script = Arc::new(Script::default());
    let coord = connect("session-away", "a", &script).await;
    let group = coord.group("g");
    group.create().await.unwrap();
    let me = group.join(&1).await.unwrap();
    script.fail_joins.store(1, Ordering::SeqCst);
    script.expelled.lock().unwrap().push(tooz_core::Name::new("g").unwrap());
    let mut state = me.state();
    state.wait_for(|state| *state == MembershipState::Rejoining).await.unwrap();

    me.update(&2).await.unwrap();

    state.wait_for(|state| *state == MembershipState::Joined).await.unwrap();
    let caps = group.members().await.unwrap().get("a").unwrap().capabilities();
    assert_eq!(caps.read::<i32>().unwrap(), 2);
    me.leave().await.unwrap();
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_a_membership_or_its_join_leaves_the_group() {
    let coord = builder("session-leave", "a").connect().await.unwrap();
    let group = coord.group("g");
    group.create().await.unwrap();
    let me = group.join(&1).await.unwrap();
    me.update(&2).await.unwrap();
    let caps = group.members().await.unwrap().get("a").unwrap().capabilities();
    assert_eq!(caps.read::<i32>().unwrap(), 2);
    let mut state = me.state();
    drop(me);
    state.wait_for(|state| *state == MembershipState::Left).await.unwrap();
    assert!(group.members().await.unwrap().is_empty());

    for polls in 1..20 {
        let join = group.join(&());
        tokio::pin!(join);
        for _ in 0..polls {
            if join.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    while !group.members().await.unwrap().is_empty() {
        settle().await;
    }
    group.delete().await.unwrap();
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_between_two_sessions_says_so_at_once() {
    let store = Store::named("session-between");
    let coord = builder("session-between", "a").connect().await.unwrap();
    let guard = coord.lock("x").acquire().await.unwrap();
    store.cut_off("a");
    guard.lost().await;
    coord.state().wait_for(|state| matches!(state, State::Lost(_))).await.unwrap();
    let begun = tokio::time::Instant::now();

    let error = coord.close().await.unwrap_err();

    assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::Unavailable, Duration::ZERO));
    assert_eq!(coord.state().borrow(), State::Closed);
}

/// Whichever of them began it, and also when nobody waited for it to the end.
#[tokio::test(start_paused = true)]
async fn every_close_tells_how_closing_went() {
    let store = Store::named("session-close-twice");
    let coord = builder("session-close-twice", "a").connect().await.unwrap();
    store.cut_off("a");
    assert!(coord.close().now_or_never().is_none());

    for _ in 0..2 {
        assert_eq!(coord.close().await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert_eq!(coord.state().borrow(), State::Closed);
}
