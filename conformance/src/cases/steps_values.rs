//! The value of a holder: an election's address.

use bytes::Bytes;
use tooz_core::Claim;
use tooz_core::backend::Amended;

use crate::World;
use crate::world::{Session, leader};

async fn value(session: &Session, seat: &tooz_core::Seat) -> Option<Bytes> {
    session.queue(seat).await.holders.first().and_then(|holder| holder.value.clone())
}

/// The value of a holder is shown, empty and binary ones exactly.
pub(super) async fn a_holders_value_is_shown(world: &World) {
    let (a, seat) = (world.open("a").await, leader("blue"));
    let long = vec![7_u8; 4096];
    for bytes in [b"".as_slice(), b"host:1", b"\0\n\xff{}", &long] {
        let claim = Claim { value: Bytes::copy_from_slice(bytes), ..a.claim_on(&seat) };
        a.take(&claim).await;
        assert_eq!(value(&a, &seat).await.as_deref(), Some(bytes));
        a.give_back(&claim).await;
    }
}

/// Interleaving 23: the value of a claim that waited comes with the hand-over.
pub(super) async fn a_value_survives_the_hand_over(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, leader("blue"));
    let first = Claim { value: "a:1".into(), ..a.claim_on(&seat) };
    let second = Claim { value: "b:1".into(), ..b.claim_on(&seat) };
    a.take(&first).await;
    b.enqueue(&second).await;
    a.give_back(&first).await;
    b.hold(&second).await;
    assert_eq!(value(&a, &seat).await.as_deref(), Some(b"b:1".as_slice()));
}

/// A holder amends its value; the grant and its token stay.
pub(super) async fn a_holder_amends_its_value(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, leader("blue"));
    let claim = Claim { value: "a:1".into(), ..a.claim_on(&seat) };
    let token = a.take(&claim).await.token;
    let mark = b.queue(&seat).await.mark;
    let amended = Claim { value: "a:2".into(), ..claim.clone() };
    for _ in 0..2 {
        assert_eq!(a.locks().amend(&amended).await.unwrap(), Amended::Done);
    }
    crate::within("news of the value", b.locks().stirred(&seat, mark)).await;
    assert_eq!(value(&b, &seat).await.as_deref(), Some(b"a:2".as_slice()));
    assert_eq!(a.take(&claim).await.token, token);
}

/// Who does not hold amends nothing.
pub(super) async fn who_does_not_hold_amends_nothing(world: &World) {
    let (a, b, seat) = (world.open("a").await, world.open("b").await, leader("blue"));
    let never = Claim { value: "x".into(), ..a.claim_on(&seat) };
    assert_eq!(a.locks().amend(&never).await.unwrap(), Amended::Absent);

    let holder = Claim { value: "a:1".into(), ..a.claim_on(&seat) };
    a.take(&holder).await;
    let waiter = Claim { value: "b:1".into(), ..b.claim_on(&seat) };
    b.enqueue(&waiter).await;
    assert_eq!(b.locks().amend(&Claim { value: "b:2".into(), ..waiter }).await.unwrap(), Amended::Absent);
    assert_eq!(value(&a, &seat).await.as_deref(), Some(b"a:1".as_slice()));
}
