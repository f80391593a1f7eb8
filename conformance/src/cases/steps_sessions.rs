//! Sessions: what ends with them and what does not.

use tooz_core::backend::{GroupSteps, Joined};

use crate::world::{Session, lock, name};
use crate::{World, eventually, within};

/// Gives the session everything that a session can have: a held seat, a place in a queue, a membership.
/// `holder` holds the seat that it queues for.
async fn furnish(session: &Session, holder: &Session) {
    if session.backend.locks().is_some() {
        session.take(&session.claim_on(&lock("held"))).await;
        holder.take(&holder.claim_on(&lock("wanted"))).await;
        session.enqueue(&session.claim_on(&lock("wanted"))).await;
    }
    if let Some(groups) = session.backend.groups() {
        groups.create(&name("blue")).await.unwrap();
        assert_eq!(join(groups, session).await, Joined::Done);
    }
}

async fn join(groups: &dyn GroupSteps, session: &Session) -> Joined {
    groups.join(&session.enrolment(&name("blue"), b"\xc0")).await.unwrap()
}

/// Nothing of the session is left; what others hold is.
async fn assert_gone(observer: &Session) {
    eventually("free what the session had", async || {
        if observer.backend.locks().is_some() {
            let held = observer.queue(&lock("held")).await;
            let wanted = observer.queue(&lock("wanted")).await;
            if !held.holders.is_empty() || !wanted.waiting.is_empty() {
                return Err(format!("{held:?} {wanted:?}"));
            }
            assert_eq!(wanted.holders.len(), 1, "another session's claim is gone too");
        }
        if observer.backend.groups().is_some() {
            let roster = observer.members(&name("blue")).await.expect("the group stays");
            if !roster.members.is_empty() {
                return Err(format!("{roster:?}"));
            }
        }
        Ok(())
    })
    .await;
}

/// Closing frees everything under the session at once.
pub(super) async fn closing_frees_everything(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    furnish(&a, &b).await;
    within("close", a.backend.close()).await.unwrap();
    if b.backend.locks().is_some() {
        assert!(b.queue(&lock("held")).await.holders.is_empty());
        assert!(b.queue(&lock("wanted")).await.waiting.is_empty());
    }
    assert_gone(&b).await;
    within("the end of the session", a.backend.lost()).await;
}

/// A repeated close is answered like the first.
pub(super) async fn closing_twice_is_fine(world: &World) {
    let a = world.open("a").await;
    a.backend.close().await.unwrap();
    a.backend.close().await.unwrap();
}

/// A session that was closed never holds, waits or joins again: a late step of it fails.
pub(super) async fn a_closed_session_claims_nothing(world: &World) {
    let a = world.open("a").await;
    a.backend.close().await.unwrap();
    let b = world.open("b").await;
    if let Some(locks) = a.backend.locks() {
        let claim = a.claim_on(&lock("nightly"));
        locks.claim(&claim).await.unwrap_err();
        locks.try_claim(&claim).await.unwrap_err();
        let queue = b.queue(&lock("nightly")).await;
        assert!(queue.holders.is_empty() && queue.waiting.is_empty(), "{queue:?}");
    }
    if let Some(groups) = a.backend.groups() {
        b.groups().create(&name("blue")).await.unwrap();
        groups.join(&a.enrolment(&name("blue"), b"\xc0")).await.unwrap_err();
        assert!(b.members(&name("blue")).await.is_some_and(|roster| roster.members.is_empty()));
    }
}

/// A killed process leaves nothing once the store has noticed.
pub(super) async fn a_crash_frees_everything(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    furnish(&a, &b).await;
    world.crash(a).await;
    assert_gone(&b).await;
}

/// The wait for the end of a session does not end while the session lives, whatever happens beside it.
pub(super) async fn a_session_is_not_lost_while_it_lives(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    tokio::select! {
        biased;
        cause = a.backend.lost() => panic!("lost while alive: {cause}"),
        () = async {
            furnish(&a, &b).await;
            world.open("c").await.closed().await;
            b.backend.close().await.unwrap();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        } => {}
    }
}
