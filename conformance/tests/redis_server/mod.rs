//! A Redis server of its own for every case.

#![allow(dead_code)] // each test binary uses its own
#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use std::sync::Arc;
use std::time::Duration;

use conformance::servers::Redis;
use conformance::{Harness, async_trait};
use tooz_core::backend::Driver;
use tooz_core::{Name, SessionId};

/// A server, empty at first.
pub(crate) struct Server {
    pub(crate) redis: Redis,
}

/// Ends whatever a session has, as if the server's clock had passed every time to live of it at once.
const EXPIRE: &str = include_str!("expire.lua");

impl Server {
    pub(crate) fn new() -> Self {
        Self { redis: Redis::start() }
    }
}

#[async_trait]
impl Harness for Server {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::new(tooz_redis::RedisDriver::new())
    }

    fn url(&self) -> String {
        self.redis.url()
    }

    async fn expire(&self, _member: &Name, session: SessionId) {
        let answer = self.redis.command(&["EVAL", EXPIRE, "0", &session.to_string()]);
        assert_eq!(answer.text(), "done");
    }

    async fn leftovers(&self) -> Vec<String> {
        self.redis.leftovers(None)
    }

    /// Nobody is told of an expiry: waiters look again when the holder's time is up, so it is short here.
    fn ttl(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// The longest takes ten seconds and more over TLS on a slow machine.
    fn steps_ttl(&self) -> Duration {
        Duration::from_secs(40)
    }
}

/// A session with the server behind `url`, spoken to without core, and so without beats of its own.
pub(crate) async fn session_at(url: &str, member: &str, ttl: Duration) -> conformance::Session {
    let endpoint = tooz_core::Endpoint::parse(url).unwrap();
    let opening = tooz_core::backend::Opening {
        member: Name::new(member).unwrap(),
        session: SessionId::random(),
        predecessor: None,
        ttl,
        membership_ttl: ttl,
        timeout: Duration::from_secs(5),
        clock: Arc::new(tooz_core::BootClock),
    };
    let opened = tooz_redis::RedisDriver::new().open(&endpoint, &opening).await.unwrap();
    conformance::Session {
        backend: opened.backend,
        id: opening.session,
        member: opening.member,
        proof: opened.proof,
    }
}

/// A name that is known to be valid.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// The lock of this name.
pub(crate) fn lock(text: &str) -> tooz_core::Seat {
    tooz_core::Seat::Lock(name(text))
}
