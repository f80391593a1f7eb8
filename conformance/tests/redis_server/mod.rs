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

/// What stands in the store although nobody is there.
const LEFT: &str = include_str!("left.lua");

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
        let answer = self.redis.command(&["EVAL", LEFT, "0"]);
        assert!(!answer.text().starts_with("(error)"), "{}", answer.text());
        answer.list().iter().map(conformance::servers::resp::Value::text).collect()
    }

    /// Nobody is told of an expiry: waiters look again when the holder's time is up, so it is short here.
    fn ttl(&self) -> Duration {
        Duration::from_secs(10)
    }
}
