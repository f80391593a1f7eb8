//! Steps of a backend in few words.

#![allow(dead_code, unreachable_pub)] // each test binary uses its own
#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conformance::servers::Zookeeper;
use tooz_core::backend::{
    Backend, Doubt, Driver, Grant, LockSteps, Opened, Opening, Position, Standing, Withdrawn,
};
use tooz_core::{BootClock, Claim, ClaimId, Endpoint, Error, Mode, Name, Seat, SessionId};
use tooz_zookeeper::ZookeeperDriver;
use zookeeper_client::Client;

use super::server;

pub(crate) const TTL: Duration = Duration::from_secs(6);

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) async fn open_for(url: &str, ttl: Duration, timeout: Duration) -> Result<Opened, Error> {
    ZookeeperDriver::new().open(&Endpoint::parse(url).unwrap(), &opening(ttl, timeout)).await
}

fn opening(ttl: Duration, timeout: Duration) -> Opening {
    Opening {
        member: name("member"),
        session: SessionId::random(),
        predecessor: None,
        ttl,
        membership_ttl: ttl,
        timeout,
        clock: Arc::new(BootClock),
    }
}

/// A session of a driver that can end it.
pub(crate) async fn open_with(driver: &ZookeeperDriver, url: &str) -> (SessionId, Arc<dyn Backend>) {
    open_patiently(driver, url, Duration::from_secs(5)).await
}

/// The same, with calls that may take so long.
pub(crate) async fn open_patiently(
    driver: &ZookeeperDriver,
    url: &str,
    timeout: Duration,
) -> (SessionId, Arc<dyn Backend>) {
    let opening = opening(TTL, timeout);
    let opened = driver.open(&Endpoint::parse(url).unwrap(), &opening).await.unwrap();
    (opening.session, opened.backend)
}

pub(crate) async fn open(url: &str) -> Arc<dyn Backend> {
    open_for(url, TTL, Duration::from_secs(5)).await.unwrap().backend
}

pub(crate) fn url(port: u16, space: &str) -> String {
    format!("zookeeper://127.0.0.1:{port}?chroot=/{space}")
}

/// For tests that count round trips.
pub(crate) fn prompt_url(port: u16, space: &str) -> String {
    format!("{}&nodelay=true", url(port, space))
}

pub(crate) fn claim(seat: &Seat) -> Claim {
    let (id, member) = (ClaimId::random(), name("member"));
    Claim { id, seat: seat.clone(), mode: Mode::Exclusive, member, value: Bytes::new() }
}

pub(crate) fn lock(text: &str) -> Seat {
    Seat::Lock(name(text))
}

pub(crate) fn locks(backend: &Arc<dyn Backend>) -> &dyn LockSteps {
    backend.locks().unwrap()
}

pub(crate) async fn take(backend: &Arc<dyn Backend>, claim: &Claim) -> Grant {
    match locks(backend).claim(claim).await.unwrap() {
        Standing::Held(grant) => grant,
        Standing::Waiting(position) => panic!("waits at {position:?}"),
    }
}

pub(crate) async fn enqueue(backend: &Arc<dyn Backend>, claim: &Claim) -> Position {
    match locks(backend).claim(claim).await.unwrap() {
        Standing::Waiting(position) => position,
        Standing::Held(grant) => panic!("holds {grant:?}"),
    }
}

pub(crate) async fn release(backend: &Arc<dyn Backend>, claim: &Claim) {
    assert_eq!(locks(backend).withdraw(claim, Doubt::None).await.unwrap(), Withdrawn::Removed);
}

/// A client that knows nothing of us.
pub(crate) async fn stranger() -> Client {
    Client::connect(&server().node().address()).await.unwrap()
}

/// The number of the last write that a server has carried out.
pub(crate) fn last_write(zookeeper: &Zookeeper) -> u64 {
    let text = zookeeper.node().ask("srvr").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).unwrap();
    u64::from_str_radix(line, 16).unwrap()
}
