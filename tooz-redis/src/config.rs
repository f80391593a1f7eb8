//! What the URL says.

mod options;
mod place;
mod tls;

use std::time::Duration;

use tooz_core::endpoint::{Host, Secret};
use tooz_core::{Endpoint, Error, ErrorKind, Result};

pub(crate) use options::OPTIONS;
pub(crate) use place::Place;
pub(crate) use tls::Tls;

/// The port of a Redis server that was not told another.
const PORT: u16 = 6379;
/// The port of a sentinel that was not told another.
const SENTINEL_PORT: u16 = 26379;

/// A session's settings. Never shows a password.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Where the data is.
    pub(crate) topology: Topology,
    /// The numbered database.
    pub(crate) db: u16,
    /// Who we are to the data servers.
    pub(crate) login: Login,
    /// How the data servers prove who they are; `None` without TLS.
    pub(crate) tls: Option<Tls>,
    /// Whether passwords may cross a network in the clear.
    pub(crate) plaintext_auth: bool,
    /// The longest wait for a connection, where the URL gives one of its own.
    pub(crate) connect_timeout: Option<Duration>,
    /// The longest wait for an answer, where the URL gives one of its own.
    pub(crate) answer_timeout: Option<Duration>,
    /// How often the ear makes sure that it still hears.
    pub(crate) health_check: Option<Duration>,
    /// What every key of the locks and groups begins with.
    pub(crate) namespace: String,
    /// How many replicas must have a grant before it counts.
    pub(crate) wait_replicas: u32,
    /// Whether clients of another kind, which leave no trace while they wait, take these locks too.
    pub(crate) foreign: bool,
}

/// Where the data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// On one server.
    Standalone(Place),
    /// On the server that the sentinels call the primary of `name`.
    Sentinel {
        /// What the sentinels call the set of servers.
        name: String,
        /// The sentinels, in the URL's order.
        sentinels: Vec<Place>,
        /// Who we are to the sentinels.
        login: Login,
        /// How the sentinels prove who they are; `None` without TLS.
        tls: Option<Tls>,
    },
    /// On the nodes of a cluster, of which these are some.
    Cluster(Vec<Place>),
}

/// A user and a password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Login {
    /// The user; the server's default user without one.
    pub(crate) user: Option<String>,
    /// The password.
    pub(crate) password: Option<Secret>,
}

impl Config {
    /// Reads a URL of one of the driver's schemes.
    pub(crate) fn read(endpoint: &Endpoint) -> Result<Self> {
        endpoint.check_options("redis", OPTIONS)?;
        options::refuse_insecure(endpoint)?;
        let tls = Tls::read(endpoint)?;
        let encrypted = endpoint.scheme() == "rediss" || endpoint.flag("ssl")?;
        let config = Self {
            topology: topology(endpoint, &tls)?,
            db: small(endpoint, "db", 0)?,
            login: Login {
                user: endpoint.user().map(ToOwned::to_owned),
                password: endpoint.password().cloned(),
            },
            tls: Some(tls).filter(|_| encrypted),
            plaintext_auth: endpoint.flag("allow_plaintext_auth")?,
            connect_timeout: endpoint.span("socket_connect_timeout")?,
            answer_timeout: endpoint.span("socket_timeout")?,
            health_check: endpoint.span("health_check_interval")?,
            namespace: endpoint.text("namespace").unwrap_or("_tooz").to_owned(),
            wait_replicas: small(endpoint, "wait_replicas", 0)?,
            foreign: endpoint.text("foreign").is_none() || endpoint.flag("foreign")?,
        };
        config.check()?;
        Ok(config)
    }

    /// Refuses to send the data servers' password in the clear over a network to `place`.
    pub(crate) fn check_login(&self, place: &Place) -> Result<()> {
        self.check_plaintext(&self.login, self.tls.is_some(), place)
    }

    fn check(&self) -> Result<()> {
        if self.namespace.is_empty() {
            return Err(invalid_option("URL option \"namespace\" is empty: leave it out for \"_tooz\""));
        }
        match &self.topology {
            Topology::Standalone(place) => self.check_login(place),
            Topology::Cluster(_) if self.db != 0 => {
                Err(invalid_option("a cluster has no numbered databases: leave out the URL option \"db\""))
            }
            // The nodes named here may name others, anywhere, to which the client crate logs in unasked.
            Topology::Cluster(_)
                if self.login.password.is_some() && self.tls.is_none() && !self.plaintext_auth =>
            {
                let text = "refusing to send a cluster's password in the clear, because any node may name others: use TLS \
                            (ssl=true), or say allow_plaintext_auth=true if the network is trusted";
                Err(Error::new(ErrorKind::Denied, text))
            }
            Topology::Cluster(seeds) => seeds.iter().try_for_each(|place| self.check_login(place)),
            // The primary's address is checked when the sentinels have told it.
            Topology::Sentinel { sentinels, login, tls, .. } => {
                sentinels.iter().try_for_each(|place| self.check_plaintext(login, tls.is_some(), place))
            }
        }
    }

    fn check_plaintext(&self, login: &Login, tls: bool, place: &Place) -> Result<()> {
        if login.password.is_none() || tls || place.is_local() || self.plaintext_auth {
            return Ok(());
        }
        let text = format!(
            "refusing to send a password in the clear to {place}: use TLS (rediss://, sentinel_ssl=true for \
             sentinels), or say allow_plaintext_auth=true if the network is trusted"
        );
        Err(Error::new(ErrorKind::Denied, text))
    }
}

fn topology(endpoint: &Endpoint, tls: &Tls) -> Result<Topology> {
    let name = endpoint.text("sentinel");
    match endpoint.scheme() {
        "redis+unix" => unix(endpoint),
        "redis+cluster" => {
            no_path(endpoint)?;
            let seeds = endpoint.hosts().iter().map(|host| Place::of(host, PORT)).collect::<Vec<_>>();
            match seeds.is_empty() {
                true => Err(no_host(endpoint)),
                false => Ok(Topology::Cluster(seeds)),
            }
        }
        "redis+sentinel" => sentinel(endpoint, name, tls),
        _ if name.is_some() => sentinel(endpoint, name, tls),
        // Python writes a socket's path in the place of the host.
        "redis" if endpoint.hosts().is_empty() && endpoint.path().len() > 1 => unix(endpoint),
        _ => {
            no_path(endpoint)?;
            match endpoint.hosts() {
                [host] => Ok(Topology::Standalone(Place::of(host, PORT))),
                [] => Err(no_host(endpoint)),
                _ => Err(invalid_url(format!(
                    "URL {endpoint} has several hosts: say redis+cluster:// for a cluster's nodes, or \
                     redis+sentinel://…?sentinel=NAME for sentinels"
                ))),
            }
        }
    }
}

fn unix(endpoint: &Endpoint) -> Result<Topology> {
    let path = endpoint.path();
    if !endpoint.hosts().is_empty() || path.len() < 2 || path.contains('\0') {
        let text = format!(
            "URL {endpoint} names no socket: write it with three slashes, like redis+unix:///run/redis.sock?db=1"
        );
        return Err(invalid_url(text));
    }
    if endpoint.flag("ssl")? {
        return Err(invalid_option("a Unix socket has no TLS: leave out the URL option \"ssl\""));
    }
    Ok(Topology::Standalone(Place::Unix(path.into())))
}

fn sentinel(endpoint: &Endpoint, name: Option<&str>, tls: &Tls) -> Result<Topology> {
    no_path(endpoint)?;
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        let text = format!("URL {endpoint} does not say whose primary to ask for: add ?sentinel=NAME");
        return Err(invalid_url(text));
    };
    let mut sentinels: Vec<_> = endpoint.hosts().iter().map(|host| Place::of(host, SENTINEL_PORT)).collect();
    if endpoint.texts("sentinel_fallback").any(|list| list.contains('@')) {
        // Not repeated: what stands before the @ may be a password, with commas in it.
        let text = "URL option sentinel_fallback has an @: write HOST:PORT, and the login as sentinel_username and \
                    sentinel_password";
        return Err(invalid_option(text));
    }
    for more in endpoint.texts("sentinel_fallback").flat_map(|list| list.split(',')) {
        let host: Host = Endpoint::parse(&format!("redis://{more}"))
            .ok()
            .filter(|e| e.path().is_empty() && e.user().is_none() && e.password().is_none())
            .and_then(|e| e.hosts().first().cloned())
            .ok_or_else(|| {
                invalid_option(format!("URL option sentinel_fallback={:?} is no HOST:PORT", more))
            })?;
        sentinels.push(Place::of(&host, SENTINEL_PORT));
    }
    if sentinels.is_empty() {
        return Err(no_host(endpoint));
    }
    let encrypted = endpoint.flag("sentinel_ssl")?;
    let login = Login {
        user: endpoint.text("sentinel_username").map(ToOwned::to_owned),
        password: endpoint.secret("sentinel_password"),
    };
    let tls = Some(tls.clone()).filter(|_| encrypted);
    Ok(Topology::Sentinel { name: name.to_owned(), sentinels, login, tls })
}

/// A database in the path would be ignored by Python, and so would not exclude it.
fn no_path(endpoint: &Endpoint) -> Result<()> {
    let path = endpoint.path().trim_matches('/');
    if path.is_empty() {
        return Ok(());
    }
    let hint = match path.parse::<u16>() {
        Ok(db) => format!("a database is an option: ?db={db}"),
        Err(_) => {
            "a Redis URL has none (a database is ?db=N, a sentinel's primary is ?sentinel=NAME)".to_owned()
        }
    };
    Err(invalid_url(format!("URL {endpoint} has a path: {hint}")))
}

fn small<T: TryFrom<u64>>(endpoint: &Endpoint, name: &str, default: T) -> Result<T> {
    let Some(number) = endpoint.count(name)? else { return Ok(default) };
    T::try_from(number).map_err(|_| invalid_option(format!("URL option {name}={number} is too large")))
}

fn no_host(endpoint: &Endpoint) -> Error {
    invalid_url(format!("URL {endpoint} names no host: write it like redis://localhost:6379"))
}

fn invalid_url(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidUrl, text)
}

fn invalid_option(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOption, text)
}

#[cfg(test)]
mod tests;
