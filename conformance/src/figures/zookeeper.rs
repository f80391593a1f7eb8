//! ZooKeeper without the library: a node made and removed, and a deletion heard by another session.

use async_trait::async_trait;
use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::{Bare, Outcome};

const ROOM: &str = "/figures";
const SIGN: &str = "/figures/sign";

/// One session for requests and one that listens.
pub(super) struct Plain {
    requests: Client,
    listens: Client,
}

impl Plain {
    /// Connects to the servers of a `zookeeper://host:port,…` URL, options aside.
    pub(super) async fn connect(url: &str) -> Outcome<Self> {
        let address = url.split('?').next().unwrap_or(url).trim_start_matches("zookeeper://");
        let (requests, listens) = (Client::connect(address).await?, Client::connect(address).await?);
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        match requests.create(ROOM, b"", &options).await {
            Ok(_) | Err(Error::NodeExists) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { requests, listens })
    }

    async fn make(&self, path: &str) -> Outcome<()> {
        let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
        self.requests.create(path, b"member", &options).await?;
        Ok(())
    }
}

#[async_trait]
impl Bare for Plain {
    fn pair_name(&self) -> &'static str {
        "create and delete of a node"
    }

    async fn pair(&self, task: usize) -> Outcome<()> {
        let node = format!("{ROOM}/node-{task}");
        self.make(&node).await?;
        Ok(self.requests.delete(&node, None).await?)
    }

    fn event_name(&self) -> &'static str {
        "create, watch, delete, event"
    }

    async fn event(&self) -> Outcome<()> {
        self.make(SIGN).await?;
        let (_, watch) = self.listens.check_and_watch_stat(SIGN).await?;
        let (removed, _) = tokio::join!(self.requests.delete(SIGN, None), watch.changed());
        Ok(removed?)
    }
}
