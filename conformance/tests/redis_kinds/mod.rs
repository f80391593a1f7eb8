//! Redis servers of other kinds: over TLS, as a least user on a Unix socket, behind sentinels, in a cluster.
//!
//! Sentinels and clusters take seconds to start: all cases of one test binary share them, each under a
//! namespace of its own.

#![allow(dead_code)] // each test binary uses its own
#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use conformance::servers::sentinel::SERVICE;
use conformance::servers::{Certificates, Cluster, Redis, Sentinels};
use conformance::{Harness, async_trait, unique};
use tooz_core::backend::Driver;
use tooz_core::{Name, SessionId};

/// The rules of a user who may do what the driver does and nothing else, as documented. `NS` is the
/// namespace.
const RULES: &str = include_str!("../../../tooz-redis/src/acl.rules");

const EXPIRE: &str = include_str!("../redis_server/expire.lua");

const TTL: Duration = Duration::from_secs(10);
/// The longest case takes ten seconds and more over TLS on a slow machine.
const STEPS_TTL: Duration = Duration::from_secs(40);

/// A store of one kind, and a namespace of its own in it.
pub(crate) struct Store {
    kind: Kind,
    namespace: String,
}

enum Kind {
    Tls(Redis),
    User(Redis),
    Sentinels(&'static Sentinels),
    Cluster(&'static Cluster),
}

impl Store {
    /// A server that shows a certificate and asks for one.
    pub(crate) fn tls() -> Self {
        static CERTIFICATES: OnceLock<Arc<Certificates>> = OnceLock::new();
        let certificates = CERTIFICATES.get_or_init(|| Arc::new(Certificates::new()));
        Self::of(Kind::Tls(Redis::plan().tls(certificates, true).start()))
    }

    /// A server on a Unix socket where we are a user with the least permissions.
    pub(crate) fn user() -> Self {
        let rules = RULES.split_whitespace().collect::<Vec<_>>().join(" ").replace("NS", "_tooz");
        let redis = Redis::plan().user("worker", &format!("on >secret {rules}")).start();
        Self { kind: Kind::User(redis), namespace: "_tooz".to_owned() }
    }

    /// A primary and two replicas that three sentinels watch.
    pub(crate) fn sentinels() -> Self {
        static SENTINELS: OnceLock<Sentinels> = OnceLock::new();
        Self::of(Kind::Sentinels(SENTINELS.get_or_init(Sentinels::start)))
    }

    /// A cluster of three primaries with a replica each.
    pub(crate) fn cluster() -> Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        Self::of(Kind::Cluster(CLUSTER.get_or_init(Cluster::start)))
    }

    fn of(kind: Kind) -> Self {
        Self { kind, namespace: format!("{}.", unique("suite")) }
    }

    /// Whether the line tells of a mark that stands for a bounded time after its session was closed: on a
    /// cluster nothing else keeps a late claim out.
    fn is_bounded_mark(&self, line: &str) -> bool {
        let (Kind::Cluster(cluster), Some(key)) = (&self.kind, line.strip_prefix("string ")) else {
            return false;
        };
        let left = cluster.primary(cluster.slot(key)).command(&["PTTL", key]).number();
        let longest = i64::try_from(2 * STEPS_TTL.as_millis()).unwrap();
        key.contains(":void:") && left.is_some_and(|left| (-2..=longest).contains(&left) && left != -1)
    }

    /// The servers that take writes.
    fn primaries(&self) -> Vec<&Redis> {
        match &self.kind {
            Kind::Tls(redis) | Kind::User(redis) => vec![redis],
            Kind::Sentinels(sentinels) => vec![sentinels.primary()],
            Kind::Cluster(cluster) => {
                let is_primary = |node: &&Redis| node.command(&["ROLE"]).text().starts_with("master");
                cluster.nodes().iter().filter(is_primary).collect()
            }
        }
    }
}

#[async_trait]
impl Harness for Store {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::new(tooz_redis::RedisDriver::new())
    }

    fn url(&self) -> String {
        let namespace = &self.namespace;
        match &self.kind {
            Kind::Tls(redis) => {
                let certificates = redis.certificates().unwrap();
                let (certificate, key) = certificates.client();
                format!(
                    "{}?namespace={namespace}&ssl_ca_certs={}&ssl_certfile={}&ssl_keyfile={}",
                    redis.url(),
                    certificates.authority().display(),
                    certificate.display(),
                    key.display()
                )
            }
            Kind::User(redis) => format!("redis+unix://worker:secret@{}", redis.socket().display()),
            Kind::Sentinels(sentinels) => {
                format!("redis+sentinel://{}?sentinel={SERVICE}&namespace={namespace}", sentinels.addresses())
            }
            Kind::Cluster(cluster) => {
                format!("redis+cluster://{}?namespace={namespace}", cluster.addresses())
            }
        }
    }

    async fn expire(&self, _member: &Name, session: SessionId) {
        for primary in self.primaries() {
            let answer = primary.command(&["EVAL", EXPIRE, "0", &session.to_string()]);
            assert_eq!(answer.text(), "done");
        }
    }

    async fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for primary in self.primaries() {
            left.extend(primary.leftovers(Some(&self.namespace)));
        }
        left.retain(|line| !self.is_bounded_mark(line));
        left
    }

    /// Nobody is told of an expiry: waiters look again when the holder's time is up, so it is short here.
    fn ttl(&self) -> Duration {
        TTL
    }

    fn steps_ttl(&self) -> Duration {
        STEPS_TTL
    }
}
