//! The ZooKeeper driver where answers, connections and servers are lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed assumption here is a failed test

mod zookeeper_server;

use std::time::Duration;

use conformance::proxy::{Proxy, Way};
use conformance::servers::Zookeeper;
use conformance::{eventually, unique, within};
use futures_util::FutureExt;
use tooz_core::backend::{Amended, Doubt, Standing, Turn, Withdrawn};
use tooz_core::{Claim, Effect, ErrorKind, Seat};

use zookeeper_server::steps::*;
use zookeeper_server::{ephemerals, server};

/// Interleaving 8: the create arrived, its answer did not: the claim sent again is found by its id, and is there once.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_found_again() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("lost");
    let backend = open(&url(proxy.port(), &space)).await;
    let seat = lock("nightly");
    let warm = claim(&seat);
    take(&backend, &warm).await;
    release(&backend, &warm).await;

    let claim = claim(&seat);
    proxy.lose_next_reply_to("__lock__");
    let error = locks(&backend).claim(&claim).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown), "{error}");
    take(&backend, &claim).await;
    let left = ephemerals(&stranger().await, &format!("/{space}/tooz")).await;
    assert_eq!(left.len(), 1, "{left:?}");

    release(&backend, &claim).await;
    let left = ephemerals(&stranger().await, &format!("/{space}/tooz")).await;
    assert!(left.is_empty(), "{left:?}");
}

/// Interleaving 7: the same, but the caller gives up instead.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_withdrawn_whole() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("given-up");
    let backend = open(&url(proxy.port(), &space)).await;
    let seat = Seat::Leader(name("blue"));
    let warm = claim(&seat);
    take(&backend, &warm).await;
    release(&backend, &warm).await;

    let claim = Claim { value: "host:1".into(), ..claim(&seat) };
    proxy.lose_next_reply_to("__lock__");
    locks(&backend).claim(&claim).await.unwrap_err();
    assert_eq!(locks(&backend).withdraw(&claim, Doubt::MayLand).await.unwrap(), Withdrawn::Removed);
    assert_eq!(locks(&backend).claim(&claim).await.unwrap_err().kind(), ErrorKind::Closed);
    let left = ephemerals(&stranger().await, &format!("/{space}/tooz-rs/tooz")).await;
    assert!(left.iter().all(|path| !path.contains("leaders") && !path.contains("values")), "{left:?}");
}

/// The value of a leader that resigns meanwhile is not made behind its back, to stay as long as the session.
#[tokio::test]
async fn an_amendment_that_a_withdrawal_overtakes_leaves_no_value() {
    let proxy = Proxy::zookeeper(server().port());
    let space = unique("amended");
    let backend = open(&url(proxy.port(), &space)).await;
    let client = stranger().await;
    let values = format!("/{space}/tooz-rs/tooz/values");
    for value in ["", "host:1"] {
        let held = Claim { value: value.into(), ..claim(&Seat::Leader(name("blue"))) };
        take(&backend, &held).await;
        proxy.delay(Duration::from_millis(200));
        let begun = proxy.counts();
        let amended = Claim { value: "host:2".into(), ..held.clone() };
        let (amendment, withdrawn) = tokio::join!(locks(&backend).amend(&amended), async {
            // It has found itself holding, and its first word on the value is on its way.
            eventually("see it write", async || match proxy.counts().since(&begun).requests {
                2.. => Ok(()),
                requests => Err(format!("{requests} requests")),
            })
            .await;
            locks(&backend).withdraw(&held, Doubt::None).await
        });
        assert_eq!(withdrawn.unwrap(), Withdrawn::Removed);
        // What stood when the withdrawal came was written over; what did not stand is not made.
        let expected = if value.is_empty() { Amended::Absent } else { Amended::Done };
        assert_eq!(amendment.unwrap(), expected, "{value:?}");
        proxy.delay(Duration::ZERO);
        assert!(client.list_children(&values).await.unwrap().is_empty(), "{value:?}");
    }
}

/// The mark that makes a claim void goes when nothing can meet it any more, and takes nothing else along.
#[tokio::test]
async fn a_void_mark_is_swept_by_a_later_beat() {
    let space = unique("sweep");
    let backend =
        open_for(&url(server().port(), &space), TTL, Duration::from_millis(200)).await.unwrap().backend;
    let (kept, given_up) = (claim(&lock("kept")), claim(&lock("given-up")));
    let marks = format!("/{space}/tooz-rs/tooz/voids");
    let client = stranger().await;
    take(&backend, &kept).await;
    assert_eq!(locks(&backend).withdraw(&given_up, Doubt::MayLand).await.unwrap(), Withdrawn::Absent);
    assert_eq!(client.list_children(&marks).await.unwrap(), [given_up.id.to_string()]);
    assert_eq!(locks(&backend).claim(&given_up).await.unwrap_err().kind(), ErrorKind::Closed);
    eventually("see the mark gone", async || {
        let renewal =
            backend.renew(std::slice::from_ref(&kept), &[]).await.map_err(|error| error.to_string())?;
        assert!(renewal.ousted.is_empty() && renewal.stray.is_empty(), "{renewal:?}");
        let left = client.list_children(&marks).await.unwrap();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    release(&backend, &kept).await;
}

/// Interleaving 17: what happened while the connection was broken is not slept through.
#[tokio::test]
async fn a_turn_that_came_during_a_reconnect_is_noticed() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("reconnect");
    let holder = open(&url(server().port(), &space)).await;
    let waiter = open(&url(proxy.port(), &space)).await;
    let (first, second) = (claim(&lock("nightly")), claim(&lock("nightly")));
    take(&holder, &first).await;
    let mut position = enqueue(&waiter, &second).await;
    let turn = async {
        loop {
            if let Turn::Granted(grant) = locks(&waiter).turn(&second, &position).await {
                return grant;
            }
            // Unanswered while the connection is broken.
            match locks(&waiter).claim(&second).await {
                Ok(Standing::Held(grant)) => return grant,
                Ok(Standing::Waiting(next)) => position = next,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
    };
    tokio::join!(within("the turn", turn), async {
        proxy.refuse();
        proxy.reset();
        release(&holder, &first).await;
        proxy.join();
    });
}

#[tokio::test]
async fn every_call_ends_though_the_server_never_answers() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("silent");
    let timeout = Duration::from_millis(300);
    let url = url(proxy.port(), &space);
    let backend = open_for(&url, TTL, timeout).await.unwrap().backend;
    proxy.cut(Way::Both);
    let claim = claim(&lock("nightly"));
    for refused in [
        locks(&backend).claim(&claim).await.map(drop),
        locks(&backend).try_claim(&claim).await.map(drop),
        locks(&backend).withdraw(&claim, Doubt::None).await.map(drop),
        locks(&backend).queue(&claim.seat).await.map(drop),
        backend.groups().unwrap().members(&name("blue")).await.map(drop),
        backend.renew(&[], &[]).await.map(drop),
        open_for(&url, TTL, timeout).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    proxy.join();
}

/// A session outlives its server where the data is kept: what was held is held, what is watched goes on.
#[tokio::test]
async fn locks_and_waits_survive_the_restart_of_the_server() {
    let zookeeper = Zookeeper::start();
    let space = "restart";
    let holder = open_for(&url(zookeeper.port(), space), Duration::from_secs(10), TTL).await.unwrap().backend;
    let waiter = open_for(&url(zookeeper.port(), space), Duration::from_secs(10), TTL).await.unwrap().backend;
    let (first, second) = (claim(&lock("nightly")), claim(&lock("nightly")));
    let grant = take(&holder, &first).await;
    let mut position = enqueue(&waiter, &second).await;
    zookeeper.process().restart();
    zookeeper.serving();
    let renewed = within("a beat after the restart", async {
        loop {
            match holder.renew(std::slice::from_ref(&first), &[]).await {
                Ok(renewal) => return renewal,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
    })
    .await;
    assert!(renewed.ousted.is_empty());
    let turn = async {
        loop {
            if let Turn::Granted(grant) = locks(&waiter).turn(&second, &position).await {
                return grant;
            }
            match locks(&waiter).claim(&second).await {
                Ok(Standing::Held(grant)) => return grant,
                Ok(Standing::Waiting(next)) => position = next,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
    };
    let (next, ()) = tokio::join!(within("the turn", turn), release(&holder, &first));
    assert!(next.token > grant.token, "tokens go on after a restart");
}

/// A call may be polled once and then stand still: it keeps no session open.
#[tokio::test]
async fn a_session_with_calls_that_nobody_polls_is_closed_all_the_same() {
    let space = unique("parked");
    let holder = open(&url(server().port(), &space)).await;
    let backend = open(&url(server().port(), &space)).await;
    let [held, waiting, own, late] = ["nightly", "nightly", "own", "late"].map(|text| claim(&lock(text)));
    take(&holder, &held).await;
    let place = enqueue(&backend, &waiting).await;
    take(&backend, &own).await;
    let (mut step, mut turn) = (locks(&backend).claim(&late), locks(&backend).turn(&waiting, &place));
    assert!(step.as_mut().now_or_never().is_none() && turn.as_mut().now_or_never().is_none());

    let soon = Duration::from_secs(2);
    tokio::time::timeout(soon, backend.close()).await.expect("closed soon").unwrap();
    let client = stranger().await;
    client.sync("/").await.unwrap();
    let left = ephemerals(&client, &format!("/{space}")).await;
    assert!(
        left.iter().all(|path| path.contains(&held.id.to_string()) || path.contains("sessions")),
        "{left:?}"
    );
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(within("the step", step).await.unwrap_err().kind(), ErrorKind::SessionLost);
    assert_eq!(within("the wait", turn).await, Turn::AskAgain);
}
