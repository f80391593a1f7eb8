//! How a server is reached.

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, SendError};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    PushInfo, PushKind, RedisConnectionInfo, TlsCertificates,
};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;
use tooz_core::Result;

use super::{cluster, sentinel};
use crate::config::{Config, Login, Place, Tls, Topology};
use crate::error::{unconnected, unreached};

/// How the session's server is reached: shared by all its connections.
pub(crate) struct Reach {
    config: Config,
    certificates: Option<TlsCertificates>,
    sentinel_certificates: Option<TlsCertificates>,
    patience: Duration,
    /// Goes up whenever the primary may be another than before.
    epoch: watch::Sender<u64>,
    /// The epoch of the sentinels' word that the newest connection followed.
    trusted: AtomicU64,
    /// What the cluster says its nodes are; before that, those of the URL.
    nodes: RwLock<Vec<Place>>,
}

impl Reach {
    /// Reads the certificates. Nothing is connected yet.
    pub(super) fn new(config: Config, patience: Duration) -> Result<Self> {
        install_provider();
        let certificates = config.tls.as_ref().map(Tls::load).transpose()?;
        let (nodes, sentinel_certificates) = match &config.topology {
            Topology::Standalone(_) => (Vec::new(), None),
            Topology::Sentinel { tls, .. } => (Vec::new(), tls.as_ref().map(Tls::load).transpose()?),
            Topology::Cluster(seeds) => (seeds.clone(), None),
        };
        let patience = config.connect_timeout.unwrap_or(patience).min(patience);
        Ok(Self {
            config,
            certificates,
            sentinel_certificates,
            patience,
            epoch: watch::Sender::new(0),
            trusted: AtomicU64::new(0),
            nodes: RwLock::new(nodes),
        })
    }

    /// What the URL says.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Connections of an earlier epoch may lead to a former primary.
    pub(super) fn epoch(&self) -> u64 {
        *self.epoch.borrow()
    }

    /// The primary may be another now: connections of `epoch` are not to be used any more.
    pub(super) fn renounce(&self, epoch: u64) {
        self.epoch.send_if_modified(|current| {
            let is_news = *current == epoch;
            *current += u64::from(is_news);
            is_news
        });
    }

    /// Ends when connections of `epoch` are not to be used any more.
    pub(super) async fn moved_on(&self, epoch: u64) {
        // The sender lives in `self`, so the wait cannot fail.
        let mut epochs = self.epoch.subscribe();
        let _never = epochs.wait_for(|current| *current != epoch).await;
    }

    /// A connection followed the sentinels' word of this epoch.
    pub(super) fn trust(&self, epoch: u64) {
        self.trusted.fetch_max(epoch, Ordering::AcqRel);
    }

    /// Whether the sentinels' word of this epoch is newer than any that was followed.
    pub(super) fn is_newer(&self, epoch: u64) -> bool {
        epoch > self.trusted.load(Ordering::Acquire)
    }

    /// How long one attempt to connect may take.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Connects to the server, or to the primary the sentinels name; on a cluster to any of the nodes named
    /// in the URL. `news` gets what the server pushes.
    pub(super) async fn connect(
        &self,
        news: mpsc::UnboundedSender<PushInfo>,
    ) -> Result<MultiplexedConnection> {
        let attempt = async {
            match &self.config.topology {
                Topology::Standalone(place) => self.connect_to(place, news).await,
                Topology::Sentinel { name, .. } => sentinel::connect(self, name, news).await,
                Topology::Cluster(_) => cluster::connect(self, news).await,
            }
        };
        let patience = self.patience;
        timeout(patience, attempt).await.unwrap_or_else(|_| Err(unconnected(self, patience)))
    }

    /// Connects to one data server.
    pub(super) async fn connect_to(
        &self,
        place: &Place,
        news: mpsc::UnboundedSender<PushInfo>,
    ) -> Result<MultiplexedConnection> {
        self.config.check_login(place)?;
        let login = settings(&self.config.login).set_db(i64::from(self.config.db));
        dial(place, login, self.certificates.as_ref(), Some(news)).await
    }

    /// Connects to one sentinel.
    pub(super) async fn connect_to_sentinel(
        &self,
        place: &Place,
        login: &Login,
        news: Option<mpsc::UnboundedSender<PushInfo>>,
    ) -> Result<MultiplexedConnection> {
        dial(place, settings(login), self.sentinel_certificates.as_ref(), news).await
    }

    /// The nodes of the cluster, as far as known, and those of the URL.
    pub(super) fn nodes(&self) -> Vec<Place> {
        self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The cluster says that these are its nodes. The URL's stay known: they may be back some day.
    pub(super) fn learn(&self, told: Vec<Place>) {
        let Topology::Cluster(seeds) = &self.config.topology else { return };
        let mut nodes = told;
        nodes.extend(seeds.iter().cloned());
        let mut seen = HashSet::new();
        nodes.retain(|place| seen.insert(place.clone()));
        *self.nodes.write().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    /// What the client crate needs to connect to all nodes of a cluster; it counts the connections that broke.
    pub(super) fn cluster_client(&self, breaks: Arc<AtomicU64>) -> redis::RedisResult<ClusterClient> {
        let login = settings(&self.config.login);
        let nodes = self.nodes().into_iter();
        let nodes = nodes.map(|place| information(&place, login.clone(), self.certificates.is_some()));
        let mut builder = ClusterClientBuilder::new(nodes.collect::<redis::RedisResult<Vec<_>>>()?)
            .use_protocol(ProtocolVersion::RESP3)
            .tcp_settings(TcpSettings::default().set_nodelay(true))
            // A node that falls silent must leave time to ask another.
            .connection_timeout(self.patience / 4)
            // Silence ends a call by its own deadline, before the client crate would send it once more.
            .response_timeout(self.patience * 2)
            .overall_response_timeout(None)
            // Bounded by the deadline of each call; waits grow from the first to the second figure.
            .retries(32)
            .min_retry_wait(20)
            .max_retry_wait(250)
            .push_sender(move |push: PushInfo| -> std::result::Result<(), SendError> {
                let is_break = push.kind == PushKind::Disconnection;
                breaks.fetch_add(u64::from(is_break), Ordering::AcqRel);
                Ok(())
            });
        if let Some(certificates) = &self.certificates {
            builder = builder.certs(certificates.clone());
        }
        builder.build()
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.config.topology {
            Topology::Standalone(place) => write!(f, "{place}"),
            Topology::Sentinel { name, .. } => write!(f, "the primary of {name:?}"),
            Topology::Cluster(seeds) => {
                let seeds: Vec<_> = seeds.iter().map(Place::to_string).collect();
                f.write_str(&seeds.join(","))
            }
        }
    }
}

async fn dial(
    place: &Place,
    login: RedisConnectionInfo,
    certificates: Option<&TlsCertificates>,
    news: Option<mpsc::UnboundedSender<PushInfo>>,
) -> Result<MultiplexedConnection> {
    let failed = |e| unreached(place, e);
    let information = information(place, login, certificates.is_some()).map_err(failed)?;
    let client = match certificates {
        Some(certificates) => Client::build_with_tls(information, certificates.clone()),
        None => Client::open(information),
    };
    // Deadlines are set around the whole, by whoever knows them. And nobody waits for room: a caller that is not polled
    // any more would keep what it was given. What is queued belongs to calls, each with its deadline.
    let mut settings = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_pipeline_buffer_size(Semaphore::MAX_PERMITS);
    if let Some(news) = news {
        settings = settings.set_push_sender(news);
    }
    let client = client.map_err(failed)?;
    client.get_multiplexed_async_connection_with_config(&settings).await.map_err(failed)
}

fn information(place: &Place, login: RedisConnectionInfo, tls: bool) -> redis::RedisResult<ConnectionInfo> {
    let address = match place {
        Place::Unix(path) => ConnectionAddr::Unix(path.clone()),
        Place::Tcp { host, port } if tls => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
        Place::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
    };
    let information = address.into_connection_info()?;
    Ok(information.set_tcp_settings(TcpSettings::default().set_nodelay(true)).set_redis_settings(login))
}

fn settings(login: &Login) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
    if let Some(user) = &login.user {
        settings = settings.set_username(user);
    }
    if let Some(password) = &login.password {
        settings = settings.set_password(password.reveal());
    }
    settings.set_lib_name("tooz-rs", env!("CARGO_PKG_VERSION"))
}

/// The client crate panics where the process has no default provider and rustls cannot tell which to take.
fn install_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _another_was_quicker = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}
