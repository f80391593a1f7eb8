//! Queues of the ZooKeeper driver, where a waiter reads no more than its predecessor's last word: who is not first must
//! not come to hold by it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed assumption here is a failed test

mod zookeeper_server;

use conformance::{unique, within};
use futures_util::FutureExt;
use tooz_core::backend::{Doubt, Turn, Withdrawn};
use tooz_core::{Claim, Mode};
use zookeeper_client::{Acls, CreateMode, Permission};

use zookeeper_server::server;
use zookeeper_server::steps::*;

/// Its predecessor goes, but was no holder: the wait goes on, behind whoever is before that.
#[tokio::test]
async fn a_waiter_behind_one_who_gives_up_waits_on() {
    let space = unique("gives-up");
    let (holder, waiter) =
        (open(&url(server().port(), &space)).await, open(&url(server().port(), &space)).await);
    let claims = [(); 4].map(|()| claim(&lock("nightly")));
    take(&holder, &claims[0]).await;
    // One that came to hold after waiting has left its word behind.
    let place = enqueue(&waiter, &claims[1]).await;
    release(&holder, &claims[0]).await;
    assert!(matches!(locks(&waiter).turn(&claims[1], &place).await, Turn::Granted(_)));
    enqueue(&holder, &claims[2]).await;
    let place = enqueue(&waiter, &claims[3]).await;
    let mut turn = locks(&waiter).turn(&claims[3], &place);
    assert!(turn.as_mut().now_or_never().is_none());

    release(&holder, &claims[2]).await;
    let again = within("see it wait behind the holder", async {
        tokio::select! {
            turn = &mut turn => panic!("{turn:?} though another holds"),
            // Whoever comes next finds the queue as it is.
            watched = watched(&space, &claims[1]) => watched,
        }
    });
    again.await;
    release(&waiter, &claims[1]).await;
    assert!(matches!(within("the turn", turn).await, Turn::Granted(_)));
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
