//! Calls on a real etcd that are polled once and then not any more: nobody else waits for them.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod etcd_relay;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use conformance::servers::Etcd;
use conformance::within;
use etcd_relay::Relay;
use futures_util::poll;
use tokio::runtime::Builder;
use tooz_core::backend::{Backend, Doubt, Driver, Mark, Opening, Position, Standing, Turn, Withdrawn};
use tooz_core::{BootClock, Claim, ClaimId, Endpoint, ErrorKind, Mode, Name, Seat, SessionId};

async fn session(url: &str, timeout: Duration) -> Arc<dyn Backend> {
    let ttl = Duration::from_secs(60);
    let opening = Opening {
        member: Name::new("a").unwrap(),
        session: SessionId::random(),
        predecessor: None,
        ttl,
        membership_ttl: ttl,
        timeout,
        clock: Arc::new(BootClock),
    };
    let endpoint = Endpoint::parse(url).unwrap();
    tooz_etcd::EtcdDriver::new().open(&endpoint, &opening).await.unwrap().backend
}

fn seat(name: &str) -> Seat {
    Seat::Lock(Name::new(name).unwrap())
}

fn claim() -> Claim {
    let (member, value) = (Name::new("a").unwrap(), bytes::Bytes::new());
    Claim { id: ClaimId::random(), seat: seat("nightly"), mode: Mode::Exclusive, member, value }
}

async fn waits(backend: &dyn Backend, claim: &Claim) -> Position {
    match backend.locks().unwrap().claim(claim).await.unwrap() {
        Standing::Waiting(position) => position,
        Standing::Held(_) => panic!("it is held by another"),
    }
}

/// The one asked first for the seat to be watched; the other is whose turn comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_that_nobody_polls_keeps_no_news_from_the_one_before_it() {
    const TIMEOUT: Duration = Duration::from_secs(10);
    let etcd = Etcd::start();
    let (ours, theirs) = (session(&etcd.url(), TIMEOUT).await, session(&etcd.url(), TIMEOUT).await);
    let (held, next, last) = (claim(), claim(), claim());
    assert!(theirs.locks().unwrap().try_claim(&held).await.unwrap().is_some());
    let (first, second) = (waits(&*ours, &next).await, waits(&*ours, &last).await);
    let locks = ours.locks().unwrap();
    let mut parked = pin!(locks.turn(&last, &second));
    assert!(poll!(&mut parked).is_pending());
    let mut turn = pin!(locks.turn(&next, &first));
    assert!(poll!(&mut turn).is_pending());

    assert_eq!(theirs.locks().unwrap().withdraw(&held, Doubt::None).await.unwrap(), Withdrawn::Removed);
    match within("the turn", turn).await {
        Turn::Granted(_) => {}
        Turn::AskAgain => assert!(matches!(locks.claim(&next).await.unwrap(), Standing::Held(_))),
    }
    ours.close().await.unwrap();
    theirs.close().await.unwrap();
}

/// The stream of watches stands and falls silent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_nobody_answers_for_is_waited_for_no_longer_than_a_call() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    // A connection that is silent for longer is given up, and every wait with it.
    const SILENCE: Duration = Duration::from_secs(6);
    let etcd = Etcd::start();
    let relay = Relay::new(&etcd.node().address());
    let (ours, theirs) = (session(&relay.url(), TIMEOUT).await, session(&etcd.url(), TIMEOUT).await);
    let (held, next) = (claim(), claim());
    assert!(theirs.locks().unwrap().try_claim(&held).await.unwrap().is_some());
    let position = waits(&*ours, &next).await;
    let locks = ours.locks().unwrap();
    within("a watch of something else", locks.stirred(&seat("other"), Mark(0))).await;
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
    let release = theirs.locks().unwrap().withdraw(&held, Doubt::None);
    let ((), released) = within("the turn after all", async { tokio::join!(turn, release) }).await;
    assert_eq!(released.unwrap(), Withdrawn::Removed);
    ours.close().await.unwrap();
    theirs.close().await.unwrap();
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
    let backend = engine.block_on(session(&url, TIMEOUT));
    user.block_on(async {
        let locks = backend.locks().unwrap();
        let (first, second) = (claim(), Claim { seat: seat("other"), ..claim() });
        let mut parked = pin!(locks.try_claim(&first));
        assert!(poll!(&mut parked).is_pending());
        assert!(locks.try_claim(&second).await.unwrap().is_some());
        assert!(within("the parked call", parked).await.unwrap().is_some());
    });
    engine.block_on(backend.close()).unwrap();
}
