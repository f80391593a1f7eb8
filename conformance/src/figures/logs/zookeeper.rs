//! ZooKeeper: a node made, and a watch.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use zookeeper_client::{Acls, Client, CreateMode, CreateOptions, Error};

use super::{BareLog, Outcome, PAUSE};

const LOG: &str = "/figures-log";
const HEARD: &str = "/figures-heard";

/// One session for requests and one that listens.
pub(super) struct Log {
    requests: Client,
    listens: Client,
    room: String,
}

fn options(mode: CreateMode) -> CreateOptions<'static> {
    mode.with_acls(Acls::anyone_all())
}

impl Log {
    pub(super) async fn connect(address: &str) -> Outcome<Self> {
        let (requests, listens) = (Client::connect(address).await?, Client::connect(address).await?);
        match requests.create(LOG, b"", &options(CreateMode::Persistent)).await {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error.into()),
        }
        let (_, number) =
            requests.create("/figures-log/run-", b"", &options(CreateMode::PersistentSequential)).await?;
        Ok(Self { requests, listens, room: format!("/figures-log/run-{number}/m") })
    }
}

#[async_trait]
impl BareLog for Log {
    fn append_name(&self) -> &'static str {
        "create of a sequential node"
    }

    async fn append(&self, body: &[u8]) -> Outcome<()> {
        self.requests.create(&self.room, body, &options(CreateMode::PersistentSequential)).await?;
        Ok(())
    }

    fn heard_name(&self) -> &'static str {
        "create to watch"
    }

    async fn heard(&self) -> Outcome<Duration> {
        let (_, watch) = self.listens.check_and_watch_stat(HEARD).await?;
        tokio::time::sleep(PAUSE).await;
        let begun = Instant::now();
        let made = options(CreateMode::Ephemeral);
        let listening = async {
            watch.changed().await;
            Instant::now()
        };
        let (made, heard) = tokio::join!(self.requests.create(HEARD, b"x", &made), listening);
        made?;
        self.requests.delete(HEARD, None).await?;
        Ok(heard - begun)
    }
}
