//! The etcd driver before servers that swallow everything, accept and never answer, or have no vote yet.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod etcd_hole;
mod etcd_learner;

use std::pin::Pin;
use std::time::{Duration, Instant};

use conformance::proxy::Proxy;
use conformance::servers::Etcd;
use conformance::within;
use etcd_hole::Hole;
use etcd_learner::Learner;
use futures_util::future::join_all;
use tooz_core::backend::Eviction;
use tooz_core::{Coordinator, Error, ErrorKind, From, Registry};

/// How long a call may wait for answers in all.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The end of a call that has waited for so long, on a machine that does other things too.
const SLACK: Duration = Duration::from_secs(2);

async fn connect(addresses: &str) -> Result<Coordinator, Error> {
    let url = format!("etcd://{addresses}?timeout={}&lock_timeout=60", TIMEOUT.as_secs());
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    registry.builder(url).member("worker").connect().await
}

/// Whoever connects to nobody else is told in time, and by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_swallows_everything_is_named_within_the_timeout() {
    let etcd = Etcd::start();
    let (hole, mute) = (Hole::new(), Proxy::grpc(etcd.node().port()));
    mute.half_open();
    for address in [hole.address(), mute.address()] {
        let start = Instant::now();
        let error = match connect(&address.to_string()).await {
            Ok(_) => panic!("connected to nobody"),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        assert!(start.elapsed() < TIMEOUT + SLACK, "{:?}", start.elapsed());
    }
}

type Call<'a> = (&'static str, Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>);

/// The only server accepts and never answers from now on: every call says so in time, and so does the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_ends_in_time_though_the_only_server_fell_silent() {
    let etcd = Etcd::start();
    let proxy = Proxy::grpc(etcd.node().port());
    let coord = connect(&proxy.address().to_string()).await.unwrap();
    let (held, kept) =
        (coord.lock("held").acquire().await.unwrap(), coord.lock("kept").acquire().await.unwrap());
    let (group, red, topic) = (coord.group("blue"), coord.group("red"), coord.topic("config"));
    group.create().await.unwrap();
    red.create().await.unwrap();
    let membership = group.join(&1).await.unwrap();
    let lock = coord.lock("nightly");
    let shared = lock.clone().shared();
    proxy.half_open();
    proxy.reset();

    let election = group.election();
    let calls: Vec<Call<'_>> = vec![
        ("acquire", Box::pin(async { lock.acquire().await.map(drop) })),
        ("try", Box::pin(async { lock.try_acquire().await.map(drop) })),
        ("share", Box::pin(async { shared.acquire().await.map(drop) })),
        ("queue", Box::pin(async { lock.queue().await.map(drop) })),
        ("evict", Box::pin(async { lock.evict(Eviction::Force).await.map(drop) })),
        ("release", Box::pin(async { held.release().await })),
        ("create", Box::pin(async { group.create_if_missing().await.map(drop) })),
        ("delete", Box::pin(async { group.delete().await })),
        ("groups", Box::pin(async { coord.groups().await.map(drop) })),
        ("members", Box::pin(async { group.members().await.map(drop) })),
        ("watch", Box::pin(async { group.watch().await.map(drop) })),
        ("join", Box::pin(async { red.join(&1).await.map(drop) })),
        ("update", Box::pin(async { membership.update(&2).await })),
        ("campaign", Box::pin(async { election.campaign("x").await.map(drop) })),
        ("leader", Box::pin(async { election.leader().await.map(drop) })),
        ("publish", Box::pin(async { topic.publish("x").await.map(drop) })),
        ("subscribe", Box::pin(async { topic.subscribe(From::Beginning).await.map(drop) })),
        ("last", Box::pin(async { topic.last().await.map(drop) })),
        ("trim", Box::pin(async { topic.trim().await.map(drop) })),
    ];
    let timed = calls.into_iter().map(async |(name, call)| {
        let start = Instant::now();
        let answer = within(name, call).await;
        (name, answer, start.elapsed())
    });
    for (name, answer, took) in join_all(timed).await {
        let error = answer.err().unwrap_or_else(|| panic!("{name} succeeded without an answer"));
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{name}: {error}");
        assert!(took < TIMEOUT + SLACK, "{name} took {took:?}");
    }
    assert!(kept.is_held(), "its lease lives on");

    let start = Instant::now();
    let _ = within("the end", coord.close()).await; // nobody is there to take anything back
    assert!(start.elapsed() < 3 * TIMEOUT + SLACK, "the end took {:?}", start.elapsed());
    assert!(!kept.is_held());
}

/// Of several servers it costs nobody a call, whether it was so from the beginning or comes to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_server_of_three_that_swallows_everything_no_call_fails() {
    let etcd = Etcd::plan().nodes(3).start();
    let nodes: Vec<String> = etcd.nodes().iter().map(|node| node.address()).collect();
    let (hole, proxy) = (Hole::new(), Proxy::grpc(etcd.nodes()[0].port()));
    let (swallows, begin) = (hole.address().to_string(), proxy.address().to_string());
    for first in [&swallows, &begin] {
        let coord = connect(&format!("{first},{},{}", nodes[1], nodes[2])).await.unwrap();
        if *first == begin {
            cycle(&coord).await;
            proxy.half_open();
            proxy.reset();
        }
        let mut slowest = Duration::ZERO;
        for _ in 0..30 {
            slowest = slowest.max(cycle(&coord).await);
        }
        assert!(slowest < TIMEOUT, "{slowest:?}");
        coord.topic("config").publish("x").await.unwrap();
        coord.group("blue").create_if_missing().await.unwrap();
        coord.close().await.unwrap();
    }
}

/// A server that is about to join refuses whatever it is asked, and the others serve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_among_the_endpoints_is_passed_over() {
    let etcd = Etcd::start();
    let (learner, proxy) = (Learner::new().address(), Proxy::grpc(etcd.node().port()));
    let error = match connect(&learner.to_string()).await {
        Ok(_) => panic!("a learner opened a session"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains("learner"), "{error}");

    let coord = connect(&format!("{learner},{}", proxy.address())).await.unwrap();
    let guard = coord.lock("held").acquire().await.unwrap();
    coord.topic("config").publish("x").await.unwrap();
    // Whoever has lost its connection goes on to the learner.
    proxy.reset();
    for _ in 0..10 {
        cycle(&coord).await;
    }
    assert!(guard.is_held());
    guard.release().await.unwrap();
    coord.close().await.unwrap();
}

/// Takes a lock and gives it back, and says how long that took.
async fn cycle(coord: &Coordinator) -> Duration {
    let start = Instant::now();
    coord.lock("nightly").acquire().await.unwrap().release().await.unwrap();
    start.elapsed()
}
