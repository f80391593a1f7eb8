//! How coordinators end.

use tooz_core::{Cause, ErrorKind, State};

use super::queued;
use crate::{World, within};

/// Closing gives everything back at once; guards are lost, later calls are refused.
pub(super) async fn closing_gives_everything_back(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    a.close().await.unwrap();
    assert!(!guard.is_held());
    assert_eq!(guard.lost().await, Cause::Closed);
    assert!(b.lock("nightly").try_acquire().await.unwrap().is_some(), "held after a close");

    assert_eq!(a.state().borrow(), State::Closed);
    assert_eq!(a.lock("nightly").acquire().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(a.lock("nightly").try_acquire().await.unwrap_err().kind(), ErrorKind::Closed);
    a.close().await.unwrap();
}

/// A call under way ends with the coordinator and leaves no place in the queue.
pub(super) async fn closing_ends_what_waits(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    let waiter = tokio::spawn({
        let lock = b.lock("nightly");
        async move { lock.acquire().await }
    });
    queued(&a, "nightly", 1).await;
    b.close().await.unwrap();
    let ended = within("the end of the wait", waiter).await.unwrap();
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::Closed);
    queued(&a, "nightly", 0).await;
    guard.release().await.unwrap();
}

/// When the last handle is dropped, guards are lost at once and the store frees the rest in its time.
pub(super) async fn dropping_the_last_handle_orphans_the_session(world: &World) {
    let a = world.connect_loose("a").await;
    let (member, session) = (a.member().clone(), a.session().unwrap());
    let kernel = world.is_kernel().await;
    let guard = a.lock("nightly").acquire().await.unwrap();
    drop(a);
    assert_eq!(within("news of the end", guard.lost()).await, Cause::Orphaned);
    assert!(!guard.is_held());
    drop(guard);
    world.harness().crash(&member, session, kernel).await;
    let b = world.connect("b").await;
    drop(within("the lock of an orphan", b.lock("nightly").acquire()).await.unwrap());
}

/// A lock handle keeps the session as a coordinator does.
pub(super) async fn any_handle_keeps_the_session(world: &World) {
    let a = world.connect_loose("a").await;
    let lock = a.lock("nightly");
    let keeper = a.clone();
    drop(a);
    let guard = lock.acquire().await.unwrap();
    assert!(guard.is_held());
    guard.release().await.unwrap();
    keeper.close().await.unwrap();
}

/// Work in a scope is closed behind, when it succeeds and when it fails.
pub(super) async fn a_scope_closes_on_every_way_out(world: &World) {
    let b = world.connect("b").await;
    for outcome in [Ok(7), Err(tooz_core::Error::new(ErrorKind::Internal, "on purpose"))] {
        let a = world.connect_loose("a").await;
        let wanted = outcome.as_ref().ok().copied();
        let done = tooz_core::scope(a, async |coord| {
            coord.lock("nightly").acquire().await?.detach();
            outcome
        })
        .await;
        assert_eq!(done.ok(), wanted);
        assert!(b.lock("nightly").try_acquire().await.unwrap().is_some(), "held after the scope");
    }
}

/// Many coordinators and sessions of one process come and go.
pub(super) async fn coordinators_come_and_go(world: &World) {
    for round in 0..5 {
        let coord = world.connect_loose(&format!("m{round}")).await;
        coord.lock("nightly").acquire().await.unwrap().detach();
        coord.close().await.unwrap();
    }
}
