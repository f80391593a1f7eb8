//! What stands in a row's store, one line for each thing that goes when nobody is there any more.

use std::collections::BTreeSet;

use etcd_client::{Client, GetOptions};
use tooz_core::memory;

use super::store::{Server, Store};
use super::{Kind, Outcome};
use crate::drops::files_left;
use crate::servers::etcd::stays;

/// Looks at a store past the library.
pub(super) struct Looker<'a> {
    store: &'a Store,
    memory: Option<memory::Store>,
    etcd: Option<Client>,
}

impl<'a> Looker<'a> {
    /// One who keeps a connection where that is dear.
    pub(super) async fn at(store: &'a Store) -> Outcome<Self> {
        let mut looker = Self { store, memory: None, etcd: None };
        match store.server() {
            Server::Memory(url) => {
                looker.memory = Some(memory::Store::named(url.trim_start_matches("memory://")));
            }
            Server::Etcd(etcd) => {
                looker.etcd = Some(Client::connect([etcd.node().address()], None).await?);
            }
            _ => {}
        }
        Ok(looker)
    }

    /// All of it.
    pub(super) async fn all(&mut self) -> Outcome<BTreeSet<String>> {
        let lines = match self.store.server() {
            Server::Memory(_) => self.memory.iter().flat_map(memory::Store::leftovers).collect(),
            Server::File(folder) => files_left(&folder.join("root"), false),
            Server::Redis(redis) => redis.leftovers(None),
            Server::Sentinels(sentinels) => sentinels.primary().leftovers(None),
            Server::Etcd(_) => match &mut self.etcd {
                Some(client) => etcd_left(client).await?,
                None => Vec::new(),
            },
            Server::Zookeeper(zookeeper) => {
                // Sessions, and the nodes that go with them: each on a line of its own.
                let dump = zookeeper.node().ask("dump")?;
                let lines = dump.lines().filter_map(|line| line.strip_prefix('\t'));
                lines.filter(|line| line.starts_with(['/', '0'])).map(str::to_owned).collect()
            }
        };
        Ok(lines.into_iter().collect())
    }

    /// What does not belong to sessions that still stand. A directory's sessions keep files to be used again.
    pub(super) async fn of_calls(&mut self) -> Outcome<BTreeSet<String>> {
        let mut lines = self.all().await?;
        if self.store.kind() == Kind::File {
            lines.retain(|line| !line.contains("/root/sessions/"));
        }
        Ok(lines)
    }
}

async fn etcd_left(client: &mut Client) -> Outcome<Vec<String>> {
    let options = GetOptions::new().with_all_keys().with_keys_only();
    let keys = client.get("", Some(options)).await?;
    let keys = keys.kvs().iter().map(|kv| String::from_utf8_lossy(kv.key()).escape_debug().to_string());
    let mut left: Vec<String> = keys.filter(|key| !stays(key)).collect();
    let leases = client.leases().await?;
    left.extend(leases.leases().iter().map(|lease| format!("lease {:x}", lease.id())));
    Ok(left)
}
