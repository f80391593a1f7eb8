//! What a membership leaves behind, and what its owner is told.
#![allow(clippy::unwrap_used, reason = "a failed assumption in a test is a failed test")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Script, connect};
use tooz_core::memory::Store;
use tooz_core::{Coordinator, MembershipState};

/// The coordinator loses its session; in the store it lives on until its time is up.
async fn lose_the_session(coord: &Coordinator, script: &Script) {
    script.lose_closings.store(true, Ordering::SeqCst);
    script.session_lost_claims.store(1, Ordering::SeqCst);
    coord.lock("x").acquire().await.unwrap().release().await.unwrap();
}

fn joined(store: &str) -> usize {
    Store::named(store).snapshot().joined.len()
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
