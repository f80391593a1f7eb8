//! What the URL says.

use std::fs;
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use tooz_core::backend::{OptionKind, OptionSpec};
use tooz_core::endpoint::Secret;
use tooz_core::{Endpoint, Error, ErrorKind, Result};

/// The schemes, the main one first; those that end in `s` speak TLS.
pub(crate) const SCHEMES: &[&str] = &["etcd", "etcds", "etcd3", "etcd3+http", "etcd3+https"];

/// Options of our own. The names are Python tooz's where it has them.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec { name: "ca_cert", kind: OptionKind::Text, help: "file with the authorities to trust (PEM)" },
    OptionSpec { name: "cert_cert", kind: OptionKind::Text, help: "file with our certificate (PEM)" },
    OptionSpec { name: "cert_key", kind: OptionKind::Text, help: "file with our certificate's key (PEM)" },
    OptionSpec {
        name: "api_version",
        kind: OptionKind::Text,
        help: "accepted for Python's sake; gRPC has only one",
    },
    OptionSpec {
        name: "allow_plaintext_auth",
        kind: OptionKind::Flag,
        help: "send the password without TLS to another machine",
    },
];

const PORT: u16 = 2379;
/// The server closes connections that ping more often than every five seconds.
const PING: (Duration, Duration) = (Duration::from_secs(6), Duration::from_secs(2));

/// Where the servers are and how to speak to them. Never formatted: it holds a password.
pub(crate) struct Config {
    /// One URL per server, in the order given.
    pub(crate) servers: Vec<String>,
    user: Option<(String, Secret)>,
    tls: Option<TlsOptions>,
}

impl Config {
    /// Reads a URL.
    pub(crate) fn read(endpoint: &Endpoint) -> Result<Self> {
        let tls = matches!(endpoint.scheme(), "etcds" | "etcd3+https");
        if !matches!(endpoint.path(), "" | "/") {
            let text = format!("{endpoint}: etcd has no databases, so a path means nothing: leave it out");
            return Err(Error::new(ErrorKind::InvalidUrl, text));
        }
        let user = user(endpoint)?;
        let local = endpoint.hosts().iter().all(|host| is_loopback(&host.name));
        if user.is_some() && !tls && !local && !endpoint.flag("allow_plaintext_auth")? {
            return Err(Error::new(
                ErrorKind::Denied,
                "a password would travel in plain text: use etcds://, or add allow_plaintext_auth=true",
            ));
        }
        let scheme = if tls { "https" } else { "http" };
        let mut servers: Vec<String> = endpoint
            .hosts()
            .iter()
            .map(|host| {
                let port = host.port.unwrap_or(PORT);
                match host.name.contains(':') {
                    true => format!("{scheme}://[{}]:{port}", host.name),
                    false => format!("{scheme}://{}:{port}", host.name),
                }
            })
            .collect();
        if servers.is_empty() {
            servers.push(format!("{scheme}://localhost:{PORT}"));
        }
        let options = tls_options(endpoint)?;
        if options.is_some() && !tls {
            let text = "certificates are given, but the scheme does not speak TLS: use etcds://";
            return Err(Error::new(ErrorKind::InvalidOption, text));
        }
        Ok(Self { servers, user, tls: if tls { Some(options.unwrap_or_default()) } else { None } })
    }

    /// Whether calls carry a token.
    pub(crate) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// For the client library. Its `Debug` shows the password.
    pub(crate) fn connect_options(&self, timeout: Duration) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(timeout)
            .with_keep_alive(PING.0, PING.1)
            .with_keep_alive_while_idle(true)
            .with_auto_token_refresh(true);
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password.reveal());
        }
        if let Some(tls) = &self.tls {
            options = options.with_tls(tls.clone());
        }
        options
    }
}

fn user(endpoint: &Endpoint) -> Result<Option<(String, Secret)>> {
    match (endpoint.user(), endpoint.password()) {
        (Some(user), Some(password)) => Ok(Some((user.to_owned(), password.clone()))),
        (None, None) => Ok(None),
        _ => Err(Error::new(ErrorKind::InvalidUrl, "a user needs a password and a password a user")),
    }
}

fn tls_options(endpoint: &Endpoint) -> Result<Option<TlsOptions>> {
    let mut options = None;
    if let Some(file) = endpoint.text("ca_cert") {
        let pem = read(file)?;
        options = Some(TlsOptions::new().ca_certificate(Certificate::from_pem(pem)));
    }
    match (endpoint.text("cert_cert"), endpoint.text("cert_key")) {
        (Some(cert), Some(key)) => {
            let identity = Identity::from_pem(read(cert)?, read(key)?);
            options = Some(options.unwrap_or_default().identity(identity));
        }
        (None, None) => {}
        _ => {
            let text = "cert_cert and cert_key belong together: give both";
            return Err(Error::new(ErrorKind::InvalidOption, text));
        }
    }
    Ok(options)
}

fn read(file: &str) -> Result<Vec<u8>> {
    fs::read(file).map_err(|e| {
        Error::new(ErrorKind::InvalidOption, format!("cannot read {file:?}: {e}")).with_source(e)
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Config> {
        Config::read(&Endpoint::parse(url)?)
    }

    #[test]
    fn every_host_is_a_server() {
        let servers = |url| read(url).unwrap().servers;
        assert_eq!(servers("etcd://"), ["http://localhost:2379"]);
        assert_eq!(
            servers("etcd3+https://a,b:1,[::1]"),
            ["https://a:2379", "https://b:1", "https://[::1]:2379"]
        );
    }

    #[test]
    fn what_would_be_misread_is_refused() {
        let kind = |url| read(url).err().map(|e| e.kind());
        assert_eq!(kind("etcd://h/5"), Some(ErrorKind::InvalidUrl));
        assert_eq!(kind("etcd://user@h"), Some(ErrorKind::InvalidUrl));
        assert_eq!(kind("etcd://u:p@far"), Some(ErrorKind::Denied));
        assert_eq!(kind("etcd://u:p@127.0.0.1"), None);
        assert_eq!(kind("etcds://u:p@far"), None);
        assert_eq!(kind("etcds://h?cert_cert=x"), Some(ErrorKind::InvalidOption));
        assert_eq!(kind("etcds://h?ca_cert=/nowhere"), Some(ErrorKind::InvalidOption));
    }
}
