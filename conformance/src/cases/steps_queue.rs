//! Waiters are served in the order the store saw them.

use tooz_core::backend::Doubt;

use crate::World;
use crate::world::{leader, lock};

/// Many waiters are granted in their order, each with a larger token.
pub(super) async fn waiters_are_served_in_order(world: &World) {
    let a = world.open("a").await;
    let mut sessions = Vec::new();
    for i in 0..4 {
        sessions.push(world.open(&format!("w{i}")).await);
    }
    for seat in [lock("nightly"), leader("nightly")] {
        let mut holder = (&a, a.claim_on(&seat));
        let mut token = a.take(&holder.1).await.token;
        let claims: Vec<_> = (0..12).map(|i| &sessions[i % 4]).map(|s| (s, s.claim_on(&seat))).collect();
        for (session, claim) in &claims {
            session.enqueue(claim).await;
        }
        let waiting: Vec<_> = a.queue(&seat).await.waiting.iter().filter_map(|w| w.claim).collect();
        assert_eq!(waiting, claims.iter().map(|(_, claim)| claim.id).collect::<Vec<_>>());

        for (session, claim) in claims {
            holder.0.give_back(&holder.1).await;
            let grant = session.hold(&claim).await;
            assert!(grant.token > token, "{:?} after {token:?}", grant.token);
            token = grant.token;
            holder = (session, claim);
        }
        holder.0.give_back(&holder.1).await;
    }
}

/// Who comes while the seat is free but promised to others queues behind them.
pub(super) async fn a_newcomer_does_not_overtake(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    let (first, second, third) = (a.claim_on(&seat), b.claim_on(&seat), c.claim_on(&seat));
    a.take(&first).await;
    b.enqueue(&second).await;
    a.give_back(&first).await;
    c.enqueue(&third).await;

    b.hold(&second).await;
    b.give_back(&second).await;
    c.hold(&third).await;
}

/// A try does not overtake those who wait.
pub(super) async fn a_try_does_not_overtake(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));
    a.take(&first).await;
    b.enqueue(&second).await;

    a.give_back(&first).await;
    assert_eq!(c.attempt(&c.claim_on(&seat)).await, None);
    b.hold(&second).await;
}

/// A waiter whose process was killed does not hold up those behind it.
pub(super) async fn a_dead_waiter_is_passed_over(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    let (first, second, third) = (a.claim_on(&seat), b.claim_on(&seat), c.claim_on(&seat));
    a.take(&first).await;
    b.enqueue(&second).await;
    c.enqueue(&third).await;

    world.crash(b).await;
    a.give_back(&first).await;
    c.hold(&third).await;
}

/// A holder whose process was killed frees the seat for the first in the queue.
pub(super) async fn a_dead_holder_frees_the_seat_for_the_first_waiter(world: &World) {
    let (a, b, c, seat) =
        (world.open("a").await, world.open("b").await, world.open("c").await, lock("nightly"));
    let (second, third) = (b.claim_on(&seat), c.claim_on(&seat));
    let token = a.take(&a.claim_on(&seat)).await.token;
    b.enqueue(&second).await;
    c.enqueue(&third).await;

    let (grant, ()) = tokio::join!(b.hold(&second), world.crash(a));
    assert!(grant.token > token);
    let waiting: Vec<_> = b.queue(&seat).await.waiting.iter().filter_map(|w| w.claim).collect();
    assert_eq!(waiting, [third.id]);
    b.locks().withdraw(&second, Doubt::None).await.unwrap();
    c.hold(&third).await;
}
