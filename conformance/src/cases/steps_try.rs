//! Taking a seat only if it is free.

use tooz_core::backend::{Doubt, Withdrawn};

use crate::World;
use crate::world::{leader, lock};

/// A try takes a free seat, and tried again it is the same grant.
pub(super) async fn a_try_takes_a_free_seat(world: &World) {
    let a = world.open("a").await;
    for seat in [lock("nightly"), leader("nightly")] {
        let claim = a.claim_on(&seat);
        let first = a.attempt(&claim).await.expect("free");
        let again = a.attempt(&claim).await.expect("mine already");
        assert_eq!(first.token, again.token);
        assert_eq!(a.queue(&seat).await.holders.len(), 1);
    }
}

/// A failed try leaves nothing: no holder, no place, nothing to withdraw.
pub(super) async fn a_failed_try_leaves_nothing(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let held = a.claim_on(&seat);
    a.take(&held).await;

    let claim = b.claim_on(&seat);
    for _ in 0..3 {
        assert_eq!(b.attempt(&claim).await, None);
    }
    let queue = b.queue(&seat).await;
    assert_eq!((queue.holders.len(), queue.waiting.len()), (1, 0), "{queue:?}");
    assert_eq!(b.locks().withdraw(&claim, Doubt::None).await.unwrap(), Withdrawn::Absent);

    a.give_back(&held).await;
    assert!(b.attempt(&claim).await.is_some(), "free again, but the try fails");
}
