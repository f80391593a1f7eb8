//! After a lost session: possessions are gone, intents come back by themselves.

use tooz_core::{Cause, Coordinator, ErrorKind, Event, MembershipState, State};

use super::queued;
use crate::{World, within};

/// Ends the coordinator's session in the store and waits until it has another.
pub(super) async fn lose_session(world: &World, coord: &Coordinator) {
    let old = coord.session().expect("a session");
    world.expire(coord.member(), old).await;
    let mut state = coord.state();
    within("the next session", async {
        while coord.session().is_none_or(|session| session == old) || state.borrow() != State::Connected {
            state.changed().await.unwrap();
        }
    })
    .await;
}

/// A lock is lost with its session and does not come back; the coordinator goes on with the next session.
pub(super) async fn a_lock_is_lost_with_its_session(world: &World) {
    let coord = world.connect("a").await;
    let guard = coord.lock("nightly").acquire().await.unwrap();
    let token = guard.fencing_token();
    lose_session(world, &coord).await;
    assert!(!guard.is_held());
    assert_eq!(guard.lost().await, Cause::SessionEnded);

    let next = coord.lock("nightly").acquire().await.unwrap();
    assert!(next.fencing_token() > token && !guard.is_held(), "a lost guard came back");
    assert_eq!(guard.release().await.unwrap_err().kind(), ErrorKind::Lost);
    assert!(next.is_held());
    next.release().await.unwrap();
}

/// Interleaving 12: a waiting acquire whose session is lost queues again under the next one, and is served.
pub(super) async fn a_waiting_acquire_survives_its_session(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    let waiter = tokio::spawn({
        let lock = b.lock("nightly");
        async move { lock.acquire().await }
    });
    queued(&a, "nightly", 1).await;
    let before = a.lock("nightly").queue().await.unwrap().waiting[0].claim;
    lose_session(world, &b).await;
    queued(&a, "nightly", 1).await;
    let after = a.lock("nightly").queue().await.unwrap().waiting[0].claim;
    assert_ne!(before, after, "the old claim waits on");
    guard.release().await.unwrap();
    drop(within("the waiter's turn", waiter).await.unwrap().unwrap());
}

/// A membership comes back under a new incarnation, with its latest capabilities.
pub(super) async fn a_membership_comes_back(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    a.group("blue").create_if_missing().await.unwrap();
    let mut view = a.group("blue").watch().await.unwrap();
    let me = b.group("blue").join(&1).await.unwrap();
    let Event::Joined(first) = within("the join", view.next_event()).await.unwrap() else { panic!("no join") };
    me.update(&2).await.unwrap();

    lose_session(world, &b).await;
    let mut state = me.state();
    within("the membership", state.wait_for(|state| *state == MembershipState::Joined)).await.unwrap();
    within("see the new incarnation", async {
        loop {
            let roster = a.group("blue").members().await.unwrap();
            if let Some(member) = roster.get("b")
                && member.session() == b.session()
            {
                assert_ne!(member.session(), first.session());
                assert_eq!(member.capabilities().read::<u32>().unwrap(), 2);
                return;
            }
            view.changed().await.unwrap();
        }
    })
    .await;
    me.leave().await.unwrap();
}

/// A candidate campaigns again; a leader does not lead again by itself.
pub(super) async fn a_candidate_campaigns_again(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let term = a.group("blue").election().campaign("a").await.unwrap();
    let election = b.group("blue").election();
    let candidate = tokio::spawn(async move { election.campaign("b").await });
    let waits = async || {
        crate::eventually("see the candidate wait", async || {
            let queue = a.group("blue").election().queue().await.map_err(|e| e.to_string())?;
            if queue.waiting.len() == 1 { Ok(()) } else { Err(format!("{queue:?}")) }
        })
        .await;
    };
    waits().await;
    lose_session(world, &b).await;
    waits().await;
    lose_session(world, &a).await;
    let led = within("the candidate's turn", candidate).await.unwrap().unwrap();
    assert!(!term.is_held() && led.is_held());
    let leader = a.group("blue").election().leader().await.unwrap().expect("b leads");
    assert_eq!(leader.term, Some(led.term()));
    led.resign().await.unwrap();
}

/// Views and observers resume after their session was lost, and show what changed meanwhile.
pub(super) async fn views_resume(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    a.group("blue").create_if_missing().await.unwrap();
    let mut view = a.group("blue").watch().await.unwrap();
    let mut observer = a.group("blue").election().observe().await.unwrap();
    lose_session(world, &a).await;
    let me = b.group("blue").join(&()).await.unwrap();
    within("see the member", async {
        while !view.borrow().contains("b") {
            view.changed().await.unwrap();
        }
    })
    .await;
    let term = b.group("blue").election().campaign("b").await.unwrap();
    within("see the leader", async {
        while !matches!(observer.next().await, Some(tooz_core::Observation::Held(_))) {}
    })
    .await;
    term.resign().await.unwrap();
    me.leave().await.unwrap();
}

/// A holder cut off from the store stops claiming before anybody else is granted the lock.
pub(super) async fn a_holder_that_is_cut_off_stops_claiming_first(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    let mut state = a.state();
    world.suspend(a.member()).await;
    within("see the suspension", state.wait_for(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
    assert!(guard.is_held(), "suspended is not lost");

    let lock = b.lock("nightly");
    let next = within("the lock of who is cut off", lock.acquire()).await.unwrap();
    assert!(!guard.is_held(), "two holders claim the lock");
    assert!(next.is_held());
    assert!(matches!(guard.lost().await, Cause::Expired | Cause::SessionEnded));
    world.resume(a.member()).await;
    within("the next session", state.wait_for(|state| *state == State::Connected)).await.unwrap();
    assert!(!guard.is_held(), "a lost guard came back");
    next.release().await.unwrap();
}

/// A short cut is no loss: guards and memberships stand afterwards.
pub(super) async fn a_short_cut_is_no_loss(world: &World) {
    let coord = world.connect("a").await;
    let guard = coord.lock("nightly").acquire().await.unwrap();
    let (session, mut state) = (coord.session(), coord.state());
    world.suspend(coord.member()).await;
    within("see the suspension", state.wait_for(|state| matches!(state, State::Suspended { .. }))).await.unwrap();
    world.resume(coord.member()).await;
    within("the connection", state.wait_for(|state| *state == State::Connected)).await.unwrap();
    assert_eq!(coord.session(), session);
    assert!(guard.is_held());
    guard.release().await.unwrap();
}
