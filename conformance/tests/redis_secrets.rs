//! Passwords stay out of what the Redis driver and its client say, by whatever way a server is reached.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test
#![allow(clippy::print_stdout)] // the sentences users get to read, for whoever runs this by hand

mod talk;

use std::net::TcpListener;
use std::sync::Arc;

use conformance::servers::{Certificates, Redis};
use tooz_core::Registry;
use tooz_redis::RedisDriver;

const CANARY: &str = "c4n4ry";

async fn fails(url: &str) {
    let registry = Registry::embedded().with(RedisDriver::new());
    let outcome = registry.builder(url).member("worker-1").connect().await;
    let error = outcome.err().unwrap_or_else(|| panic!("{url} connects"));
    println!("{error}");
    let told = talk::in_full(&error);
    assert!(!told.contains(CANARY), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_show_in_no_error_and_no_log() {
    talk::listen();
    let redis = Redis::plan().password("another").user("alice", "on >alices ~* &* -@all +hello").start();
    let cluster = Redis::plan().password("another").option("cluster-enabled", "yes").start();
    let certificates = Arc::new(Certificates::new());
    let tls = Redis::plan().tls(&certificates, false).password("another").start();
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let (at, hole) = (redis.address(), hole.local_addr().unwrap());

    for url in [
        format!("redis://:{CANARY}@{at}"),
        format!("redis://alice:{CANARY}@{at}?db=3"),
        format!("redis+unix://:{CANARY}@{}", redis.socket().display()),
        format!("redis+sentinel://:{CANARY}@{at}?sentinel=blue&sentinel_password={CANARY}"),
        format!("redis://:{CANARY}@{at}?sentinel=blue&sentinel_fallback=x:{CANARY}@{at}"),
        format!("redis+cluster://:{CANARY}@{}", cluster.address()),
        format!("rediss://:{CANARY}@{}", tls.address()),
        format!("rediss://:{CANARY}@{}?ssl_ca_certs={}", tls.address(), certificates.authority().display()),
        format!("rediss://:{CANARY}@{}?ssl_ca_certs=/nowhere", tls.address()),
        format!("redis://:{CANARY}@{hole}?timeout=300ms"),
        format!("redis+cluster://:{CANARY}@{hole}?timeout=300ms"),
        format!("redis+sentinel://:{CANARY}@{hole}?timeout=300ms&sentinel=blue&sentinel_password={CANARY}"),
        format!("redis://:{CANARY}@127.0.0.1:1"),
        format!("redis://:{CANARY}@redis.invalid?allow_plaintext_auth=true"),
        format!("redis://:{CANARY}@10.0.0.1"),
        format!("redis://:{CANARY}@{at}/5"),
        format!("redis://:{CANARY}@{at}?db=x"),
        format!("redis://{at}?password={CANARY}"),
    ] {
        fails(&url).await;
    }
    // One that works, and then does not.
    let url = format!("redis://:another@{at}?timeout=1s");
    let registry = Registry::embedded().with(RedisDriver::new());
    let coord = registry.builder(&url).member("worker-1").connect().await.unwrap();
    coord.lock("nightly").acquire().await.unwrap().release().await.unwrap();
    redis.kill();
    let error = coord.lock("nightly").acquire().await.unwrap_err();
    assert!(!format!("{error:?} {coord:?}").contains("another"));
    drop(coord);

    let log = talk::said();
    assert!(log.len() > 1000, "something was logged: {log}");
    assert!(!log.contains(CANARY) && !log.contains("another"), "{log}");
}
