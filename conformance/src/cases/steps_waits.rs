//! Waits end when there may be news, and what was true before they began counts.

use tooz_core::backend::{Doubt, Eviction, Standing, Turn};

use crate::world::{Session, leader, lock};
use crate::{World, within};

/// A waiter is woken by the release and holds.
pub(super) async fn a_release_wakes_the_waiter(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    for seat in [lock("nightly"), leader("nightly")] {
        let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));
        a.take(&first).await;
        b.enqueue(&second).await;
        let (grant, ()) = tokio::join!(b.hold(&second), async {
            tokio::task::yield_now().await;
            a.give_back(&first).await;
        });
        assert_eq!(b.take(&second).await.token, grant.token);
    }
}

/// A release between the step and the wait is not missed.
pub(super) async fn a_release_before_the_wait_counts(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));
    a.take(&first).await;
    let position = b.enqueue(&second).await;
    a.give_back(&first).await;

    let turn = within("a turn that has come already", b.locks().turn(&second, &position)).await;
    if let Turn::Granted(grant) = turn {
        assert_eq!(b.take(&second).await.token, grant.token);
    }
    b.hold(&second).await;
}

/// A wait may be dropped and begun again, any number of times.
pub(super) async fn a_wait_may_be_dropped(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));
    a.take(&first).await;
    let position = b.enqueue(&second).await;
    for _ in 0..10 {
        tokio::select! {
            biased;
            _ = b.locks().turn(&second, &position) => {}
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(b.queue(&seat).await.waiting.len(), 1, "a dropped wait lost its place");
    a.give_back(&first).await;
    b.hold(&second).await;
}

/// A wait ends when the caller's own entry is gone.
pub(super) async fn a_wait_ends_with_its_own_entry(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    a.take(&a.claim_on(&seat)).await;
    let waiter = b.claim_on(&seat);
    let position = b.enqueue(&waiter).await;

    let (turn, ()) = tokio::join!(within("the end of a wait", b.locks().turn(&waiter, &position)), async {
        tokio::task::yield_now().await;
        b.give_back(&waiter).await;
    });
    assert_eq!(turn, Turn::AskAgain);
    // Begun when the entry is gone already, it ends as well.
    let turn = within("a wait without an entry", b.locks().turn(&waiter, &position)).await;
    assert_eq!(turn, Turn::AskAgain);
}

/// A wait ends with the session.
pub(super) async fn a_wait_ends_with_the_session(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    a.take(&a.claim_on(&seat)).await;
    let waiter = b.claim_on(&seat);
    let position = b.enqueue(&waiter).await;

    let (turn, closed) = tokio::join!(within("the end of a wait", b.locks().turn(&waiter, &position)), async {
        tokio::task::yield_now().await;
        b.backend.close().await
    });
    closed.unwrap();
    assert_eq!(turn, Turn::AskAgain);
    within("the end of the session", b.backend.lost()).await;
}

/// The wait for changes of a seat ends at a grant, at a new waiter, at its leaving and at a release.
pub(super) async fn every_change_of_a_queue_stirs(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let observer = world.open("observer").await;
    let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));

    stirs(&observer, &seat, async || a.take(&first).await).await;
    stirs(&observer, &seat, async || b.enqueue(&second).await).await;
    stirs(&observer, &seat, async || b.give_back(&second).await).await;
    stirs(&observer, &seat, async || a.give_back(&first).await).await;
}

/// A change that came before the wait began ends it.
async fn stirs<T>(observer: &Session, seat: &tooz_core::Seat, change: impl AsyncFnOnce() -> T) {
    let mark = observer.queue(seat).await.mark;
    change().await;
    within("news of a queue from before the wait", observer.locks().stirred(seat, mark)).await;
}

/// The wait for changes of a seat is woken while it waits.
pub(super) async fn a_change_wakes_the_observer_of_a_queue(world: &World) {
    let (a, seat) = (world.open("a").await, lock("nightly"));
    let observer = world.open("observer").await;
    let claim = a.claim_on(&seat);
    let watching = within("see the holder come and go", async {
        let mut seen = Vec::new();
        loop {
            let queue = observer.queue(&seat).await;
            let held = !queue.holders.is_empty();
            if seen.last() != Some(&held) {
                seen.push(held);
            }
            match seen.as_slice() {
                [.., true, false] => return,
                [.., true] => a.give_back(&claim).await,
                _ => {}
            }
            observer.seat_stirred(&seat, &queue).await;
        }
    });
    tokio::join!(watching, async {
        tokio::task::yield_now().await;
        a.take(&claim).await;
    });
}

/// Who holds is told when it is removed by force, unless only renewals tell.
pub(super) async fn a_holder_is_told_of_its_removal(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let claim = a.claim_on(&seat);
    a.take(&claim).await;
    let (told, removed) = tokio::join!(super::told(&a, &claim), async {
        tokio::task::yield_now().await;
        b.locks().evict(&seat, Eviction::Force, &[]).await
    });
    assert_eq!(removed.unwrap(), [claim.id]);
    assert!(told);
}

/// A waiter that is granted and withdrawn at once leaves a queue that still works: nobody sleeps on.
pub(super) async fn a_withdrawal_during_the_hand_over_wakes_the_next(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    for _ in 0..20 {
        let (first, second, third) = (a.claim_on(&seat), b.claim_on(&seat), c.claim_on(&seat));
        a.take(&first).await;
        b.enqueue(&second).await;
        let position = c.enqueue(&third).await;
        let (turn, ()) = tokio::join!(within("the turn", c.locks().turn(&third, &position)), async {
            a.give_back(&first).await;
            let doubt = Doubt::None;
            b.locks().withdraw(&second, doubt).await.unwrap();
        });
        let _ = turn;
        c.hold(&third).await;
        assert!(matches!(c.send(&third).await, Standing::Held(_)));
        c.give_back(&third).await;
    }
}
