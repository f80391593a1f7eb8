//! An empty etcd for every case: servers of one process are handed from case to case, emptied in between. And sessions
//! with whatever etcd, without core.

#![allow(dead_code)] // each test binary uses its own
#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use conformance::servers::Etcd;
use conformance::servers::etcd::stays;
use conformance::{Harness, async_trait};
use etcd_client::{Client, DeleteOptions, GetOptions};
use tooz_core::backend::{Driver, Opening};
use tooz_core::{BootClock, Endpoint, Name, Seat, SessionId};

/// Servers that no case uses. Killed by the kernel when this process ends.
static IDLE: Mutex<Vec<Etcd>> = Mutex::new(Vec::new());

/// A server, empty at first.
pub(crate) struct Server {
    etcd: Option<Etcd>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { etcd: Some(idle.unwrap_or_else(Etcd::start)) }
    }

    fn etcd(&self) -> &Etcd {
        self.etcd.as_ref().unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect([self.etcd().node().address()], None).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What a failed case left is not looked at again: its server goes.
        if !std::thread::panicking() {
            IDLE.lock().unwrap_or_else(PoisonError::into_inner).extend(self.etcd.take());
        }
    }
}

#[async_trait]
impl Harness for Server {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::new(tooz_etcd::EtcdDriver::new())
    }

    fn url(&self) -> String {
        self.etcd().url()
    }

    /// Revokes the session's leases, whose ids are the beginning of its own.
    async fn expire(&self, _member: &Name, session: SessionId) {
        let number = i64::from_str_radix(&session.to_string()[..15], 16).unwrap();
        let mut client = self.client().await;
        client.lease_revoke(number << 1 | 1).await.unwrap();
        let _ = client.lease_revoke((number << 1) + 2).await; // not every session has two
    }

    /// Some cases wait until a lease has run out.
    fn ttl(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// The longest takes half a minute on a slow machine.
    fn steps_ttl(&self) -> Duration {
        Duration::from_secs(50)
    }

    /// Every key but those of groups, of channels and the format, and every lease. The next case finds nothing.
    async fn leftovers(&self) -> Vec<String> {
        let mut client = self.client().await;
        let options = GetOptions::new().with_all_keys().with_keys_only();
        let keys = client.get("", Some(options)).await.unwrap();
        let keys = keys.kvs().iter().map(|kv| String::from_utf8_lossy(kv.key()).escape_debug().to_string());
        let mut left: Vec<String> = keys.filter(|key| !stays(key)).collect();
        let leases = client.leases().await.unwrap();
        left.extend(leases.leases().iter().map(|lease| format!("lease {:x}", lease.id())));
        if left.is_empty() {
            client.delete("", Some(DeleteOptions::new().with_all_keys())).await.unwrap();
        }
        left
    }
}

/// A session with the server behind `url`, spoken to without core, and so without beats of its own.
pub(crate) async fn session_at(url: &str, member: &str, timeout: Duration) -> conformance::Session {
    let ttl = Duration::from_secs(60);
    let opening = Opening {
        member: Name::new(member).unwrap(),
        session: SessionId::random(),
        predecessor: None,
        ttl,
        membership_ttl: ttl,
        timeout,
        clock: Arc::new(BootClock),
    };
    let endpoint = Endpoint::parse(url).unwrap();
    let opened = tooz_etcd::EtcdDriver::new().open(&endpoint, &opening).await.unwrap();
    conformance::Session {
        backend: opened.backend,
        id: opening.session,
        member: opening.member,
        proof: opened.proof,
    }
}

/// The lock of this name.
pub(crate) fn lock(name: &str) -> Seat {
    Seat::Lock(Name::new(name).unwrap())
}
