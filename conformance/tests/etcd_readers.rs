//! Readers on a real etcd that come in while a beat is under way.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

mod etcd_relay;
mod etcd_server;

use std::sync::Arc;
use std::time::Duration;

use conformance::servers::{Etcd, until};
use conformance::within;
use etcd_relay::Relay;
use etcd_server::{lock, session_at};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Interleaving 18: the beat's keep-alive is answered between the reader's own and its entry. The beat has seen nothing of
/// the reader and will be credited to it when it ends, which may be later.
#[test]
fn a_reader_that_comes_in_during_a_beat_keeps_the_common_lease_alive_once_more() {
    // What a caller sends on its way in: a look, a request for a lease of a minute, and the entry.
    const STEPS: [&[u8]; 3] = [b"nightly/foreign", &[0, 0, 0, 0, 2, 8, 60], b"nightly/share"];
    let etcd = Etcd::start();
    let relay = Relay::new(&etcd.node().address());
    let (engine, user) = (runtime(), runtime());
    let session = Arc::new(engine.block_on(session_at(&relay.url(), "a", Duration::from_secs(30))));
    let nightly = lock("nightly");
    user.block_on(session.queue(&nightly)); // by the caller's own connection
    relay.hold(1);
    let entry = user.spawn({
        let (session, reader) = (Arc::clone(&session), session.shared_on(&nightly));
        async move { session.attempt(&reader).await }
    });
    let [look, lease, entering] = STEPS;
    for step in [look, lease] {
        until("the next step is under way", || relay.has_held(1, step));
        relay.let_pass(1);
    }
    until("the entry is under way", || relay.has_held(1, entering));

    // Whoever asks whether a claim was taken away renews first, as a beat does that has yet to look at claims.
    let missing = session.claim_on(&lock("missing"));
    engine.block_on(within("the answer", session.locks().ousted(&missing)));
    let kept = || etcd.node().metric("grpc_server_msg_received_total", "grpc_method=\"LeaseKeepAlive\"");
    let before = kept();
    relay.let_go(1);
    assert!(user.block_on(entry).unwrap().is_some(), "nobody is in its way");
    assert!(kept() > before, "the beat proves more than the common lease lasts");
    engine.block_on(session.backend.close()).unwrap();
}
