//! Release, give up and clean up in one step.

use tooz_core::ErrorKind;
use tooz_core::backend::{Doubt, Withdrawn};

use crate::World;
use crate::world::{leader, lock};

/// A withdrawn holder frees the seat; withdrawn again, it is absent.
pub(super) async fn a_withdrawn_holder_frees_the_seat(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    for seat in [lock("nightly"), leader("nightly")] {
        let claim = a.claim_on(&seat);
        a.take(&claim).await;
        a.give_back(&claim).await;
        for doubt in [Doubt::None, Doubt::None] {
            assert_eq!(a.locks().withdraw(&claim, doubt).await.unwrap(), Withdrawn::Absent);
        }
        assert!(b.attempt(&b.claim_on(&seat)).await.is_some());
    }
}

/// Withdrawing a claim twice never hits the next holder.
pub(super) async fn a_repeated_withdrawal_spares_the_next_holder(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));
    a.take(&first).await;
    b.enqueue(&second).await;
    a.give_back(&first).await;
    let grant = b.hold(&second).await;

    assert_eq!(a.locks().withdraw(&first, Doubt::MayLand).await.unwrap(), Withdrawn::Absent);
    assert_eq!(b.take(&second).await.token, grant.token);
}

/// A withdrawn waiter leaves the queue, and the seat goes to the one behind it.
pub(super) async fn a_withdrawn_waiter_leaves_the_queue(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    let (first, second, third) = (a.claim_on(&seat), b.claim_on(&seat), c.claim_on(&seat));
    a.take(&first).await;
    b.enqueue(&second).await;
    c.enqueue(&third).await;

    b.give_back(&second).await;
    let waiting: Vec<_> = a.queue(&seat).await.waiting.iter().map(|contender| contender.claim).collect();
    assert_eq!(waiting, [Some(third.id)]);

    a.give_back(&first).await;
    c.hold(&third).await;
}

/// A claim that was granted while its waiter gave up is taken back too, and the seat passes on.
pub(super) async fn a_claim_granted_meanwhile_is_withdrawn_and_passed_on(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    let (first, second, third) = (a.claim_on(&seat), b.claim_on(&seat), c.claim_on(&seat));
    a.take(&first).await;
    b.enqueue(&second).await;
    c.enqueue(&third).await;
    a.give_back(&first).await;

    // Granted or about to be: b does not look.
    b.give_back(&second).await;
    c.hold(&third).await;
    let queue = c.queue(&seat).await;
    assert_eq!((queue.holders.len(), queue.waiting.len()), (1, 0), "{queue:?}");
}

/// A claim that never was is absent, and withdrawing it creates nothing.
pub(super) async fn an_unknown_claim_is_absent(world: &World) {
    let (a, seat) = (world.open("a").await, lock("nightly"));
    let never = a.claim_on(&seat);
    assert_eq!(a.locks().withdraw(&never, Doubt::None).await.unwrap(), Withdrawn::Absent);
    let queue = a.queue(&seat).await;
    assert!(queue.holders.is_empty() && queue.waiting.is_empty(), "{queue:?}");
}

/// Interleaving 7: a claim that lands after its withdrawal in doubt is void. It neither holds nor queues,
/// however it is sent, and only that claim is void.
pub(super) async fn a_claim_that_lands_after_its_withdrawal_is_void(world: &World) {
    let (a, seat) = (world.open("a").await, lock("nightly"));
    let late = a.claim_on(&seat);
    assert_eq!(a.locks().withdraw(&late, Doubt::MayLand).await.unwrap(), Withdrawn::Absent);

    for _ in 0..2 {
        assert_eq!(a.locks().claim(&late).await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(a.locks().try_claim(&late).await.unwrap_err().kind(), ErrorKind::Closed);
    }
    let queue = a.queue(&seat).await;
    assert!(queue.holders.is_empty() && queue.waiting.is_empty(), "{queue:?}");

    let other = a.claim_on(&seat);
    a.take(&other).await;
    a.give_back(&other).await;
}

/// Interleaving 7, the other order: a claim that held is withdrawn in doubt, and a copy of its request still
/// under way does not bring it back, nor put it behind the next holder.
pub(super) async fn a_copy_of_a_withdrawn_claim_does_not_bring_it_back(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let claim = a.claim_on(&seat);
    a.take(&claim).await;
    assert_eq!(a.locks().withdraw(&claim, Doubt::MayLand).await.unwrap(), Withdrawn::Removed);
    assert_eq!(a.locks().claim(&claim).await.unwrap_err().kind(), ErrorKind::Closed);

    b.take(&b.claim_on(&seat)).await;
    assert_eq!(a.locks().claim(&claim).await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(b.queue(&seat).await.waiting.is_empty());
}

/// The same for a claim that waited.
pub(super) async fn a_waiter_withdrawn_in_doubt_stays_out_of_the_queue(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    a.take(&a.claim_on(&seat)).await;
    let waiter = b.claim_on(&seat);
    b.enqueue(&waiter).await;
    assert_eq!(b.locks().withdraw(&waiter, Doubt::MayLand).await.unwrap(), Withdrawn::Removed);
    assert_eq!(b.locks().claim(&waiter).await.unwrap_err().kind(), ErrorKind::Closed);
    assert!(a.queue(&seat).await.waiting.is_empty());
}
