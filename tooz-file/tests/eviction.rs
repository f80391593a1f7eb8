//! Taking a seat away from its holders.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod common;

use common::peer::{Peer, serve};
use common::*;
use rustix::process::Signal;
use tooz_core::backend::{Amended, Doubt, Eviction, Turn, Withdrawn};

#[tokio::test]
#[ignore = "the other process of these tests"]
async fn second_process() {
    serve().await;
}

#[tokio::test]
async fn notice_tells_the_holder_and_takes_nothing() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    let (first, second) = (exclusive("x"), exclusive("x"));
    let grant = take(&a, &first).await;
    let position = queue_up(&b, &second).await;

    assert_eq!(locks(&b).evict(&lock("x"), Eviction::Notice, &[]).await.unwrap(), [first.id]);
    soon(locks(&a).ousted(&first)).await;
    let queue = locks(&b).queue(&lock("x")).await.unwrap();
    assert_eq!((queue.holders.len(), queue.waiting.len()), (1, 1), "it holds until it lets go");
    assert_eq!(take(&a, &first).await, grant);
    assert_eq!(locks(&b).evict(&lock("x"), Eviction::Notice, &[]).await.unwrap(), [first.id], "told twice");

    assert_eq!(locks(&a).withdraw(&first, Doubt::None).await.unwrap(), Withdrawn::Removed);
    assert_eq!(soon(locks(&b).turn(&second, &position)).await, Turn::AskAgain);
    assert!(take(&b, &second).await.token > grant.token);
}

#[tokio::test]
async fn a_notice_before_the_wait_begins_is_heard_and_amending_does_not_unsay_it() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let first = exclusive("x");
    take(&a, &first).await;
    locks(&a).evict(&lock("x"), Eviction::Notice, &[]).await.unwrap();
    locks(&a).amend(&first).await.unwrap();
    soon(locks(&a).ousted(&first)).await;
}

/// It waits for the counter, and is left there: who holds hears all the same.
#[tokio::test]
async fn an_amendment_that_nobody_polls_further_hides_no_notice() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    let first = exclusive("x");
    take(&a, &first).await;
    let counter = std::fs::File::options().write(true).open(root.path().join("locks/x/counter")).unwrap();
    counter.try_lock().unwrap();
    let mut amendment = locks(&a).amend(&first);
    assert!(poll_once(amendment.as_mut()).is_none());
    drop(counter);

    assert_eq!(locks(&b).evict(&lock("x"), Eviction::Notice, &[]).await.unwrap(), [first.id]);
    soon(locks(&a).ousted(&first)).await;
    assert_eq!(amendment.await.unwrap(), Amended::Done);
}

#[tokio::test]
async fn amending_and_looking_oust_nobody() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let first = exclusive("x");
    take(&a, &first).await;
    let mut vigil = locks(&a).ousted(&first);
    assert!(is_pending(&mut vigil).await);
    locks(&a).amend(&first).await.unwrap();
    locks(&a).queue(&lock("x")).await.unwrap();
    // Something else the same ear has to tell, after those.
    let second = exclusive("y");
    take(&a, &second).await;
    locks(&a).evict(&lock("y"), Eviction::Notice, &[]).await.unwrap();
    soon(locks(&a).ousted(&second)).await;
    assert!(is_pending(&mut vigil).await);
}

#[tokio::test]
async fn force_takes_the_seat_from_a_holder_that_does_not_hear() {
    let root = Root::new();
    let mut peer = Peer::start(&root.path());
    let old = peer.ask("claim x 1");
    let a = open(&root.path()).await;
    let (second, third) = (exclusive("x"), exclusive("x"));
    let position = queue_up(&a, &second).await;
    queue_up(&a, &third).await;
    peer.signal(Signal::STOP);

    let only = locks(&a).queue(&lock("x")).await.unwrap().holders[0].claim.unwrap();
    assert_eq!(locks(&a).evict(&lock("x"), Eviction::Force, &[only]).await.unwrap(), [only]);
    soon(locks(&a).turn(&second, &position)).await;
    let grant = take(&a, &second).await;
    assert!(format!("held {}", grant.token) > old, "tokens survive eviction");
    queue_up(&a, &third).await;
    assert_eq!(
        locks(&a).evict(&lock("x"), Eviction::Force, &[only]).await.unwrap(),
        [],
        "a later holder is not hit"
    );
    assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders.len(), 1);

    peer.signal(Signal::CONT);
    assert_eq!(peer.ask("withdraw x 1"), "absent");
    queue_up(&a, &third).await;
    locks(&a).withdraw(&second, Doubt::None).await.unwrap();
    acquire(&a, &third).await;
}

#[tokio::test]
async fn the_evicted_is_told_and_may_queue_again() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    let (first, second) = (exclusive("x"), exclusive("x"));
    let old = take(&a, &first).await;
    locks(&b).evict(&lock("x"), Eviction::Force, &[]).await.unwrap();
    soon(locks(&a).ousted(&first)).await;
    assert!(take(&b, &second).await.token > old.token);
    queue_up(&a, &first).await;
    locks(&b).withdraw(&second, Doubt::None).await.unwrap();
    assert!(acquire(&a, &first).await.0.token > old.token);
}

#[tokio::test]
async fn a_waiter_asleep_behind_another_hears_that_it_was_evicted() {
    let root = Root::new();
    let mut peer = Peer::start(&root.path());
    let a = open(&root.path()).await;
    let first = exclusive("x");
    take(&a, &first).await;
    assert_eq!(peer.ask("acquire x 1"), "waiting");
    // Sleeps by the ticket of the other process, which then becomes the holder's record.
    let third = exclusive("x");
    let position = queue_up(&a, &third).await;
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    assert!(peer.hear().starts_with("held"));
    peer.signal(Signal::STOP);

    locks(&a).evict(&lock("x"), Eviction::Force, &[]).await.unwrap();
    assert_eq!(soon(locks(&a).turn(&third, &position)).await, Turn::AskAgain);
    acquire(&a, &third).await;
}

#[tokio::test]
async fn one_reader_of_several_is_evicted_and_a_writer_still_waits_for_the_others() {
    let root = Root::new();
    let mut peer = Peer::start(&root.path());
    assert!(peer.ask("share x 1").starts_with("held"));
    let a = open(&root.path()).await;
    let stopped = locks(&a).queue(&lock("x")).await.unwrap().holders[0].claim.unwrap();
    let (good, writer) = (shared("x"), exclusive("x"));
    take(&a, &good).await;
    queue_up(&a, &writer).await;
    peer.signal(Signal::STOP);

    assert_eq!(locks(&a).evict(&lock("x"), Eviction::Force, &[stopped]).await.unwrap(), [stopped]);
    queue_up(&a, &writer).await;
    assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders.len(), 1);
    locks(&a).withdraw(&good, Doubt::None).await.unwrap();
    acquire(&a, &writer).await;
}

/// Interleaving 20: unlinking or moving the held lock file by hand is a loss, and the holder is told.
#[tokio::test]
async fn a_holder_whose_lock_file_is_taken_away_by_hand_is_told() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let file = |name: &str| root.path().join(format!("locks/{name}/lock"));
    let (unlinked, moved) = (exclusive("unlinked"), exclusive("moved"));
    take(&a, &unlinked).await;
    take(&a, &moved).await;
    let (mut one, mut two) = (locks(&a).ousted(&unlinked), locks(&a).ousted(&moved));
    assert!(is_pending(&mut one).await && is_pending(&mut two).await);

    std::fs::remove_file(file("unlinked")).unwrap();
    soon(one).await;
    assert!(is_pending(&mut two).await);
    std::fs::rename(file("moved"), root.path().join("locks/moved/away")).unwrap();
    soon(two).await;
}

#[tokio::test]
async fn evicting_from_a_free_or_unknown_seat_finds_nobody_and_creates_nothing() {
    let root = Root::new();
    let a = open(&root.path()).await;
    for how in [Eviction::Notice, Eviction::Force] {
        assert_eq!(locks(&a).evict(&lock("x"), how, &[]).await.unwrap(), []);
    }
    assert!(!root.path().join("locks/x").exists());
    let claim = exclusive("x");
    take(&a, &claim).await;
    locks(&a).withdraw(&claim, Doubt::None).await.unwrap();
    for how in [Eviction::Notice, Eviction::Force] {
        assert_eq!(locks(&a).evict(&lock("x"), how, &[]).await.unwrap(), []);
    }
    take(&a, &claim).await;
}

#[tokio::test]
async fn a_claim_whose_lock_file_is_taken_away_before_its_grant_shows_takes_the_new_one() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let first = exclusive("x");
    take(&a, &first).await;
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    let seat = root.path().join("locks/x");
    let counter = std::fs::File::options().write(true).open(seat.join("counter")).unwrap();
    counter.try_lock().unwrap();
    let (session, sent) = (a.clone(), first.clone());
    let on_its_way = tokio::spawn(async move { take(&session, &sent).await });
    // It has locked the file, has its record written, and waits for a token.
    while !leftovers(&root.path()).iter().any(|path| path.contains("draft-")) {
        tokio::task::yield_now().await;
    }

    std::fs::remove_file(seat.join("lock")).unwrap();
    drop(counter);
    soon(on_its_way).await.unwrap();
    let file = std::fs::File::open(seat.join("lock")).expect("it holds a file that stands there");
    assert!(file.try_lock().is_err(), "it holds another file than newcomers find");
    assert!(is_pending(&mut locks(&a).ousted(&first)).await);
}
