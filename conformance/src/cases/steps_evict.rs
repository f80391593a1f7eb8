//! Taking a seat away from its holders.

use tooz_core::backend::{Amended, Doubt, Eviction, Standing, Withdrawn};

use super::told;
use crate::World;
use crate::world::lock;

/// A notice tells the holder and takes nothing: it holds until it lets go.
pub(super) async fn a_notice_tells_the_holder(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let claim = a.claim_on(&seat);
    a.take(&claim).await;
    let (told, evicted) =
        tokio::join!(told(&a, &claim), b.locks().evict(&seat, Eviction::Notice, &[]));
    assert_eq!(evicted.unwrap(), [claim.id]);
    assert!(told);
    assert_eq!(a.queue(&seat).await.holders.len(), 1, "a notice took the seat");
    assert_eq!(b.attempt(&b.claim_on(&seat)).await, None);

    a.give_back(&claim).await;
    assert!(b.attempt(&b.claim_on(&seat)).await.is_some());
}

/// Force removes the holder and passes the seat on; the removed claim is absent and hits nobody.
pub(super) async fn force_removes_the_holder_and_passes_on(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));
    a.take(&first).await;
    b.enqueue(&second).await;

    let named = [first.id];
    let (grant, evicted) = tokio::join!(b.hold(&second), b.locks().evict(&seat, Eviction::Force, &named));
    assert_eq!(evicted.unwrap(), [first.id]);
    assert_eq!(a.locks().withdraw(&first, Doubt::None).await.unwrap(), Withdrawn::Absent);
    assert_eq!(a.locks().amend(&first).await.unwrap(), Amended::Absent);
    assert_eq!(b.take(&second).await.token, grant.token, "the evicted holder's withdrawal hit the next");
}

/// Named claims are hit, others are not: a later holder stays.
pub(super) async fn only_those_named_are_evicted(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let former = a.claim_on(&seat);
    a.take(&former).await;
    a.give_back(&former).await;
    let present = b.claim_on(&seat);
    let grant = b.take(&present).await;

    for how in [Eviction::Notice, Eviction::Force] {
        assert_eq!(a.locks().evict(&seat, how, &[former.id]).await.unwrap(), []);
    }
    assert_eq!(b.take(&present).await.token, grant.token);
}

/// Evicting from a free seat finds nobody and creates nothing; those who wait are not evicted.
pub(super) async fn nobody_is_evicted_from_a_free_seat(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    for how in [Eviction::Notice, Eviction::Force] {
        assert_eq!(a.locks().evict(&seat, how, &[]).await.unwrap(), []);
    }
    let first = a.claim_on(&seat);
    a.take(&first).await;
    let waiter = b.claim_on(&seat);
    b.enqueue(&waiter).await;
    assert_eq!(a.locks().evict(&seat, Eviction::Force, &[waiter.id]).await.unwrap(), []);
    let standing = b.send(&waiter).await;
    assert!(matches!(standing, Standing::Waiting(_)), "{standing:?}");
}
