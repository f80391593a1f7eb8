//! Calls on a real etcd that are polled once and then not any more: nobody else waits for them.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod etcd_relay;
mod etcd_server;

use std::time::Duration;

use conformance::servers::Etcd;
use conformance::within;
use etcd_relay::Relay;
use etcd_server::{lock, session_at};
use futures_util::poll;
use tokio::runtime::Builder;
use tooz_core::ErrorKind;
use tooz_core::backend::{Doubt, Mark, Standing, Turn, Withdrawn};

/// The one asked first for the seat to be watched; the other is whose turn comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_nobody_polls_keeps_no_news_from_the_one_before_it() {
    const TIMEOUT: Duration = Duration::from_secs(10);
    let etcd = Etcd::start();
    let (ours, theirs) =
        (session_at(&etcd.url(), "a", TIMEOUT).await, session_at(&etcd.url(), "b", TIMEOUT).await);
    let [next, last] = [(); 2].map(|()| ours.claim_on(&lock("nightly")));
    let held = theirs.claim_on(&lock("nightly"));
    theirs.take(&held).await;
    let (first, second) = (ours.enqueue(&next).await, ours.enqueue(&last).await);
    let locks = ours.locks();
    let mut parked = locks.turn(&last, &second);
    assert!(poll!(&mut parked).is_pending());
    let mut turn = locks.turn(&next, &first);
    assert!(poll!(&mut turn).is_pending());

    theirs.give_back(&held).await;
    match within("the turn", turn).await {
        Turn::Granted(_) => {}
        Turn::AskAgain => drop(ours.take(&next).await),
    }
    drop(parked);
    ours.closed().await;
    theirs.closed().await;
}

/// The stream of watches stands and falls silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_nobody_answers_for_is_waited_for_no_longer_than_a_call() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    // A connection that is silent for longer is given up, and every wait with it.
    const SILENCE: Duration = Duration::from_secs(6);
    let etcd = Etcd::start();
    let relay = Relay::new(&etcd.node().address());
    let (ours, theirs) =
        (session_at(&relay.url(), "a", TIMEOUT).await, session_at(&etcd.url(), "b", TIMEOUT).await);
    let (held, next) = (theirs.claim_on(&lock("nightly")), ours.claim_on(&lock("nightly")));
    theirs.take(&held).await;
    let position = ours.enqueue(&next).await;
    let locks = ours.locks();
    within("a watch of something else", locks.stirred(&lock("other"), Mark(0))).await;
    relay.hold(0);
    let turn = tokio::time::timeout(SILENCE, locks.turn(&next, &position)).await;
    assert!(matches!(turn, Ok(Turn::AskAgain)), "{turn:?}");

    relay.let_go(0);
    let turn = async {
        loop {
            match locks.claim(&next).await {
                Ok(Standing::Held(_)) => return,
                Ok(Standing::Waiting(position)) => drop(locks.turn(&next, &position).await),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
    };
    let release = theirs.locks().withdraw(&held, Doubt::None);
    let ((), released) = within("the turn after all", async { tokio::join!(turn, release) }).await;
    assert_eq!(released.unwrap(), Withdrawn::Removed);
    ours.closed().await;
    theirs.closed().await;
}

/// The first call of a runtime opens its connection, and a server with users asks there who is calling.
#[test]
fn a_first_call_that_nobody_polls_leaves_its_connection_to_others() {
    const TIMEOUT: Duration = Duration::from_secs(5);
    let etcd = Etcd::start();
    etcd.authenticate("canary");
    let engine = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Nothing goes on in a runtime of one thread while a call is polled.
    let user = Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("etcd://root:canary@{}", etcd.addresses());
    let session = engine.block_on(session_at(&url, "a", TIMEOUT));
    user.block_on(async {
        let (first, second) = (session.claim_on(&lock("nightly")), session.claim_on(&lock("other")));
        let mut parked = session.locks().try_claim(&first);
        assert!(poll!(&mut parked).is_pending());
        assert!(session.attempt(&second).await.is_some());
        assert!(within("the parked call", parked).await.unwrap().is_some());
    });
    engine.block_on(session.closed());
}
