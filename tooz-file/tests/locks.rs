//! Locks within one process: order, tokens, withdrawal, waits.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod common;

use std::time::Duration;

use common::*;
use tooz_core::backend::{Doubt, Turn, Withdrawn};
use tooz_core::{ErrorKind, Mode, Seat};

#[tokio::test]
async fn two_sessions_of_one_process_exclude_each_other() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    let first = exclusive("x");
    let grant = take(&a, &first).await;

    assert_eq!(locks(&b).try_claim(&exclusive("x")).await.unwrap(), None);
    assert_eq!(locks(&a).try_claim(&exclusive("x")).await.unwrap(), None);
    assert_eq!(take(&a, &first).await, grant, "sent again it is the same claim");

    assert_eq!(locks(&a).withdraw(&first, Doubt::None).await.unwrap(), Withdrawn::Removed);
    assert_eq!(locks(&a).withdraw(&first, Doubt::None).await.unwrap(), Withdrawn::Absent);
    let next = locks(&b).try_claim(&exclusive("x")).await.unwrap().expect("it is free");
    assert!(next.token > grant.token);
}

#[tokio::test]
async fn a_lock_and_a_leadership_of_one_name_do_not_meet() {
    let root = Root::new();
    let a = open(&root.path()).await;
    take(&a, &exclusive("g")).await;
    take(&a, &claim(&Seat::Leader(name("g")), Mode::Exclusive)).await;
}

/// Interleaving 20: tickets order, the kernel's lock holds.
#[tokio::test]
async fn thirty_two_waiters_are_served_in_order_with_a_constant_number_of_wake_ups() {
    let root = Root::new();
    let holder = exclusive("x");
    let a = open(&root.path()).await;
    let before = take(&a, &holder).await.token;
    let sessions = [open(&root.path()).await, open(&root.path()).await, open(&root.path()).await];
    let mut waiters = Vec::new();
    for n in 0..32 {
        let (session, claim) = (sessions[n % 3].clone(), exclusive("x"));
        queue_up(&session, &claim).await;
        waiters.push(tokio::spawn(async move {
            let (grant, wake_ups) = acquire(&session, &claim).await;
            locks(&session).withdraw(&claim, Doubt::None).await.unwrap();
            (grant.token, wake_ups)
        }));
    }
    locks(&a).withdraw(&holder, Doubt::None).await.unwrap();

    let mut last = before;
    let mut most = 0;
    for waiter in waiters {
        let (token, wake_ups) = soon(waiter).await.unwrap();
        assert!(token > last, "served out of order");
        last = token;
        most = most.max(wake_ups);
    }
    assert!(most <= 3, "a waiter was woken {most} times");
    assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().waiting, []);
}

#[tokio::test]
async fn a_waiter_that_gives_up_lets_the_next_one_wait_for_the_one_before() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let (first, second, third) = (exclusive("x"), exclusive("x"), exclusive("x"));
    take(&a, &first).await;
    queue_up(&a, &second).await;
    let position = queue_up(&a, &third).await;
    assert_eq!(position.ahead, Some(2));

    locks(&a).withdraw(&second, Doubt::None).await.unwrap();
    assert_eq!(soon(locks(&a).turn(&third, &position)).await, Turn::AskAgain);
    let position = queue_up(&a, &third).await;
    assert_eq!(position.ahead, Some(1));
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    soon(locks(&a).turn(&third, &position)).await;
    take(&a, &third).await;
}

#[tokio::test]
async fn a_release_before_the_wait_begins_is_not_missed() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let (first, second) = (exclusive("x"), exclusive("x"));
    take(&a, &first).await;
    let position = queue_up(&a, &second).await;
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    assert_eq!(soon(locks(&a).turn(&second, &position)).await, Turn::AskAgain);
    take(&a, &second).await;
}

#[tokio::test]
async fn nobody_barges_past_a_living_ticket() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    let (first, second, third) = (exclusive("x"), exclusive("x"), exclusive("x"));
    take(&a, &first).await;
    queue_up(&a, &second).await;
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();

    assert_eq!(locks(&b).try_claim(&exclusive("x")).await.unwrap(), None);
    queue_up(&b, &third).await;
    take(&a, &second).await;
}

#[tokio::test]
async fn leading_readers_get_in_together_and_a_writer_between_them_is_not_starved() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let writer = exclusive("x");
    take(&a, &writer).await;
    let (r1, r2, w, r3) = (shared("x"), shared("x"), exclusive("x"), shared("x"));
    for claim in [&r1, &r2, &w, &r3] {
        queue_up(&a, claim).await;
    }

    locks(&a).withdraw(&writer, Doubt::None).await.unwrap();
    let (one, two) = tokio::join!(acquire(&a, &r1), acquire(&a, &r2));
    assert_ne!(one.0.token, two.0.token, "readers draw tokens of their own");
    queue_up(&a, &w).await;
    queue_up(&a, &r3).await;
    assert_eq!(locks(&a).try_claim(&shared("x")).await.unwrap(), None, "a reader barged past a writer");

    locks(&a).withdraw(&r1, Doubt::None).await.unwrap();
    queue_up(&a, &w).await;
    locks(&a).withdraw(&r2, Doubt::None).await.unwrap();
    assert!(acquire(&a, &w).await.0.token > two.0.token.max(one.0.token));
    queue_up(&a, &r3).await;
    locks(&a).withdraw(&w, Doubt::None).await.unwrap();
    acquire(&a, &r3).await;
    assert!(locks(&a).try_claim(&shared("x")).await.unwrap().is_some(), "readers share");
}

/// Interleaving 7: a claim lands after its withdrawal.
#[tokio::test]
async fn a_claim_that_lands_after_its_withdrawal_is_void() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let late = exclusive("x");
    assert_eq!(locks(&a).withdraw(&late, Doubt::MayLand).await.unwrap(), Withdrawn::Absent);

    assert_eq!(locks(&a).claim(&late).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(locks(&a).try_claim(&late).await.unwrap_err().kind(), ErrorKind::Closed);
    take(&a, &exclusive("x")).await;
}

/// Interleaving 7: the withdrawal comes while the claim is on its way.
#[tokio::test]
async fn a_claim_withdrawn_on_its_way_does_not_stand() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let first = exclusive("x");
    take(&a, &first).await;
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    let counter = std::fs::File::options().write(true).open(root.path().join("locks/x/counter")).unwrap();
    counter.try_lock().unwrap();
    let late = exclusive("x");
    let (session, sent) = (a.clone(), late.clone());
    let on_its_way = tokio::spawn(async move { locks(&session).claim(&sent).await });
    // It holds the lock, has its record written, and waits for a token.
    while !leftovers(&root.path()).iter().any(|path| path.contains("draft-")) {
        tokio::task::yield_now().await;
    }

    let withdrawal = locks(&a).withdraw(&late, Doubt::MayLand);
    let (found, ()) = tokio::join!(withdrawal, async { drop(counter) });
    found.unwrap();
    assert_eq!(on_its_way.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    take(&a, &exclusive("x")).await;
}

/// A claim may be polled once, wait for its turn at the counter, and then stand still: the session closes without it.
#[tokio::test]
async fn a_claim_that_nobody_polls_further_holds_up_no_close() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let first = exclusive("x");
    take(&a, &first).await;
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    let counter = std::fs::File::options().write(true).open(root.path().join("locks/x/counter")).unwrap();
    counter.try_lock().unwrap();
    let late = exclusive("x");
    let mut parked = locks(&a).claim(&late);
    assert!(poll_once(parked.as_mut()).is_none());
    drop(counter);

    let closed = tokio::time::timeout(Duration::from_secs(5), a.close()).await;
    closed.expect("the end of the session").unwrap();
    // What it still has goes with it, or as soon as it goes on.
    assert_eq!(parked.await.unwrap_err().kind(), ErrorKind::Closed);
    take(&open(&root.path()).await, &exclusive("x")).await;
}

/// Interleaving 8: mine already is tested before queued, and a withdrawal removes whatever there is.
#[tokio::test]
async fn a_claim_repeated_after_its_grant_is_not_queued_again() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let (first, second) = (exclusive("x"), exclusive("x"));
    take(&a, &first).await;
    queue_up(&a, &second).await;
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    let grant = acquire(&a, &second).await.0;
    assert_eq!(take(&a, &second).await, grant);
    assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().waiting, []);
    locks(&a).withdraw(&second, Doubt::None).await.unwrap();
    assert_eq!(leftovers(&root.path()).len(), 1, "only the session's own file");
}

/// Interleaving 10: on one session, a release followed by a try succeeds.
#[tokio::test]
async fn a_try_right_after_a_withdrawal_succeeds_and_a_failed_try_leaves_nothing() {
    let root = Root::new();
    let a = open(&root.path()).await;
    for _ in 0..100 {
        let claim = exclusive("x");
        assert!(locks(&a).try_claim(&claim).await.unwrap().is_some());
        let before = leftovers(&root.path());
        assert_eq!(locks(&a).try_claim(&exclusive("x")).await.unwrap(), None);
        assert_eq!(leftovers(&root.path()), before);
        locks(&a).withdraw(&claim, Doubt::None).await.unwrap();
    }
}

#[tokio::test]
async fn a_waiter_whose_ticket_is_taken_away_is_told_and_queues_again() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let (first, second) = (exclusive("x"), exclusive("x"));
    take(&a, &first).await;
    let position = queue_up(&a, &second).await;
    let folder = root.path().join("locks/x");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("q-") {
            std::fs::remove_file(path).unwrap();
        }
    }
    assert_eq!(soon(locks(&a).turn(&second, &position)).await, Turn::AskAgain);
    let again = queue_up(&a, &second).await;
    assert_ne!(again.ticket, position.ticket);
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    acquire(&a, &second).await;
}

#[tokio::test]
async fn a_waiter_that_was_touched_goes_back_to_sleep() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let (first, second) = (exclusive("x"), exclusive("x"));
    take(&a, &first).await;
    let position = queue_up(&a, &second).await;
    for entry in std::fs::read_dir(root.path().join("locks/x")).unwrap() {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(entry.unwrap().path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    soon(locks(&a).turn(&second, &position)).await;
    let position = queue_up(&a, &second).await;
    let mut wait = locks(&a).turn(&second, &position);
    assert!(is_pending(&mut wait).await, "the same news woke it twice");
}

#[tokio::test]
async fn an_elections_value_is_seen_and_amended_by_its_holder_only() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let seat = Seat::Leader(name("g"));
    let mut leader = claim(&seat, Mode::Exclusive);
    leader.value = b"host:1".as_slice().into();
    let token = take(&a, &leader).await.token;
    let mark = locks(&a).queue(&seat).await.unwrap().mark;

    leader.value = b"host:2".as_slice().into();
    assert_eq!(locks(&a).amend(&leader).await.unwrap(), tooz_core::backend::Amended::Done);
    soon(locks(&a).stirred(&seat, mark)).await;
    let queue = locks(&a).queue(&seat).await.unwrap();
    let holder = &queue.holders[0];
    assert_eq!(holder.value.as_deref(), Some(b"host:2".as_slice()));
    assert_eq!(
        (holder.token, holder.member.clone(), holder.claim),
        (Some(token), Some(name("me")), Some(leader.id))
    );
    assert_eq!(queue.holders.len(), 1);

    let other = claim(&seat, Mode::Exclusive);
    assert_eq!(locks(&a).amend(&other).await.unwrap(), tooz_core::backend::Amended::Absent);
    locks(&a).withdraw(&leader, Doubt::None).await.unwrap();
    assert_eq!(locks(&a).queue(&seat).await.unwrap().holders, []);
}

#[tokio::test]
async fn looking_creates_nothing_and_hears_the_first_claim() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let empty = locks(&a).queue(&lock("x")).await.unwrap();
    assert!(!root.path().join("locks/x").exists());
    let b = open(&root.path()).await;
    let first = exclusive("x");
    let seat = lock("x");
    let ((), _) = tokio::join!(soon(locks(&a).stirred(&seat, empty.mark)), take(&b, &first));
    let queue = queue_when(&a, &lock("x"), |queue| queue.holders.len() == 1).await;
    locks(&b).withdraw(&first, Doubt::None).await.unwrap();
    soon(locks(&a).stirred(&lock("x"), queue.mark)).await;
}

#[tokio::test]
async fn queue_shows_holders_by_grant_and_waiters_in_order() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let (r1, r2, w, r3) = (shared("x"), shared("x"), exclusive("x"), shared("x"));
    take(&a, &r1).await;
    take(&a, &r2).await;
    queue_up(&a, &w).await;
    queue_up(&a, &r3).await;
    let queue = locks(&a).queue(&lock("x")).await.unwrap();
    let holders: Vec<_> = queue.holders.iter().map(|holder| holder.claim.unwrap()).collect();
    let waiting: Vec<_> = queue.waiting.iter().map(|waiter| (waiter.claim.unwrap(), waiter.mode)).collect();
    assert_eq!(holders, [r1.id, r2.id]);
    assert_eq!(waiting, [(w.id, Mode::Exclusive), (r3.id, Mode::Shared)]);
}

#[tokio::test]
async fn a_tether_keeps_the_lock_when_the_session_is_gone() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    let (first, second) = (exclusive("x"), exclusive("x"));
    assert!(locks(&a).tether(&first).is_none());
    take(&a, &first).await;
    let tether = locks(&a).tether(&first).unwrap();
    drop(a);

    queue_up(&b, &second).await;
    drop(tether);
    acquire(&b, &second).await;
}

/// Interleaving 25: names that look alike or like paths are distinct locks inside the root.
#[tokio::test]
async fn names_of_every_shape_are_distinct_locks_inside_the_root() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let long = "x".repeat(255);
    let longer_escapes = "é".repeat(127);
    let dots = "/".repeat(255);
    let names = [
        "a",
        "ab",
        "A",
        "..",
        ".",
        "../x",
        "a/b",
        "a\nb",
        "a\0b",
        "{a}",
        "*",
        "=x",
        "%61",
        "lock",
        &long,
        &longer_escapes,
        &dots,
        "q-1",
        " ",
        "\u{202e}x",
    ];
    for text in names {
        take(&a, &exclusive(text)).await;
    }
    for text in names {
        assert_eq!(locks(&a).try_claim(&exclusive(text)).await.unwrap(), None, "{text:?}");
    }
    assert_eq!(std::fs::read_dir(root.path().join("locks")).unwrap().count(), names.len());
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 6);
    a.close().await.unwrap();
    assert_eq!(leftovers(&root.path()), Vec::<String>::new());
}
