//! The stores of rows: real servers on this machine, started for one run.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::proxy::{Protocol, Proxy};
use crate::servers::redis::Fsync;
use crate::servers::sentinel::SERVICE;
use crate::servers::{Etcd, Folder, Redis, Sentinels, Zookeeper};

/// Which store, and how it keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This process.
    Memory,
    /// A directory.
    File,
    /// A Redis server that keeps its log of writes like this, or none.
    Redis(Option<Fsync>),
    /// One node of etcd.
    Etcd,
    /// One node of ZooKeeper.
    Zookeeper,
    /// A Redis server whose wall clock jumps.
    RedisClock,
    /// A Redis primary and two replicas, watched by three sentinels.
    Sentinels,
    /// Three nodes of etcd.
    EtcdThree,
    /// Three nodes of ZooKeeper.
    ZookeeperThree,
}

const KINDS: [(&str, Kind); 11] = [
    ("memory", Kind::Memory),
    ("file", Kind::File),
    ("redis", Kind::Redis(None)),
    ("redis-everysec", Kind::Redis(Some(Fsync::Everysec))),
    ("redis-always", Kind::Redis(Some(Fsync::Always))),
    ("etcd", Kind::Etcd),
    ("zookeeper", Kind::Zookeeper),
    ("redis-clock", Kind::RedisClock),
    ("redis-sentinel", Kind::Sentinels),
    ("etcd-three", Kind::EtcdThree),
    ("zookeeper-three", Kind::ZookeeperThree),
];

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = KINDS.iter().find(|(name, _)| *name == text);
        let names = || KINDS.map(|(name, _)| name).join(", ");
        found.map(|(_, kind)| *kind).ok_or_else(|| format!("no driver {text:?}; there are {}", names()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = KINDS.iter().find(|(_, kind)| kind == self);
        f.write_str(found.map_or("redis-no", |(name, _)| name))
    }
}

impl Kind {
    /// The time to live of a row's leases: short, so that many faults fit into minutes.
    pub fn ttl(self) -> Duration {
        match self {
            Self::Memory | Self::File | Self::Redis(_) | Self::RedisClock => Duration::from_secs(1),
            Self::Etcd | Self::Zookeeper | Self::Sentinels => Duration::from_secs(2),
            Self::EtcdThree | Self::ZookeeperThree => Duration::from_secs(2),
        }
    }

    /// How much later than the time to live the name of a killed holder is free at the latest, as documented.
    pub fn slack(self) -> Duration {
        match self {
            Self::Memory | Self::File => Duration::from_millis(100),
            Self::Redis(_) | Self::RedisClock | Self::Sentinels => Duration::from_millis(250),
            Self::Etcd | Self::EtcdThree => Duration::from_millis(1500),
            Self::Zookeeper | Self::ZookeeperThree => {
                Duration::from_millis(250 + crate::servers::zookeeper::TICK_MS)
            }
        }
    }

    /// Whether what was granted may be lost when the server is killed, fails over or jumps in time, as documented.
    pub fn forgets(self) -> bool {
        matches!(
            self,
            Self::Redis(None | Some(Fsync::Everysec | Fsync::No)) | Self::RedisClock | Self::Sentinels
        )
    }

    /// Starts it.
    pub fn start(self) -> Store {
        let server = match self {
            Self::Memory => Server::Memory(crate::unique("memory://rows")),
            Self::File => Server::File(Folder::new("rows")),
            Self::Redis(None) => Server::Redis(Redis::start()),
            Self::Redis(Some(fsync)) => Server::Redis(Redis::plan().append_only(fsync).start()),
            Self::Etcd => Server::Etcd(Etcd::start()),
            Self::Zookeeper => Server::Zookeeper(Zookeeper::start()),
            Self::RedisClock => Server::Redis(Redis::plan().movable_clock().start()),
            Self::Sentinels => Server::Sentinels(Sentinels::start()),
            Self::EtcdThree => Server::Etcd(Etcd::plan().nodes(3).start()),
            Self::ZookeeperThree => Server::Zookeeper(Zookeeper::plan().nodes(3).start()),
        };
        Store { kind: self, server }
    }
}

/// A running store. Ended when dropped.
#[derive(Debug)]
pub struct Store {
    kind: Kind,
    server: Server,
}

/// What runs.
#[derive(Debug)]
pub(super) enum Server {
    Memory(String),
    File(Folder),
    Redis(Redis),
    Etcd(Etcd),
    Zookeeper(Zookeeper),
    Sentinels(Sentinels),
}

impl Store {
    /// Which it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Its URL.
    pub fn url(&self) -> String {
        match &self.server {
            Server::Memory(url) => url.clone(),
            Server::File(folder) => format!("file://{}", folder.join("root").display()),
            Server::Redis(redis) => redis.url(),
            Server::Etcd(etcd) => etcd.url(),
            Server::Zookeeper(zookeeper) => zookeeper.url(),
            Server::Sentinels(sentinels) => {
                format!("redis+sentinel://{}?sentinel={SERVICE}", sentinels.addresses())
            }
        }
    }

    /// A network in front of it, and the URL that leads through it. None where there is no server.
    pub fn behind(&self) -> Option<(Proxy, String)> {
        let (scheme, port, protocol) = match &self.server {
            Server::Memory(_) | Server::File(_) | Server::Sentinels(_) => return None,
            Server::Redis(redis) => ("redis", redis.port(), Protocol::Redis),
            Server::Etcd(etcd) => ("etcd", etcd.node().port(), Protocol::Grpc),
            Server::Zookeeper(zookeeper) => ("zookeeper", zookeeper.port(), Protocol::Zookeeper),
        };
        let proxy = Proxy::new(port, protocol);
        let url = format!("{scheme}://{}", proxy.address());
        Some((proxy, url))
    }

    /// Kills the only server as by -9. A directory has none.
    pub fn kill(&self) {
        match &self.server {
            Server::Memory(_) | Server::File(_) | Server::Sentinels(_) => {}
            Server::Redis(redis) => redis.kill(),
            Server::Etcd(etcd) => etcd.node().process().kill(),
            Server::Zookeeper(zookeeper) => zookeeper.process().kill(),
        }
    }

    /// Starts that again with the data that it kept, and waits until it answers.
    pub fn restart(&self) {
        match &self.server {
            Server::Memory(_) | Server::File(_) | Server::Sentinels(_) => {}
            Server::Redis(redis) => redis.restart(),
            Server::Etcd(etcd) => {
                etcd.node().process().restart();
                etcd.healthy();
            }
            Server::Zookeeper(zookeeper) => {
                zookeeper.process().restart();
                zookeeper.serving();
            }
        }
    }
}
