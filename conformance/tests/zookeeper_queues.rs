//! Queues of the ZooKeeper driver, where a waiter reads no more than its predecessor's last word: who is not first must
//! not come to hold by it, and who is first must not wait for ever.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed assumption here is a failed test

mod zookeeper_server;

use std::sync::Arc;

use conformance::proxy::{Loss, Proxy};
use conformance::{unique, within};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tooz_core::backend::{Backend, Doubt, Position, Turn, Withdrawn};
use tooz_core::{Claim, ErrorKind, Mode};
use tooz_zookeeper::ZookeeperDriver;
use zookeeper_client::{Acls, CreateMode, Permission};

use zookeeper_server::server;
use zookeeper_server::steps::*;

/// Enters the queue, waits for the turn once the holder has let go, and so holds after waiting: it will leave word.
async fn take_after(backend: &Arc<dyn Backend>, claim: &Claim, holder: &Arc<dyn Backend>, held: &Claim) {
    let place = enqueue(backend, claim).await;
    release(holder, held).await;
    granted(within("the turn", locks(backend).turn(claim, &place)).await);
}

fn granted(turn: Turn) {
    assert!(matches!(turn, Turn::Granted(_)), "{turn:?}");
}

/// A wait under way.
fn waiting<'a>(backend: &'a Arc<dyn Backend>, claim: &'a Claim, place: &'a Position) -> BoxFuture<'a, Turn> {
    let mut turn = locks(backend).turn(claim, place);
    assert!(turn.as_mut().now_or_never().is_none());
    turn
}

/// Drives a wait until it waits for this claim's node.
async fn comes_to_wait_for(turn: &mut BoxFuture<'_, Turn>, space: &str, claim: &Claim) {
    within("see it wait", async {
        tokio::select! {
            turn = turn => panic!("{turn:?} though another holds"),
            () = watched(space, claim) => {}
        }
    })
    .await;
}

/// Its predecessor goes, but was no holder: the wait goes on, behind whoever is before that.
#[tokio::test]
async fn a_waiter_behind_one_who_gives_up_waits_on() {
    let space = unique("gives-up");
    let (holder, waiter) =
        (open(&url(server().port(), &space)).await, open(&url(server().port(), &space)).await);
    let claims = [(); 3].map(|()| claim(&lock("nightly")));
    take(&holder, &claims[0]).await;
    enqueue(&holder, &claims[1]).await;
    let place = enqueue(&waiter, &claims[2]).await;
    let mut turn = waiting(&waiter, &claims[2], &place);

    release(&holder, &claims[1]).await;
    comes_to_wait_for(&mut turn, &space, &claims[0]).await;
    release(&holder, &claims[0]).await;
    granted(within("the turn", turn).await);
}

/// The directory carries the word of one who held before, and then whatever strangers wrote: neither tells of the one
/// who has gone now.
#[tokio::test]
async fn the_word_of_another_makes_no_holder() {
    let space = unique("word-of-another");
    let (holder, waiter) =
        (open(&url(server().port(), &space)).await, open(&url(server().port(), &space)).await);
    let claims = [(); 3].map(|()| claim(&lock("nightly")));
    take(&holder, &claims[0]).await;
    take_after(&waiter, &claims[1], &holder, &claims[0]).await;
    take_after(&holder, &claims[2], &waiter, &claims[1]).await;
    let foreign = stranger().await;
    let directory = format!("/{space}/tooz/locks/nightly");
    let (left, _) = foreign.get_data(&directory).await.unwrap();
    assert!(String::from_utf8_lossy(&left).starts_with(&claims[1].id.to_string()), "{left:?}");

    let held = foreign.list_children(&directory).await.unwrap().remove(0);
    let garbage = [left, held.into_bytes(), b"\xff\xfe".to_vec(), b"/".to_vec(), vec![b'x'; 500_000]];
    for word in garbage {
        foreign.set_data(&directory, &word, None).await.unwrap();
        let (gives_up, stays) = (claim(&lock("nightly")), claim(&lock("nightly")));
        enqueue(&holder, &gives_up).await;
        let place = enqueue(&waiter, &stays).await;
        let mut turn = waiting(&waiter, &stays, &place);
        comes_to_wait_for(&mut turn, &space, &gives_up).await;
        release(&holder, &gives_up).await;
        comes_to_wait_for(&mut turn, &space, &claims[2]).await;
        drop(turn);
        release(&waiter, &stays).await;
    }
}

/// A member dies in the middle of the queue, and one that has just come to hold: the one behind waits for whoever is
/// before the dead, and holds when nobody is.
#[tokio::test]
async fn who_waits_behind_the_dead_waits_for_the_one_before_them() {
    let space = unique("dies");
    let url = url(server().port(), &space);
    let driver = ZookeeperDriver::new();
    let (first, (mortal, second), last) =
        (open(&url).await, open_with(&driver, &url).await, open(&url).await);
    let claims = [(); 5].map(|()| claim(&lock("nightly")));
    take(&first, &claims[0]).await;
    take_after(&last, &claims[1], &first, &claims[0]).await;
    enqueue(&second, &claims[2]).await;
    let place = enqueue(&last, &claims[3]).await;
    let mut turn = waiting(&last, &claims[3], &place);
    comes_to_wait_for(&mut turn, &space, &claims[2]).await;
    driver.expire(mortal).await;
    comes_to_wait_for(&mut turn, &space, &claims[1]).await;
    release(&last, &claims[1]).await;
    granted(within("the turn behind the dead", turn).await);

    // And behind one that dies holding, after it had waited.
    let (mortal, second) = open_with(&driver, &url).await;
    take_after(&second, &claims[4], &last, &claims[3]).await;
    let heir = claim(&lock("nightly"));
    let place = enqueue(&last, &heir).await;
    let turn = waiting(&last, &heir, &place);
    driver.expire(mortal).await;
    granted(within("the turn after the dead holder", turn).await);
}

/// A holder leaves word and is removed in one transaction: whichever part of it is lost, and though the holder dies of
/// it, one follows, and only one.
#[tokio::test]
async fn a_holder_that_dies_letting_go_is_followed_by_one() {
    for loss in [Loss::Request, Loss::Reply] {
        let proxy = Proxy::bytes(server().port());
        let space = unique("dies-letting-go");
        let driver = ZookeeperDriver::new();
        let (mortal, holder) = open_with(&driver, &url(proxy.port(), &space)).await;
        let others = open(&url(server().port(), &space)).await;
        let claims = [(); 4].map(|()| claim(&lock("nightly")));
        take(&others, &claims[0]).await;
        take_after(&holder, &claims[1], &others, &claims[0]).await;
        let places = (enqueue(&others, &claims[2]).await, enqueue(&others, &claims[3]).await);
        let mut second = waiting(&others, &claims[3], &places.1);
        comes_to_wait_for(&mut second, &space, &claims[2]).await;
        let first = waiting(&others, &claims[2], &places.0);

        proxy.lose_next(loss, "__lock__");
        let error = locks(&holder).withdraw(&claims[1], Doubt::None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        driver.expire(mortal).await;
        granted(within("the turn after the holder's death", first).await);
        assert!(second.as_mut().now_or_never().is_none());
        comes_to_wait_for(&mut second, &space, &claims[2]).await;
        release(&others, &claims[2]).await;
        granted(within("the turn after that", second).await);
    }
}

/// The answer to the last word is lost and the holder lives on: letting go again harms nobody.
#[tokio::test]
async fn letting_go_twice_leaves_the_next_holder_alone() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("twice");
    let holder = open(&url(proxy.port(), &space)).await;
    let others = open(&url(server().port(), &space)).await;
    let claims = [(); 4].map(|()| claim(&lock("nightly")));
    take(&others, &claims[0]).await;
    take_after(&holder, &claims[1], &others, &claims[0]).await;
    let place = enqueue(&others, &claims[2]).await;
    proxy.lose_next(Loss::Reply, "__lock__");
    locks(&holder).withdraw(&claims[1], Doubt::None).await.unwrap_err();
    granted(within("the turn", locks(&others).turn(&claims[2], &place)).await);

    let place = enqueue(&others, &claims[3]).await;
    let mut turn = waiting(&others, &claims[3], &place);
    assert_eq!(locks(&holder).withdraw(&claims[1], Doubt::None).await.unwrap(), Withdrawn::Absent);
    comes_to_wait_for(&mut turn, &space, &claims[2]).await;
    release(&others, &claims[2]).await;
    granted(within("the turn of the last", turn).await);
}

/// Waits until somebody watches a claim's node.
async fn watched(space: &str, claim: &Claim) {
    conformance::eventually("see the holder watched", async || {
        let watches = server().node().ask("wchp").map_err(|e| e.to_string())?;
        let path = format!("/{space}/tooz/locks/nightly/{}", claim.id);
        if watches.contains(&path) { Ok(()) } else { Err(watches) }
    })
    .await;
}

/// The last of several readers goes: the others still read.
#[tokio::test]
async fn a_writer_waits_for_every_reader_and_not_only_for_the_last() {
    let space = unique("readers");
    let backend = open(&url(server().port(), &space)).await;
    let seat = lock("nightly");
    let readers = [(); 2].map(|()| Claim { mode: Mode::Shared, ..claim(&seat) });
    let before = claim(&seat);
    take(&backend, &before).await;
    let mut places = Vec::new();
    for reader in &readers {
        places.push(enqueue(&backend, reader).await);
    }
    release(&backend, &before).await;
    for (reader, place) in readers.iter().zip(&places) {
        assert!(matches!(locks(&backend).turn(reader, place).await, Turn::Granted(_)));
    }
    let writer = claim(&seat);
    let place = enqueue(&backend, &writer).await;
    let mut turn = locks(&backend).turn(&writer, &place);
    assert!(turn.as_mut().now_or_never().is_none());
    release(&backend, &readers[1]).await;
    within("see it wait for the other", async {
        tokio::select! {
            turn = &mut turn => panic!("{turn:?} though another reads"),
            () = watched(&space, &readers[0]) => {}
        }
    })
    .await;
    release(&backend, &readers[0]).await;
    assert!(matches!(within("the turn", turn).await, Turn::Granted(_)));
}

/// Where the directory is another's, nothing can be left there: the queue goes on without.
#[tokio::test]
async fn a_queue_in_a_directory_that_takes_no_word_goes_on() {
    let space = unique("no-word");
    let backend = open(&url(server().port(), &space)).await;
    let foreign = stranger().await;
    let directory = format!("/{space}/tooz/locks/nightly");
    foreign.mkdir(&directory, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await.unwrap();
    let rights = Permission::READ | Permission::CREATE | Permission::DELETE;
    let acl = [zookeeper_client::Acl::new(rights, zookeeper_client::AuthId::anyone())];
    foreign.set_acl(&directory, &acl, None).await.unwrap();
    let claims = [(); 4].map(|()| claim(&lock("nightly")));
    take(&backend, &claims[0]).await;
    let mut places = Vec::new();
    for claim in &claims[1..] {
        places.push(enqueue(&backend, claim).await);
    }
    release(&backend, &claims[0]).await;
    for (claim, place) in claims[1..].iter().zip(&places) {
        let turn = within("the turn", locks(&backend).turn(claim, place)).await;
        assert!(matches!(turn, Turn::Granted(_)), "{turn:?}");
        assert_eq!(locks(&backend).withdraw(claim, Doubt::None).await.unwrap(), Withdrawn::Removed);
    }
    let (word, _) = foreign.get_data(&directory).await.unwrap();
    assert!(word.is_empty(), "{word:?}");
}

/// Takes and gives back a lock until its queue is not read any more.
async fn take_again_and_again(backend: &Arc<dyn Backend>) {
    for _ in 0..6 {
        let own = claim(&lock("nightly"));
        take(backend, &own).await;
        release(backend, &own).await;
    }
}

/// Who took a lock many times in a row still sees that somebody else came.
#[tokio::test]
async fn after_many_claims_in_a_row_another_is_still_waited_for() {
    let space = unique("in-a-row");
    let backend = open(&url(server().port(), &space)).await;
    let foreign = stranger().await;
    let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let prefix = format!("/{space}/tooz/locks/nightly/{}__lock__", "0".repeat(32));
    for others in 1..4 {
        take_again_and_again(&backend).await;
        let mut there = Vec::new();
        for _ in 0..others {
            let (_, number) = foreign.create(&prefix, b"python", &options).await.unwrap();
            there.push(format!("{prefix}{number}"));
        }
        let own = claim(&lock("nightly"));
        let place = enqueue(&backend, &own).await;
        assert_eq!(place.ahead, Some(others));
        for path in there {
            foreign.delete(&path, None).await.unwrap();
        }
        granted(within("the turn", locks(&backend).turn(&own, &place)).await);
        release(&backend, &own).await;
    }
}

/// An operator removes the directory in between, and in the new one the count comes to the very next number.
#[tokio::test]
async fn after_many_claims_in_a_row_another_directory_is_noticed() {
    let space = unique("other-directory");
    let backend = open(&url(server().port(), &space)).await;
    let foreign = stranger().await;
    let directory = format!("/{space}/tooz/locks/nightly");
    let prefix = format!("{directory}/{}__lock__", "0".repeat(32));
    let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    take_again_and_again(&backend).await;
    let (_, next) = foreign.create(&prefix, b"python", &options).await.unwrap();
    foreign.delete(&format!("{prefix}{next}"), None).await.unwrap();
    take_again_and_again(&backend).await;

    foreign.delete(&directory, None).await.unwrap();
    foreign.mkdir(&directory, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await.unwrap();
    // Seven numbers before, six after: thirteen have been given.
    let coming: Vec<_> = (0..13).map(|_| foreign.create(&prefix, b"python", &options)).collect();
    for (number, came) in coming.into_iter().enumerate() {
        assert_eq!(came.await.unwrap().1.into_i64(), i64::try_from(number).unwrap());
    }
    let own = claim(&lock("nightly"));
    let place = enqueue(&backend, &own).await;
    assert_eq!(place.ahead, Some(13));
    release(&backend, &own).await;
}
