//! What a membership leaves behind, and what its owner is told.
#![allow(clippy::unwrap_used, reason = "a failed assumption in a test is a failed test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Script, builder, connect, settle};
use tooz_core::memory::Store;
use tooz_core::{Coordinator, Effect, ErrorKind, Membership, MembershipState};

/// A member whose session is lost while the store still shows it, and which cannot join again yet.
async fn away(store: &str, script: &Arc<Script>) -> (Coordinator, Membership) {
    let coord =
        builder(store, "a").timeout(Duration::from_secs(2)).wrap(script.wrap()).connect().await.unwrap();
    coord.group("g").create().await.unwrap();
    let me = coord.group("g").join(&()).await.unwrap();
    script.fail_joins.store(usize::MAX, Ordering::SeqCst);
    lose_the_session(&coord, script).await;
    me.state().wait_for(|state| *state == MembershipState::Rejoining).await.unwrap();
    (coord, me)
}

/// The coordinator loses its session; in the store it lives on until its time is up.
async fn lose_the_session(coord: &Coordinator, script: &Script) {
    script.lose_closings.store(true, Ordering::SeqCst);
    script.session_lost_claims.store(1, Ordering::SeqCst);
    coord.lock("x").acquire().await.unwrap().release().await.unwrap();
}

fn joined(store: &str) -> usize {
    Store::named(store).snapshot().joined.len()
}

#[tokio::test(start_paused = true)]
async fn who_leaves_after_a_lost_session_leaves_what_stands_under_that_one_too() {
    let (script, store) = (Arc::new(Script::default()), "memberships-leave");
    let (coord, me) = away(store, &script).await;
    assert_eq!(joined(store), 1, "under the session that is lost");

    script.fail_joins.store(0, Ordering::SeqCst);
    me.leave().await.unwrap();

    assert_eq!(joined(store), 0);
    coord.group("g").join(&()).await.unwrap().leave().await.unwrap();
}

/// The store could not be told in time. What it still shows is this member's own.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_left_gives_way_to_the_next_membership() {
    let (script, store) = (Arc::new(Script::default()), "memberships-behind");
    let (coord, me) = away(store, &script).await;
    let mut state = me.state();

    assert_eq!(me.leave().await.unwrap_err().kind(), ErrorKind::Unavailable);
    state.wait_for(|state| *state == MembershipState::Left).await.unwrap();
    assert_eq!(joined(store), 1, "under the session that is lost");

    script.fail_joins.store(0, Ordering::SeqCst);
    coord.group("g").join(&()).await.unwrap().leave().await.unwrap();
    assert_eq!(joined(store), 0);
}

#[tokio::test(start_paused = true)]
async fn an_update_that_failed_without_effect_takes_no_force_later() {
    let store = Store::named("memberships-update");
    let coord = builder(store.name(), "a").timeout(Duration::from_secs(2)).connect().await.unwrap();
    let group = coord.group("g");
    group.create().await.unwrap();
    let me = group.join(&1).await.unwrap();

    store.cut_off("a");
    let failure = me.update(&2).await.unwrap_err();
    store.reconnect("a");
    assert_eq!((failure.kind(), failure.effect()), (ErrorKind::Unavailable, Effect::None));

    let mut state = me.state();
    store.expire("a");
    state.wait_for(|state| *state == MembershipState::Rejoining).await.unwrap();
    state.wait_for(|state| *state == MembershipState::Joined).await.unwrap();
    let caps = group.members().await.unwrap().get("a").unwrap().capabilities();
    assert_eq!(caps.read::<i32>().unwrap(), 1);
    coord.close().await.unwrap();
}

/// It has joined again and could not yet say what it was told meanwhile, when that session is lost too.
#[tokio::test(start_paused = true)]
async fn a_join_whose_update_fails_is_not_forgotten() {
    let (script, store) = (Arc::new(Script::default()), Store::named("memberships-doubt"));
    let coord = connect(store.name(), "a", &script).await;
    let group = coord.group("g");
    group.create().await.unwrap();
    let me = group.join(&1).await.unwrap();
    let mut state = me.state();
    script.fail_joins.store(1, Ordering::SeqCst);
    script.fail_updates.store(usize::MAX, Ordering::SeqCst);
    store.expire("a");
    state.wait_for(|state| *state == MembershipState::Rejoining).await.unwrap();
    me.update(&2).await.unwrap();
    while joined(store.name()) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    lose_the_session(&coord, &script).await;
    script.fail_updates.store(0, Ordering::SeqCst);

    let back = state.wait_for(|state| *state != MembershipState::Rejoining).await;
    assert_eq!(back.unwrap(), MembershipState::Joined);
    let members = group.members().await.unwrap();
    assert_eq!(members.get("a").unwrap().session(), coord.session());
    assert_eq!(members.get("a").unwrap().capabilities().read::<i32>().unwrap(), 2);
}

/// What was given up may still be there, but this is no other's: it can be tried again.
#[tokio::test(start_paused = true)]
async fn a_join_in_an_outage_is_told_of_the_outage() {
    let store = Store::named("memberships-outage");
    let coord = builder(store.name(), "a").timeout(Duration::from_secs(2)).connect().await.unwrap();
    let group = coord.group("g");
    group.create().await.unwrap();
    let me = group.join(&()).await.unwrap();

    store.cut_off("a");
    drop(me);
    let failure = group.join(&()).await.unwrap_err();

    assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure}");
    store.reconnect("a");
    coord.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_membership_is_asked_after_the_end_says_that_the_coordinator_is_closed() {
    let script = Arc::new(Script::default());
    let coord = connect("memberships-closed", "a", &script).await;
    let group = coord.group("g");
    group.create().await.unwrap();
    let me = group.join(&1).await.unwrap();

    script.fail_leaves.store(true, Ordering::SeqCst);
    let ending = coord.clone();
    let closing = tokio::spawn(async move { ending.close().await });
    settle().await;
    assert!(!closing.is_finished());
    assert_eq!(me.update(&2).await.unwrap_err().kind(), ErrorKind::Closed, "under way");
    closing.await.unwrap().unwrap();

    assert_eq!(me.update(&2).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(me.leave().await.unwrap_err().kind(), ErrorKind::Closed);
}
