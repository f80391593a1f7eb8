//! Tokens grow with every grant of a seat, whatever happens in between.

use tooz_core::FencingToken;
use tooz_core::backend::Eviction;

use crate::World;
use crate::world::{leader, lock};

/// Over holders, sessions and times when nobody held.
pub(super) async fn tokens_grow_over_holders_and_sessions(world: &World) {
    for seat in [lock("nightly"), leader("nightly")] {
        let mut last = FencingToken::new(0);
        for round in 0..5 {
            let session = world.open(&format!("member-{round}")).await;
            for _ in 0..4 {
                let claim = session.claim_on(&seat);
                let token = session.take(&claim).await.token;
                assert!(token > last, "{token:?} after {last:?}");
                last = token;
                session.give_back(&claim).await;
            }
            session.closed().await;
        }
    }
}

/// After a holder died.
pub(super) async fn tokens_grow_after_a_crash(world: &World) {
    let (a, seat) = (world.open("a").await, lock("nightly"));
    let first = a.take(&a.claim_on(&seat)).await.token;
    world.crash(a).await;
    let b = world.open("b").await;
    let second = b.hold(&b.claim_on(&seat)).await.token;
    assert!(second > first, "{second:?} after {first:?}");
}

/// After a holder was removed by force.
pub(super) async fn tokens_grow_after_an_eviction(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let first = a.take(&a.claim_on(&seat)).await.token;
    let second = b.claim_on(&seat);
    b.enqueue(&second).await;
    b.locks().evict(&seat, Eviction::Force, &[]).await.unwrap();
    let second = b.hold(&second).await.token;
    assert!(second > first, "{second:?} after {first:?}");
}
