//! Sessions that live by a lease: beats, expiry and what they prove.

use std::time::Duration;

use tooz_core::{Clock, ErrorKind};
use tooz_core::backend::{Doubt, Liveness, Proof};

use crate::world::{Session, lock, name};
use crate::{World, within};

fn sent(proof: Proof) -> tooz_core::Moment {
    match proof {
        Proof::Lease { sent, .. } => sent,
        Proof::Kernel => panic!("a lease is proved by the kernel"),
    }
}

async fn furnished(world: &World, member: &str) -> Session {
    let session = world.open(member).await;
    if session.backend.locks().is_some() {
        session.take(&session.claim_on(&lock("held"))).await;
    }
    if let Some(groups) = session.backend.groups() {
        groups.create(&name("blue")).await.unwrap();
        groups.join(&session.enrolment(&name("blue"), b"\xc0")).await.unwrap();
    }
    session
}

/// A session that expired is told, by its wait or by its next beat, and so are its waits.
pub(super) async fn an_expired_session_is_told(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let mut position = None;
    if b.backend.locks().is_some() {
        a.take(&a.claim_on(&lock("wanted"))).await;
        let claim = b.claim_on(&lock("wanted"));
        position = Some((b.enqueue(&claim).await, claim));
    }
    world.expire(&b.member, b.id).await;
    tokio::select! {
        _ = within("news of the end", b.backend.lost()) => {}
        error = beaten(&b) => assert_eq!(error, ErrorKind::SessionLost),
    }
    if let Some((position, claim)) = position {
        within("the end of a wait", b.locks().turn(&claim, &position)).await;
    }
}

/// Beats until one is refused for good.
async fn beaten(session: &Session) -> ErrorKind {
    loop {
        match session.backend.renew(&[], &[]).await {
            Err(error) if error.kind() != ErrorKind::Unavailable => return error.kind(),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Everything of an expired session is free, and a waiter takes over.
pub(super) async fn an_expired_session_loses_everything(world: &World) {
    let a = furnished(world, "a").await;
    let b = world.open("b").await;
    if b.backend.locks().is_some() {
        let claim = b.claim_on(&lock("held"));
        b.enqueue(&claim).await;
        tokio::join!(b.hold(&claim), world.expire(&a.member, a.id));
    } else {
        world.expire(&a.member, a.id).await;
    }
    if b.backend.groups().is_some() {
        assert!(b.members(&name("blue")).await.is_some_and(|roster| roster.members.is_empty()));
    }
}

/// An expired session stays ended: its late steps fail and change nothing.
pub(super) async fn an_expired_session_cannot_come_back(world: &World) {
    let a = furnished(world, "a").await;
    world.expire(&a.member, a.id).await;
    let b = world.open("b").await;
    assert_eq!(a.backend.renew(&[], &[]).await.unwrap_err().kind(), ErrorKind::SessionLost);
    if let Some(locks) = a.backend.locks() {
        let claim = a.claim_on(&lock("held"));
        assert_eq!(locks.claim(&claim).await.unwrap_err().kind(), ErrorKind::SessionLost);
        assert_eq!(locks.try_claim(&claim).await.unwrap_err().kind(), ErrorKind::SessionLost);
        b.take(&b.claim_on(&lock("held"))).await;
    }
    if let Some(groups) = a.backend.groups() {
        let enrolment = a.enrolment(&name("blue"), b"\xc0");
        assert_eq!(groups.join(&enrolment).await.unwrap_err().kind(), ErrorKind::SessionLost);
        assert!(b.members(&name("blue")).await.is_some_and(|roster| roster.members.is_empty()));
    }
}

/// A beat keeps the session and everything under it, and its proof is newer than the one before.
pub(super) async fn a_beat_keeps_the_session(world: &World) {
    let a = furnished(world, "a").await;
    let mut newest = sent(a.proof);
    for _ in 0..3 {
        let renewal = a.backend.renew(&[], &[]).await.unwrap();
        assert!(sent(renewal.proof) >= newest);
        newest = sent(renewal.proof);
    }
    if a.backend.locks().is_some() {
        assert_eq!(a.queue(&lock("held")).await.holders.len(), 1);
    }
}

/// A beat proves the session from before it was sent, its own sending or an earlier one's, never from when its
/// answer came. Once connected a driver reads the clock first of all.
pub(super) async fn a_beat_proves_no_more_than_when_it_was_sent(world: &World) {
    let clock = world.hand();
    let a = world.open_by_hand(&clock, "a").await;
    a.backend.renew(&[], &[]).await.unwrap();
    let step = granted(&a) / 3;

    let mut under_way = Vec::new();
    for _ in 0..4 {
        clock.advance(step);
        let before = clock.now();
        let renewal = clock.moved_during(step, a.backend.renew(&[], &[])).await.unwrap();
        under_way.push((before, clock.now()));
        let sent = sent(renewal.proof);
        assert!(sent <= clock.now(), "the proof is from the future: {sent:?}");
        for (before, after) in &under_way {
            assert!(
                sent <= *before || sent > *after,
                "a beat was sent at {before:?} and answered at {after:?}, and proves as of {sent:?}"
            );
        }
    }
}

/// Opening proves the session from before the store was asked for it, never from when the last answer came.
pub(super) async fn an_opening_proves_no_more_than_when_it_was_sent(world: &World) {
    let clock = world.hand();
    let opening = world.open_by_hand(&clock, "a");
    let (a, answered) = clock.moved_at_every_answer(Duration::from_millis(1), opening).await;
    let sent = sent(a.proof);
    assert!(sent <= clock.now(), "the proof is from the future: {sent:?}");
    assert!(
        answered.is_none_or(|answered| sent < answered),
        "the last answer came at {answered:?}, and the proof is as of {sent:?}"
    );
}

/// The time to live as granted.
fn granted(session: &Session) -> Duration {
    match session.backend.profile().liveness {
        Liveness::Lease(ttl) => ttl,
        Liveness::Kernel => panic!("the kernel keeps the session"),
    }
}

/// A beat names the claims passed in that neither hold nor wait, and no others.
pub(super) async fn a_beat_tells_which_claims_stand_no_more(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    if a.backend.locks().is_none() {
        return;
    }
    let (held, waits, gone) = (a.claim_on(&lock("x")), a.claim_on(&lock("y")), a.claim_on(&lock("z")));
    a.take(&held).await;
    b.take(&b.claim_on(&lock("y"))).await;
    a.enqueue(&waits).await;
    a.take(&gone).await;
    a.locks().withdraw(&gone, Doubt::None).await.unwrap();

    let all = [held.clone(), waits.clone(), gone.clone()];
    let renewal = a.backend.renew(&all, &[]).await.unwrap();
    assert_eq!(renewal.ousted, [gone.id]);
    assert_eq!(renewal.stray, []);

    // Interleaving 9: what stands but was not passed in is told where the store can tell.
    let renewal = a.backend.renew(&[held], &[]).await.unwrap();
    assert!(renewal.stray.iter().all(|claim| claim.id == waits.id), "{:?}", renewal.stray);
}

/// A beat names the groups passed in that the session is no longer in, and no others.
pub(super) async fn a_beat_tells_which_memberships_stand_no_more(world: &World) {
    let a = world.open("a").await;
    let Some(groups) = a.backend.groups() else { return };
    let (blue, red) = (a.enrolment(&name("blue"), b"\xc0"), a.enrolment(&name("red"), b"\xc0"));
    for enrolment in [&blue, &red] {
        groups.create(&enrolment.group).await.unwrap();
        groups.join(enrolment).await.unwrap();
    }
    groups.leave(&red).await.unwrap();
    let renewal = a.backend.renew(&[], &[blue, red]).await.unwrap();
    assert_eq!(renewal.expelled, [name("red")]);
}
