//! Taking a seat or a place in its queue.

use std::time::Duration;

use tooz_core::backend::{Liveness, Proof, Standing};
use tooz_core::{Clock, Mode, Seat};

use super::names;
use crate::World;
use crate::world::{leader, lock};

/// A free seat is held at once, and the queue says by whom.
pub(super) async fn a_free_seat_is_held_at_once(world: &World) {
    let a = world.open("a").await;
    for seat in [lock("nightly"), leader("nightly")] {
        let claim = a.claim_on(&seat);
        let grant = a.take(&claim).await;

        let queue = a.queue(&seat).await;
        assert_eq!((queue.holders.len(), queue.waiting.len()), (1, 0), "{queue:?}");
        let holder = &queue.holders[0];
        assert_eq!(holder.claim, Some(claim.id));
        assert_eq!(holder.member.as_ref(), Some(&a.member));
        assert_eq!(holder.mode, Mode::Exclusive);
        assert_eq!(holder.token, Some(grant.token));
    }
}

/// Sent again, a claim that holds is the same grant: the same token, still one holder.
pub(super) async fn a_repeated_claim_is_the_same_grant(world: &World) {
    let (a, seat) = (world.open("a").await, lock("nightly"));
    let claim = a.claim_on(&seat);

    let first = a.take(&claim).await;
    for _ in 0..3 {
        assert_eq!(a.take(&claim).await.token, first.token);
    }
    assert_eq!(a.attempt(&claim).await.map(|grant| grant.token), Some(first.token), "a try of a held claim");
    assert_eq!(a.queue(&seat).await.holders.len(), 1);
}

/// A held seat queues the next claim, which sent again keeps its one place.
pub(super) async fn a_repeated_claim_keeps_its_place(world: &World) {
    let (a, b, c) = (world.open("a").await, world.open("b").await, world.open("c").await);
    let seat = lock("nightly");
    a.take(&a.claim_on(&seat)).await;

    let (second, third) = (b.claim_on(&seat), c.claim_on(&seat));
    b.enqueue(&second).await;
    c.enqueue(&third).await;
    let again = b.enqueue(&second).await;

    let queue = a.queue(&seat).await;
    let waiting: Vec<_> = queue.waiting.iter().filter_map(|contender| contender.claim).collect();
    assert!(waiting.len() == 2 && waiting.contains(&second.id) && waiting.contains(&third.id), "{queue:?}");
    assert!(again.ahead.is_none_or(|ahead| ahead == 1), "{again:?}");
}

/// Interleaving 8: the answer to a queued claim was lost, the seat was handed over, and the claim is sent
/// again. It is told its grant and makes no second entry, so that its release frees the seat.
pub(super) async fn a_repeated_claim_after_a_hand_over_is_its_grant(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let seat = lock("nightly");
    let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));
    a.take(&first).await;
    b.enqueue(&second).await;
    a.give_back(&first).await;

    let grant = b.hold(&second).await;
    assert_eq!(b.take(&second).await.token, grant.token);
    let queue = b.queue(&seat).await;
    assert!(queue.waiting.is_empty(), "{queue:?}");

    b.give_back(&second).await;
    let third = a.claim_on(&seat);
    a.take(&third).await;
}

/// Two claims of one session exclude each other like those of two.
pub(super) async fn claims_of_one_session_exclude_each_other(world: &World) {
    let (a, seat) = (world.open("a").await, lock("nightly"));
    let (first, second) = (a.claim_on(&seat), a.claim_on(&seat));
    a.take(&first).await;
    a.enqueue(&second).await;
    assert_eq!(a.attempt(&a.claim_on(&seat)).await, None);

    a.give_back(&first).await;
    a.hold(&second).await;
}

/// Two sessions of one member id exclude each other, and neither withdraws the other's claim.
pub(super) async fn sessions_of_one_member_exclude_each_other(world: &World) {
    let (one, two, seat) = (world.open("a").await, world.open("a").await, lock("nightly"));
    let claim = one.claim_on(&seat);
    one.take(&claim).await;
    let other = two.claim_on(&seat);
    two.enqueue(&other).await;

    two.give_back(&other).await;
    assert_eq!(one.queue(&seat).await.holders[0].claim, Some(claim.id));
}

/// A lock and the leadership of a group of the same name are two seats.
pub(super) async fn a_lock_and_a_leadership_of_one_name_are_two_seats(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    a.take(&a.claim_on(&lock("same"))).await;
    b.take(&b.claim_on(&leader("same"))).await;
}

/// Names of every shape are carried, and no two of them meet.
pub(super) async fn names_of_every_shape_are_seats_of_their_own(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    for name in names() {
        for seat in [Seat::Lock(name.clone()), Seat::Leader(name.clone())] {
            a.take(&a.claim_on(&seat)).await;
            assert_eq!(b.attempt(&b.claim_on(&seat)).await, None, "{seat}");
        }
    }
    for name in names() {
        let queue = b.queue(&Seat::Lock(name.clone())).await;
        assert_eq!(queue.holders.len(), 1, "{name}");
        assert_eq!(queue.holders[0].member.as_ref(), Some(&a.member));
    }
}

/// Member ids of every shape are shown exactly.
pub(super) async fn members_of_every_shape_are_shown_exactly(world: &World) {
    for name in names() {
        let (session, seat) = (world.open(name.as_str()).await, lock("nightly"));
        let claim = session.claim_on(&seat);
        session.take(&claim).await;
        assert_eq!(session.queue(&seat).await.holders[0].member.as_ref(), Some(&name));
        session.give_back(&claim).await;
    }
}

/// A grant's proof is of the kind the profile declares, and counts from before the claim was sent, never from
/// when its answer came.
pub(super) async fn a_grant_proves_what_the_profile_declares(world: &World) {
    let (clock, seat) = (world.hand(), lock("nightly"));
    let a = world.open_by_hand(&clock, "a").await;
    let liveness = a.backend.profile().liveness;
    let mut step = Duration::ZERO;
    if let Liveness::Lease(granted) = liveness {
        // What connecting takes, it takes here.
        a.backend.renew(&[], &[]).await.unwrap();
        step = granted / 3;
    }
    let before = clock.now();
    let claim = a.claim_on(&seat);
    let grant = clock.moved_during(step, a.take(&claim)).await;
    for proof in [a.proof, grant.proof] {
        match (liveness, proof) {
            (Liveness::Kernel, Proof::Kernel) => {}
            (Liveness::Lease(granted), Proof::Lease { sent, ttl }) => {
                assert!(sent <= before, "the claim was sent at {before:?} and proves as of {sent:?}");
                assert_eq!(ttl, granted, "the time to live is not as granted");
            }
            (liveness, proof) => panic!("{liveness:?} is proved by {proof:?}"),
        }
    }
}

/// A look at a seat creates nothing and changes nothing.
pub(super) async fn looking_changes_nothing(world: &World) {
    let (a, seat) = (world.open("a").await, lock("nightly"));
    for _ in 0..3 {
        let queue = a.queue(&seat).await;
        assert!(queue.holders.is_empty() && queue.waiting.is_empty(), "{queue:?}");
    }
    let standing = a.send(&a.claim_on(&seat)).await;
    assert!(matches!(standing, Standing::Held(_)), "{standing:?}");
}
