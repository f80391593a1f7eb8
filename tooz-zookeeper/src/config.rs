//! What the URL says.

use std::fmt;

use tooz_core::backend::{OptionKind, OptionSpec};
use tooz_core::endpoint::Secret;
use tooz_core::{Endpoint, Error, ErrorKind, Result};

use crate::keys::OWN_ROOT;

/// The options besides the common ones.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "chroot",
        kind: OptionKind::Text,
        help: "the node below which everything lies, made where missing",
    },
    OptionSpec {
        name: "namespace",
        kind: OptionKind::Text,
        help: "the node of locks and groups, as in Python: tooz",
    },
    OptionSpec {
        name: "python_elections",
        kind: OptionKind::Flag,
        help: "hold elections where Python tooz holds them, below the group",
    },
    OptionSpec {
        name: "nodelay",
        kind: OptionKind::Flag,
        help: "Linux only: switch Nagle's algorithm off by way of pidfd_getfd, also for other connections of this \
               process to the same servers",
    },
    OptionSpec { name: "use_ssl", kind: OptionKind::Flag, help: "speak TLS to every host" },
    OptionSpec { name: "ca", kind: OptionKind::Text, help: "file with the authorities to trust, PEM" },
    OptionSpec { name: "certfile", kind: OptionKind::Text, help: "file with the client's certificate, PEM" },
    OptionSpec { name: "keyfile", kind: OptionKind::Text, help: "file with the client's key, PEM" },
    OptionSpec { name: "verify_certs", kind: OptionKind::Flag, help: "always true" },
    OptionSpec {
        name: "allow_plaintext_auth",
        kind: OptionKind::Flag,
        help: "send the password without TLS to other hosts than this one",
    },
];

const PORT: u16 = 2181;
const TLS_PORT: u16 = 2281;

/// Where the files for TLS are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) authorities: Option<String>,
    pub(crate) identity: Option<(String, String)>,
}

/// A session's settings.
#[derive(Clone)]
pub(crate) struct Config {
    /// `host:port`, several separated by commas.
    pub(crate) cluster: String,
    /// The same, each by itself; none where they are not to be [told to send at once](crate::nodelay).
    pub(crate) told: Vec<(String, u16)>,
    /// The same, those that may be [asked about themselves](crate::about): they answer on plain lines only.
    pub(crate) asked: Vec<(String, u16)>,
    /// The node below which everything lies, with its leading slash.
    pub(crate) chroot: Option<String>,
    pub(crate) namespace: String,
    pub(crate) python_elections: bool,
    pub(crate) tls: Option<TlsFiles>,
    /// `user:password` for the digest scheme.
    pub(crate) digest: Option<Secret>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config({}{})", self.cluster, self.chroot.as_deref().unwrap_or_default())
    }
}

impl Config {
    /// Reads `zookeeper://[user:password@]host[:port][,…][?option=value]`.
    pub(crate) fn read(endpoint: &Endpoint) -> Result<Self> {
        endpoint.check_options("zookeeper", OPTIONS)?;
        if !endpoint.path().trim_matches('/').is_empty() {
            let text = format!(
                "URL {endpoint} has a path: Python tooz ignores it, so that two programs would silently not share \
                 anything; write ?chroot={} if that is meant",
                endpoint.path()
            );
            return Err(Error::new(ErrorKind::InvalidUrl, text));
        }
        let tls = endpoint.flag("use_ssl")?;
        if endpoint.text("verify_certs").is_some() && !endpoint.flag("verify_certs")? {
            return Err(invalid(
                "option verify_certs=false is refused: a server that is not verified may be anybody's",
            ));
        }
        let files = ["ca", "certfile", "keyfile"].map(|name| endpoint.text(name).map(str::to_owned));
        let tls = match (tls, files) {
            (false, [None, None, None]) => None,
            (false, _) => {
                return Err(invalid("options ca, certfile and keyfile are given without use_ssl=true"));
            }
            (true, [None, _, _]) => {
                return Err(invalid(
                    "option use_ssl=true needs ca=FILE: the authorities to trust, there are no usual ones",
                ));
            }
            (true, [authorities, None, None]) => Some(TlsFiles { authorities, identity: None }),
            (true, [authorities, Some(cert), Some(key)]) => {
                Some(TlsFiles { authorities, identity: Some((cert, key)) })
            }
            (true, _) => return Err(invalid("options certfile and keyfile go together")),
        };
        let digest = digest(endpoint)?;
        let plain = digest.is_some() && tls.is_none() && !endpoint.flag("allow_plaintext_auth")?;
        if let Some(host) = endpoint.hosts().iter().find(|host| plain && !is_loopback(&host.name)) {
            let text = format!(
                "the password would travel unencrypted to {:?}: use use_ssl=true, or allow_plaintext_auth=true",
                host.name
            );
            return Err(invalid(&text));
        }
        Ok(Self {
            cluster: cluster(endpoint, tls.is_some())?,
            told: match endpoint.flag("nodelay")? {
                true => servers(endpoint, tls.is_some()),
                false => Vec::new(),
            },
            asked: match tls {
                None => servers(endpoint, false),
                Some(_) => Vec::new(),
            },
            chroot: chroot(endpoint)?,
            namespace: namespace(endpoint)?,
            python_elections: endpoint.flag("python_elections")?,
            tls,
            digest,
        })
    }
}

fn invalid(text: &str) -> Error {
    Error::new(ErrorKind::InvalidOption, text)
}

fn cluster(endpoint: &Endpoint, tls: bool) -> Result<String> {
    if endpoint.hosts().is_empty() {
        let text = format!("URL {endpoint} names no host: write it like zookeeper://localhost:2181");
        return Err(Error::new(ErrorKind::InvalidUrl, text));
    }
    let scheme = if tls { "tcp+tls" } else { "tcp" };
    let hosts = servers(endpoint, tls).into_iter().map(|(name, port)| match name.contains(':') {
        true => format!("{scheme}://[{name}]:{port}"),
        false => format!("{scheme}://{name}:{port}"),
    });
    Ok(hosts.collect::<Vec<_>>().join(","))
}

fn servers(endpoint: &Endpoint, tls: bool) -> Vec<(String, u16)> {
    let usual = if tls { TLS_PORT } else { PORT };
    endpoint.hosts().iter().map(|host| (host.name.clone(), host.port.unwrap_or(usual))).collect()
}

fn digest(endpoint: &Endpoint) -> Result<Option<Secret>> {
    match (endpoint.user(), endpoint.password()) {
        (None, None) => Ok(None),
        (Some(user), Some(password)) if !user.contains(':') => {
            Ok(Some(Secret::new(format!("{user}:{}", password.reveal()))))
        }
        (Some(_), Some(_)) => {
            Err(Error::new(ErrorKind::InvalidUrl, "the user has a colon, which digest cannot carry"))
        }
        _ => Err(Error::new(ErrorKind::InvalidUrl, "digest credentials are a user and a password")),
    }
}

fn chroot(endpoint: &Endpoint) -> Result<Option<String>> {
    let Some(text) = endpoint.text("chroot") else { return Ok(None) };
    let segments: Vec<&str> = text.trim_matches('/').split('/').collect();
    if segments.iter().any(|segment| !is_plain(segment)) || segments.first() == Some(&"zookeeper") {
        return Err(invalid(&format!("option chroot={text:?} is no path of a node, like /apps/blue")));
    }
    Ok(Some(format!("/{}", segments.join("/"))))
}

fn namespace(endpoint: &Endpoint) -> Result<String> {
    let text = endpoint.text("namespace").unwrap_or("tooz");
    if !is_plain(text) || text == OWN_ROOT || text == "zookeeper" {
        return Err(invalid(&format!("option namespace={text:?} is no name of a node that is ours to use")));
    }
    Ok(text.to_owned())
}

fn is_plain(segment: &str) -> bool {
    let refused = |letter: char| letter == '/' || letter.is_control();
    !segment.is_empty() && segment != "." && segment != ".." && !segment.contains(refused)
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
    fn hosts_ports_and_options_are_read() {
        let config =
            read("zookeeper://a,[::1]:1,c:2?chroot=apps/blue/&namespace=n&python_elections=1").unwrap();
        assert_eq!(config.cluster, "tcp://a:2181,tcp://[::1]:1,tcp://c:2");
        assert_eq!(config.chroot.as_deref(), Some("/apps/blue"));
        assert!(config.namespace == "n" && config.python_elections);
        let plain = read("kazoo://a").unwrap();
        assert_eq!((plain.namespace.as_str(), plain.chroot, plain.tls), ("tooz", None, None));
        assert_eq!(read("zookeeper://a?use_ssl=true&ca=x").unwrap().cluster, "tcp+tls://a:2281");
    }

    #[test]
    fn connections_are_told_to_send_at_once_only_where_the_url_asks_for_it() {
        assert_eq!(read("zookeeper://a,b:1").unwrap().told, []);
        let told = read("zookeeper://a,b:1?nodelay=true").unwrap().told;
        assert_eq!(told, [("a".to_owned(), 2181), ("b".to_owned(), 1)]);
    }

    /// Interleaving 27: a path that Python ignores excludes nobody.
    #[test]
    fn a_path_is_refused_with_the_hint_about_chroot() {
        let error = read("zookeeper://h/x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidUrl);
        assert!(error.to_string().contains("?chroot=/x"), "{error}");
        assert!(read("zookeeper://h/").is_ok());
    }

    #[test]
    fn what_contradicts_itself_or_is_no_node_is_refused() {
        for url in [
            "zookeeper://h?ca=x",
            "zookeeper://h?use_ssl=true",
            "zookeeper://h?use_ssl=true&ca=x&certfile=x",
            "zookeeper://h?use_ssl=true&ca=x&verify_certs=false",
            "zookeeper://h?chroot=",
            "zookeeper://h?chroot=/a//b",
            "zookeeper://h?chroot=/zookeeper",
            "zookeeper://h?namespace=a/b",
            "zookeeper://h?namespace=tooz-rs",
            "zookeeper://u:p@h",
            "zookeeper://h?colour=blue",
        ] {
            assert_eq!(read(url).unwrap_err().kind(), ErrorKind::InvalidOption, "{url}");
        }
        for url in ["zookeeper://", "zookeeper://u@h", "zookeeper://a%3Ab:p@localhost"] {
            assert_eq!(read(url).unwrap_err().kind(), ErrorKind::InvalidUrl, "{url}");
        }
    }

    #[test]
    fn passwords_travel_in_the_open_on_loopback_only_and_never_show() {
        for url in [
            "zookeeper://u:canary@localhost,127.0.0.1,[::1]",
            "zookeeper://u:canary@h?use_ssl=true&ca=x",
            "zookeeper://u:canary@h?allow_plaintext_auth=true",
        ] {
            let config = read(url).unwrap();
            assert_eq!(config.digest.as_ref().map(Secret::reveal), Some("u:canary"));
            assert!(!format!("{config:?}").contains("canary"));
        }
        assert!(!format!("{:?}", read("zookeeper://u:canary@h").unwrap_err()).contains("canary"));
    }
}
