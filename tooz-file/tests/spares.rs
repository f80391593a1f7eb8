//! Records that a session keeps for its next grant.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod common;

use std::path::Path;

use common::peer::{Peer, serve};
use common::*;
use rustix::process::Signal;
use tooz_core::backend::{Doubt, Eviction, Withdrawn};
use tooz_core::{Claim, Mode, Seat};

#[tokio::test]
#[ignore = "the other process of these tests"]
async fn second_process() {
    serve().await;
}

/// Takes and gives back a lock until the session keeps as many records as it ever will.
async fn warm(session: &Session) {
    for _ in 0..50 {
        let claim = exclusive("warm");
        take(session, &claim).await;
        release(session, &claim).await;
    }
    let claims: Vec<Claim> = (0..5).map(|_| shared("warm")).collect();
    for claim in &claims {
        take(session, claim).await;
    }
    for claim in &claims {
        release(session, claim).await;
    }
}

async fn release(session: &Session, claim: &Claim) {
    assert_eq!(locks(session).withdraw(claim, Doubt::None).await.unwrap(), Withdrawn::Removed);
}

/// The kept records under a root.
fn spares(root: &Path) -> Vec<String> {
    leftovers(root).into_iter().filter(|path| path.contains("/spare-")).collect()
}

/// Everything that lies in a seat's folder besides what stays.
fn records(root: &Path, seat: &str) -> Vec<String> {
    leftovers(&root.join("locks").join(seat))
}

#[tokio::test]
async fn a_session_keeps_a_few_records_and_its_end_removes_them() {
    let root = Root::new();
    let a = open(&root.path()).await;
    take(&a, &exclusive("once")).await;
    assert_eq!(spares(&root.path()), Vec::<String>::new(), "who takes a lock once keeps nothing");
    warm(&a).await;
    assert_eq!(spares(&root.path()).len(), 4);
    assert_eq!(records(&root.path(), "warm"), Vec::<String>::new());

    let claim = exclusive("x");
    take(&a, &claim).await;
    assert_eq!((spares(&root.path()).len(), records(&root.path(), "x").len()), (3, 1), "one was lent");
    let queue = locks(&a).queue(&lock("x")).await.unwrap();
    assert_eq!((queue.holders[0].claim, queue.holders[0].member.clone()), (Some(claim.id), Some(name("me"))));
    a.close().await.unwrap();
    assert_eq!(leftovers(&root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_kept_record_of_a_killed_holder_is_dead_and_its_successor_removes_it() {
    let root = Root::new();
    let mut peer = Peer::start(&root.path());
    peer.ask("cycle x 50");
    assert!(peer.ask("claim x 1").starts_with("held"));
    assert_eq!(records(&root.path(), "x").len(), 1);
    let a = open(&root.path()).await;
    assert_eq!(locks(&a).try_claim(&exclusive("x")).await.unwrap(), None);

    peer.kill();
    assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders, []);
    take(&a, &exclusive("x")).await;
    assert_eq!(records(&root.path(), "x").len(), 1, "the successor's own");
    a.close().await.unwrap();
    open(&root.path()).await.close().await.unwrap();
    assert_eq!(leftovers(&root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_waiter_behind_a_waiter_is_woken_however_many_records_are_kept() {
    let root = Root::new();
    let a = open(&root.path()).await;
    warm(&a).await;
    // There is room for one more to be kept.
    take(&a, &exclusive("other")).await;
    let (first, second, third) = (exclusive("x"), exclusive("x"), exclusive("x"));
    take(&a, &first).await;
    queue_up(&a, &second).await;
    // Sleeps by the ticket of the second, which then becomes the holder's record.
    let position = queue_up(&a, &third).await;
    release(&a, &first).await;
    take(&a, &second).await;
    release(&a, &second).await;
    soon(locks(&a).turn(&third, &position)).await;
    acquire(&a, &third).await;
}

#[tokio::test]
async fn a_value_is_never_seen_on_another_seat_and_keeps_no_record() {
    let root = Root::new();
    let a = open(&root.path()).await;
    warm(&a).await;
    let seat = Seat::Leader(name("g"));
    for round in 0..20 {
        let mut leader = claim(&seat, Mode::Exclusive);
        leader.value = format!("host:{round}").into();
        let held = exclusive("x");
        take(&a, &leader).await;
        take(&a, &held).await;
        assert_eq!(locks(&a).queue(&seat).await.unwrap().holders[0].value, Some(leader.value.clone()));
        assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders[0].value.as_deref(), Some(&b""[..]));

        // The value of a claim that had none.
        let mut amended = held.clone();
        amended.value = "late".into();
        locks(&a).amend(&amended).await.unwrap();
        release(&a, &leader).await;
        release(&a, &held).await;
    }
    let claim = exclusive("y");
    take(&a, &claim).await;
    assert_eq!(locks(&a).queue(&lock("y")).await.unwrap().holders[0].value.as_deref(), Some(&b""[..]));
    assert!(spares(&root.path()).len() <= 4);
}

#[tokio::test]
async fn a_holder_with_a_kept_record_is_told_and_evicted_as_any_other() {
    let root = Root::new();
    let mut peer = Peer::start(&root.path());
    peer.ask("cycle x 50");
    assert!(peer.ask("claim x 1").starts_with("held"));
    let a = open(&root.path()).await;
    warm(&a).await;
    let told = exclusive("told");
    take(&a, &told).await;
    locks(&a).evict(&lock("told"), Eviction::Notice, &[]).await.unwrap();
    soon(locks(&a).ousted(&told)).await;
    release(&a, &told).await;
    assert_eq!(records(&root.path(), "told"), Vec::<String>::new());

    peer.signal(Signal::STOP);
    locks(&a).evict(&lock("x"), Eviction::Force, &[]).await.unwrap();
    let next = exclusive("x");
    take(&a, &next).await;
    peer.signal(Signal::CONT);
    assert_eq!(peer.ask("withdraw x 1"), "absent");
    assert_eq!(records(&root.path(), "x").len(), 1, "the new holder's");
    assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders[0].claim, Some(next.id));
}

#[tokio::test]
async fn kept_records_that_are_taken_away_cost_nobody_a_grant() {
    let root = Root::new();
    let a = open(&root.path()).await;
    warm(&a).await;
    for path in spares(&root.path()) {
        std::fs::remove_file(path).unwrap();
    }
    let claim = exclusive("x");
    take(&a, &claim).await;
    assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders.len(), 1);
    release(&a, &claim).await;
    a.close().await.unwrap();
    assert_eq!(leftovers(&root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn who_listens_to_a_seat_hears_a_kept_record_come_and_go() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    warm(&a).await;
    let (seat, claim) = (lock("warm"), exclusive("warm"));
    let empty = locks(&b).queue(&seat).await.unwrap();
    let mut wait = locks(&b).stirred(&seat, empty.mark);
    assert!(is_pending(&mut wait).await);
    take(&a, &claim).await;
    soon(wait).await;

    let held = queue_when(&b, &seat, |queue| queue.holders.len() == 1).await;
    let mut wait = locks(&b).stirred(&seat, held.mark);
    assert!(is_pending(&mut wait).await);
    release(&a, &claim).await;
    soon(wait).await;
    assert_eq!(locks(&b).queue(&seat).await.unwrap().holders, []);
}

/// A release and the end of the session at one moment leave nothing behind, in whichever order they come.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_release_during_the_end_of_the_session_keeps_no_record() {
    let root = Root::new();
    for _ in 0..20 {
        let a = open(&root.path()).await;
        warm(&a).await;
        let claims: Vec<Claim> = (0..4).map(|_| shared("x")).collect();
        for claim in &claims {
            take(&a, claim).await;
        }
        let releases: Vec<_> = claims
            .into_iter()
            .map(|claim| {
                let session = a.clone();
                tokio::spawn(async move { locks(&session).withdraw(&claim, Doubt::None).await.map(drop) })
            })
            .collect();
        a.close().await.unwrap();
        for release in releases {
            release.await.unwrap().unwrap();
        }
        assert_eq!(leftovers(&root.path()), Vec::<String>::new());
    }
}
