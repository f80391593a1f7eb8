//! One ZooKeeper server per test binary, and below it a node of its own for each case. With `TOOZ_NODES=3` it is an
//! ensemble.

#![allow(dead_code, unreachable_pub)] // each test binary uses its own
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed assumption here is a failed test

pub(crate) mod steps;
pub(crate) mod topics;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use conformance::servers::Zookeeper;
use conformance::{Harness, async_trait, unique};
use tooz_core::backend::Driver;
use tooz_core::{Name, SessionId};
use tooz_zookeeper::ZookeeperDriver;
use zookeeper_client::{Client, Error};

/// The server of this test binary.
pub(crate) fn server() -> &'static Zookeeper {
    static SERVER: OnceLock<Zookeeper> = OnceLock::new();
    let nodes = std::env::var("TOOZ_NODES").ok().map_or(1, |text| text.parse().expect("a number of nodes"));
    // Without it there are no nodes with a time to live.
    let plan = Zookeeper::plan().property("zookeeper.extendedTypesEnabled", "true");
    SERVER.get_or_init(|| plan.nodes(nodes).start())
}

/// A node of its own below the server.
pub(crate) struct Chroot {
    driver: ZookeeperDriver,
    node: String,
}

impl Chroot {
    pub(crate) fn new() -> Self {
        server();
        Self { driver: ZookeeperDriver::new(), node: format!("/{}", unique("case")) }
    }
}

#[async_trait]
impl Harness for Chroot {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::new(self.driver.clone())
    }

    fn url(&self) -> String {
        format!("{}?chroot={}", server().url(), self.node)
    }

    async fn expire(&self, _member: &Name, session: SessionId) {
        self.driver.expire(session).await;
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(6)
    }

    async fn leftovers(&self) -> Vec<String> {
        let client = Client::connect(&server().addresses()).await.expect("a connection");
        // Of several servers this one may be behind.
        client.sync("/").await.expect("a server that has caught up");
        ephemerals(&client, &self.node).await
    }
}

/// Every node that goes with a session.
pub(crate) async fn ephemerals(client: &Client, root: &str) -> Vec<String> {
    let (mut left, mut paths) = (Vec::new(), vec![root.to_owned()]);
    while let Some(path) = paths.pop() {
        match client.get_children(&path).await {
            Ok((children, stat)) => {
                if stat.ephemeral_owner != 0 {
                    left.push(path.clone());
                }
                paths.extend(children.into_iter().map(|child| format!("{path}/{child}")));
            }
            Err(Error::NoNode) => {}
            Err(error) => panic!("list {path}: {error}"),
        }
    }
    left
}
