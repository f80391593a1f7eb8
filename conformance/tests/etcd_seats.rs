//! Seats on an etcd in which others write too, and crowded ones.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use std::sync::Arc;
use std::time::Duration;

use conformance::servers::Etcd;
use conformance::within;
use tooz_core::backend::{Backend, Driver, Mark, Opening};
use tooz_core::{BootClock, Endpoint, Name, Seat, SessionId};

async fn session(etcd: &Etcd) -> Arc<dyn Backend> {
    let ttl = Duration::from_secs(60);
    let opening = Opening {
        member: Name::new("a").unwrap(),
        session: SessionId::random(),
        predecessor: None,
        ttl,
        membership_ttl: ttl,
        timeout: Duration::from_secs(10),
        clock: Arc::new(BootClock),
    };
    let endpoint = Endpoint::parse(&etcd.url()).unwrap();
    tooz_etcd::EtcdDriver::new().open(&endpoint, &opening).await.unwrap().backend
}

/// Waits are dropped all the time; what they asked to be watched is watched once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_is_dropped_early_leaves_no_second_watch() {
    let etcd = Etcd::start();
    let backend = session(&etcd).await;
    let locks = backend.locks().unwrap();
    let seat = Seat::Lock(Name::new("nightly").unwrap());
    for _ in 0..20 {
        let dropped = tokio::time::timeout(Duration::ZERO, locks.stirred(&seat, Mark(u64::MAX))).await;
        assert!(dropped.is_err(), "stirred by nothing");
    }
    within("a look", locks.stirred(&seat, Mark(0))).await;
    assert_eq!(etcd.node().metric("etcd_debugging_mvcc_watcher_total", ""), 2.0);
    backend.close().await.unwrap();
}
