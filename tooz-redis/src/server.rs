//! What the server is.

use std::fmt;

use redis::{Value, cmd};
use tokio::time::Instant;
use tooz_core::{Error, ErrorKind, Result};

use crate::config::{Config, Topology};
use crate::line::Link;

/// What the server was when the session was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// As the server tells it; `None` where we may not ask.
    pub(crate) version: Option<String>,
    /// How many servers there are.
    pub(crate) mode: Mode,
    /// How many replicas the primary feeds.
    pub(crate) replicas: u32,
    /// What an operator should know.
    pub(crate) warnings: Vec<String>,
}

impl Server {
    /// Whether streams can be cut by age: from 6.2 on. Where the version is not known, it is tried.
    pub(crate) fn trims_by_age(&self) -> bool {
        let mut parts = self.version.as_deref().unwrap_or_default().split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (6, 2),
            _ => true,
        }
    }
}

/// How many servers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One, possibly with replicas that nobody promotes by itself.
    Standalone,
    /// Sentinels promote a replica when the primary fails.
    Sentinel,
    /// A cluster.
    Cluster,
}

impl Server {
    /// Asks the server, and refuses one that cannot serve.
    pub(crate) async fn look(config: &Config, link: &Link, deadline: Instant) -> Result<Self> {
        let mode = match &config.topology {
            Topology::Standalone(_) => Mode::Standalone,
            Topology::Sentinel { .. } => Mode::Sentinel,
            Topology::Cluster(_) => Mode::Cluster,
        };
        match link.command(&cmd("INFO"), None, deadline).await {
            Ok(answer) => judge(config, mode, &text(&answer)),
            Err(error) if error.kind() == ErrorKind::Denied && is_about_permission(&error) => {
                let warning = "the user may not run INFO: version, eviction policy, persistence and replicas are unknown";
                Ok(Self { version: None, mode, replicas: 0, warnings: vec![warning.to_owned()] })
            }
            Err(error) => Err(error.while_doing("look at the server")),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = match self.mode {
            Mode::Standalone => "standalone",
            Mode::Sentinel => "sentinel",
            Mode::Cluster => "cluster",
        };
        match &self.version {
            Some(version) => write!(f, "redis {version}, {mode}"),
            None => write!(f, "redis of unknown version, {mode}"),
        }
    }
}

/// A login that failed is no missing permission.
fn is_about_permission(error: &Error) -> bool {
    use std::error::Error as _;
    error
        .source()
        .and_then(|e| e.downcast_ref::<redis::RedisError>())
        .is_some_and(|e| e.code() == Some("NOPERM"))
}

/// Whatever a server tells about itself, it is judged.
#[cfg(feature = "hostile")]
pub(crate) fn hostile(info: &str) {
    let Ok(config) = tooz_core::Endpoint::parse("redis://h").and_then(|endpoint| Config::read(&endpoint))
    else {
        return;
    };
    for mode in [Mode::Standalone, Mode::Sentinel, Mode::Cluster] {
        let Ok(server) = judge(&config, mode, info) else { continue };
        let _ = (server.trims_by_age(), server.to_string());
    }
}

fn judge(config: &Config, mode: Mode, info: &str) -> Result<Server> {
    let fact =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    if fact("role") == Some("slave") && mode == Mode::Standalone {
        let primary = fact("master_host").unwrap_or("another server");
        let text = format!(
            "the server is a replica of {primary}: name the primary, or the sentinels (redis+sentinel://…?sentinel=NAME)"
        );
        return Err(Error::new(ErrorKind::InvalidUrl, text));
    }
    let clustered = fact("cluster_enabled") == Some("1");
    if clustered != (mode == Mode::Cluster) && fact("cluster_enabled").is_some() {
        let text = match clustered {
            true => "the server is a node of a cluster: say redis+cluster://",
            false => "the server is no node of a cluster: say redis://",
        };
        return Err(Error::new(ErrorKind::InvalidUrl, text));
    }
    let replicas = fact("connected_slaves").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut warnings = Vec::new();
    if let Some(policy) = fact("maxmemory_policy").filter(|policy| *policy != "noeviction") {
        warnings
            .push(format!("maxmemory-policy is {policy}: a full server drops locks; set it to noeviction"));
    }
    if fact("aof_enabled") == Some("0") {
        warnings.push("the append-only file is off: a restart may forget locks and groups".to_owned());
    }
    if replicas > 0 && config.wait_replicas == 0 {
        warnings.push(format!(
            "{replicas} replicas but no wait_replicas: a failover may forget a grant and let a second holder in"
        ));
    }
    if config.wait_replicas > replicas {
        warnings.push(format!(
            "wait_replicas={} but only {replicas} replicas are connected: no lock will be granted",
            config.wait_replicas
        ));
    }
    Ok(Server { version: fact("redis_version").map(ToOwned::to_owned), mode, replicas, warnings })
}

fn text(answer: &Value) -> String {
    match answer {
        Value::VerbatimString { text, .. } => text.clone(),
        Value::SimpleString(text) => text.clone(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use tooz_core::Endpoint;

    use super::*;

    fn judged(url: &str, mode: Mode, info: &str) -> Result<Server> {
        judge(&Config::read(&Endpoint::parse(url)?)?, mode, info)
    }

    #[test]
    fn a_healthy_server_gives_no_warning() {
        let info = "redis_version:7.0.15\r\ncluster_enabled:0\r\nrole:master\r\nconnected_slaves:2\r\n\
                    maxmemory_policy:noeviction\r\naof_enabled:1\r\n";
        let server = judged("redis://h?wait_replicas=2", Mode::Standalone, info).unwrap();
        assert_eq!((server.replicas, server.warnings.len()), (2, 0));
        assert_eq!(server.to_string(), "redis 7.0.15, standalone");
    }

    #[test]
    fn what_may_lose_locks_is_said() {
        let info = "redis_version:7.0.15\r\nrole:master\r\nconnected_slaves:1\r\nmaxmemory_policy:volatile-lru\r\n\
                    aof_enabled:0\r\n";
        let said = judged("redis://h", Mode::Standalone, info).unwrap().warnings.join("\n");
        for word in ["volatile-lru", "append-only", "1 replicas but no wait_replicas"] {
            assert!(said.contains(word), "{said}");
        }
        let said = judged("redis://h?wait_replicas=2", Mode::Standalone, info).unwrap().warnings.join("\n");
        assert!(said.contains("no lock will be granted"), "{said}");
    }

    #[test]
    fn a_server_that_tells_nothing_is_taken_as_it_is() {
        let server = judged("redis://h", Mode::Standalone, "").unwrap();
        assert_eq!(server.to_string(), "redis of unknown version, standalone");
        assert!(server.warnings.is_empty());
    }

    #[test]
    fn the_wrong_kind_of_server_is_refused_with_the_right_scheme() {
        let refusal = |url, mode, info| judged(url, mode, info).unwrap_err().to_string();
        let said = refusal("redis://h", Mode::Standalone, "role:slave\r\nmaster_host:10.0.0.7\r\n");
        assert!(said.contains("replica of 10.0.0.7"), "{said}");
        let said = refusal("redis://h", Mode::Standalone, "role:master\r\ncluster_enabled:1\r\n");
        assert!(said.contains("redis+cluster://"), "{said}");
        let said = refusal("redis+cluster://h", Mode::Cluster, "role:master\r\ncluster_enabled:0\r\n");
        assert!(said.contains("redis://"), "{said}");
    }

    #[test]
    fn topics_need_a_server_that_cuts_streams_by_age() {
        let server = |version: Option<&str>| Server {
            version: version.map(ToOwned::to_owned),
            mode: Mode::Standalone,
            replicas: 0,
            warnings: Vec::new(),
        };
        for (version, can) in
            [("6.0.16", false), ("6.2.0", true), ("7.0.15", true), ("10.1", true), ("odd", true)]
        {
            assert_eq!(server(Some(version)).trims_by_age(), can, "{version}");
        }
        assert!(server(None).trims_by_age());
    }
}
