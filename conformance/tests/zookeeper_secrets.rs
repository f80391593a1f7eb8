//! What the ZooKeeper driver and its client say, at their most talkative, while everything goes wrong: never a password.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

mod talk;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use conformance::eventually;
use conformance::proxy::Proxy;
use conformance::servers::{Certificates, Zookeeper, ports};
use tooz_core::{Coordinator, Error, ErrorKind, Registry};
use tooz_zookeeper::ZookeeperDriver;

const CANARY: &str = "canary";

async fn connect(url: &str) -> Result<Coordinator, Error> {
    let registry = Registry::new().with(ZookeeperDriver::new());
    registry.builder(url).member("worker").ttl(Duration::from_secs(4)).connect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_are_in_no_error_and_no_log_at_trace() {
    talk::listen();
    let zookeeper = Zookeeper::start();
    let (certificates, strangers) = (Arc::new(Certificates::new()), Certificates::new());
    let proxy = Proxy::bytes(zookeeper.port());
    let secure = Zookeeper::plan().tls(&certificates, false).start();
    let mut told = String::new();

    // Works, is cut off, comes back and proves itself again.
    let url = |user: &str, port: u16| format!("zookeeper://{user}:{CANARY}@127.0.0.1:{port}?chroot=/secrets");
    let coord = connect(&url("alice", proxy.port())).await.unwrap();
    write!(told, "{coord:?} {:?} {}", coord.endpoint(), coord.endpoint()).unwrap();
    coord.lock("nightly").acquire().await.unwrap().release().await.unwrap();
    proxy.reset();
    eventually("work after the reset", async || match coord.lock("nightly").try_acquire().await {
        Ok(Some(guard)) => guard.release().await.map_err(|error| error.to_string()),
        other => Err(format!("{other:?}")),
    })
    .await;
    coord.close().await.unwrap();
    // Another's nodes, nobody there, a server that is not trusted, one that speaks TLS, and URLs that are refused.
    let (certified, trusted) = (secure.secure_addresses(), strangers.authority().display().to_string());
    let refused = [
        (url("bob", zookeeper.port()), ErrorKind::Denied),
        (url("alice", ports::free()), ErrorKind::Unavailable),
        (format!("zookeeper://alice:{CANARY}@{certified}?use_ssl=true"), ErrorKind::InvalidOption),
        (format!("zookeeper://alice:{CANARY}@{certified}?use_ssl=true&ca={trusted}"), ErrorKind::Unavailable),
        (format!("zookeeper://alice:{CANARY}@{certified}?timeout=1"), ErrorKind::Unavailable),
        (format!("zookeeper://alice:{CANARY}@example.com"), ErrorKind::InvalidOption),
        (format!("zookeeper://alice:{CANARY}@127.0.0.1/path"), ErrorKind::InvalidUrl),
    ];
    for (url, kind) in refused {
        let error = connect(&url).await.err().unwrap();
        assert_eq!(error.kind(), kind, "{error}");
        told += &talk::in_full(&error);
    }

    let log = talk::said();
    assert!(log.contains("TRACE") && log.contains("zookeeper_client"), "nothing was logged: {log}");
    let leak = log.lines().chain(told.lines()).find(|line| line.contains(CANARY));
    assert_eq!(leak, None);
}
