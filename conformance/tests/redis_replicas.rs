//! Grants that replicas must have before they count.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod redis_server;

use std::time::Duration;

use conformance::Session;
use conformance::proxy::Proxy;
use conformance::servers::Redis;
use conformance::within;
use futures_util::future::join_all;
use redis_server::{lock, session_at};
use tooz_core::backend::Standing;
use tooz_core::{Effect, ErrorKind};

const MAIN: &str = "_tooz_nightly_lock";

/// A server with one replica, a line to it that counts, and a session whose grants the replica must have.
async fn replicated() -> (Redis, Redis, Proxy, Session) {
    let redis = Redis::start();
    let replica = Redis::plan().replica_of(&redis).start();
    redis.replicated(1);
    let proxy = Proxy::redis(redis.port());
    let url = format!("redis://{}?wait_replicas=1", proxy.address());
    let session = session_at(&url, "a", Duration::from_secs(30)).await;
    (redis, replica, proxy, session)
}

/// Interleaving 16: without the replicas that were asked for there is no grant, and nothing stays behind.
#[tokio::test]
async fn a_grant_that_too_few_replicas_have_is_taken_back() {
    let redis = Redis::start();
    let url = format!("{}?wait_replicas=1", redis.url());
    let a = session_at(&url, "a", Duration::from_secs(30)).await;
    let refused = a.locks().claim(&a.claim_on(&lock("nightly"))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(refused.to_string().contains("0 of the 1 replicas"), "{refused}");
    assert_eq!(redis.command(&["EXISTS", MAIN]).number(), Some(0));

    let replica = Redis::plan().replica_of(&redis).start();
    redis.replicated(1);
    let claim = a.claim_on(&lock("nightly"));
    a.take(&claim).await;
    assert_eq!(replica.command(&["GET", MAIN]).text(), claim.id.to_string());
}

/// Each wait blocks a connection: so many grants at once take turns at a few.
#[tokio::test]
async fn many_grants_at_once_wait_for_replicas_on_few_connections() {
    let (_redis, _replica, proxy, a) = replicated().await;
    let claims: Vec<_> = (0..200).map(|number| a.claim_on(&lock(&format!("lock-{number}")))).collect();

    let granted = within("the grants", join_all(claims.iter().map(|claim| a.locks().claim(claim)))).await;

    assert!(granted.iter().all(|standing| matches!(standing, Ok(Standing::Held(_)))), "{granted:?}");
    let opened = proxy.counts().connections;
    assert!(opened <= 20, "{opened} connections");
}

/// Without a connection to wait on, the grant is there all the same.
#[tokio::test]
async fn a_grant_that_cannot_be_confirmed_is_in_doubt() {
    let (redis, _replica, proxy, a) = replicated().await;
    proxy.refuse();

    let claim = a.claim_on(&lock("nightly"));
    let refused = within("the refusal", a.locks().claim(&claim)).await.unwrap_err();

    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Unavailable, Effect::Unknown), "{refused}");
    assert_eq!(redis.command(&["GET", MAIN]).text(), claim.id.to_string());
    a.backend.close().await.unwrap();
    assert_eq!(
        redis.command(&["EXISTS", MAIN]).number(),
        Some(0),
        "what was granted is given back at the end"
    );
}
