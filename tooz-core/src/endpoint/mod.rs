//! Connection URLs: scheme, credentials, hosts, path and typed options.

mod options;
mod secret;

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;

use crate::error::{Error, ErrorKind, Result};

pub use options::{COMMON_OPTIONS, parse_span};
pub use secret::Secret;

/// One host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name or an address, without the brackets of IPv6.
    pub name: String,
    /// The port, if given.
    pub port: Option<u16>,
}

/// Where a store is and how to talk to it: a parsed URL. Shows itself without passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: String,
    user: Option<String>,
    password: Option<Secret>,
    hosts: Vec<Host>,
    path: String,
    options: BTreeMap<String, Vec<String>>,
}

impl Endpoint {
    /// Reads `scheme://[user[:password]@][host[:port][,host[:port]…]][/path][?option=value[&…]]`.
    ///
    /// Percent-escapes are decoded everywhere but in the scheme.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidUrl`] or [`ErrorKind::InvalidOption`], never quoting credentials.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(invalid_url(format!(
                "URL {:?} has no \"://\": write it like file:///var/lib/tooz or redis://localhost:6379",
                shown(text)
            )));
        };
        if scheme.is_empty()
            || !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        {
            return Err(invalid_url(format!(
                "URL {:?} has no valid scheme: a scheme is letters, digits, '+', '-' and '.'",
                shown(text)
            )));
        }
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, f)| (rest, Some(f)));
        if fragment.is_some() {
            return Err(invalid_url("URL has a '#' part, which means nothing here: escape it as %23"));
        }
        let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, query)| (rest, query));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (credentials, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(c, hosts)| (Some(c), hosts));
        let (user, password) = match credentials {
            None => (None, None),
            Some(text) => {
                let (user, password) = text.split_once(':').map_or((text, None), |(u, p)| (u, Some(p)));
                let user = Some(decoded(user, "user")?).filter(|user| !user.is_empty());
                let password = password.map(|p| decoded(p, "password")).transpose()?.map(Secret::new);
                (user, password)
            }
        };
        if !hosts.is_empty() && path.contains('@') {
            return Err(misplaced("path", "'/' in a user or password as %2F"));
        }
        let hosts = hosts.split(',').filter(|host| !hosts.is_empty() || !host.is_empty());
        Ok(Self {
            scheme: scheme.to_ascii_lowercase(),
            user,
            password,
            hosts: hosts.map(host).collect::<Result<_>>()?,
            path: decoded(path, "path")?,
            options: options::read(query)?,
        })
    }

    /// The scheme, in lower case.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The user, if given.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, if given.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The hosts, in the URL's order; none for embedded stores.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The decoded path, with its leading slash; empty if there is none.
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// The scheme, user, hosts and path; never a password, and of options only the names.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if self.user.is_some() || self.password.is_some() {
            write!(f, "{}", self.user.as_deref().unwrap_or_default().escape_debug())?;
            if self.password.is_some() {
                f.write_str(":***")?;
            }
            f.write_str("@")?;
        }
        for (i, host) in self.hosts.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match host.name.contains(':') {
                true => write!(f, "[{}]", host.name.escape_debug())?,
                false => write!(f, "{}", host.name.escape_debug())?,
            }
            if let Some(port) = host.port {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "{}", self.path.escape_debug())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self}, options: {:?})", self.options.keys().collect::<Vec<_>>())
    }
}

fn host(text: &str) -> Result<Host> {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, "")) => (name, None),
        Some((name, rest)) => (name, Some(rest.strip_prefix(':').unwrap_or(rest))),
        None => text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port))),
    };
    let name = decoded(name, "host")?;
    if name.is_empty() {
        return Err(invalid_url("URL has an empty host: write host[:port], several separated by commas"));
    }
    let port = port
        .map(|port: &str| {
            port.parse().map_err(|_| {
                // It may be the beginning of a password: nothing of it is shown.
                invalid_url("URL has a host whose port is no number from 0 to 65535: escape '/', '?' and '#' in a user or password as %2F, %3F and %23")
            })
        })
        .transpose()?;
    Ok(Host { name, port })
}

/// The text before any `@`-terminated credentials: enough to recognise a URL, never its password.
fn shown(text: &str) -> String {
    let tail = text.rsplit_once('@').map_or(text, |(_, tail)| tail);
    let tail = tail.split('?').next().unwrap_or_default();
    tail.chars().take(80).collect()
}

fn decoded(text: &str, what: &str) -> Result<String> {
    percent_decode_str(text)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| invalid_url(format!("URL has a {what} that is not UTF-8 after decoding its %-escapes")))
}

/// An '@' that should end credentials: what stands before it is not shown.
fn misplaced(place: &str, escape: &str) -> Error {
    invalid_url(format!("URL has an '@' in its {place}: escape {escape}, or else '@' as %40"))
}

fn invalid_url(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidUrl, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_part() {
        let e = Endpoint::parse("redis+cluster://al%40ice:p%2Fw@h1:1,[::1]:2,h3/some%20path?a=1&b=x%26y&c")
            .unwrap();
        assert_eq!((e.scheme(), e.user()), ("redis+cluster", Some("al@ice")));
        assert_eq!(e.password().unwrap().reveal(), "p/w");
        let hosts: Vec<_> = e.hosts().iter().map(|h| (h.name.as_str(), h.port)).collect();
        assert_eq!(hosts, [("h1", Some(1)), ("::1", Some(2)), ("h3", None)]);
        assert_eq!(e.path(), "/some path");
        assert_eq!((e.text("a"), e.text("b"), e.text("c")), (Some("1"), Some("x&y"), Some("")));
    }

    #[test]
    fn embedded_stores_have_no_hosts() {
        let e = Endpoint::parse("file:///var/lib/tooz").unwrap();
        assert!(e.hosts().is_empty());
        assert_eq!(e.path(), "/var/lib/tooz");
        assert_eq!(Endpoint::parse("memory://name").unwrap().hosts()[0].name, "name");
    }

    #[test]
    fn malformed_urls_are_refused() {
        for text in [
            "",
            "nightly",
            "://x",
            "1x://h",
            "a b://h",
            "redis://h:port",
            "redis://h:70000",
            "redis://a,,b",
            "redis://h#frag",
            "file:///a%ff",
            "redis://:80",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{text}: {error}");
        }
    }

    #[test]
    fn passwords_never_show() {
        let e = Endpoint::parse("redis://u:canary@h/?sentinel_password=canary").unwrap();
        assert!(!format!("{e} {e:?} {:?}", e.password()).contains("canary"));
        assert_eq!(e.to_string(), "redis://u:***@h/");
        for text in
            ["redis//u:canary@h", "re dis://u:canary@h", "redis://u:canary@h:port", "x?password=canary"]
        {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }

    /// A password that is not escaped ends where a path, a query or a fragment begins.
    #[test]
    fn an_unescaped_password_never_shows_and_is_never_taken_for_a_host_and_a_path() {
        for text in [
            "redis://u:can/ary@h",
            "redis://u:can?ary@h",
            "redis://u:can#ary@h",
            "redis://u:12/canary@h",
            "redis://u:12?canary@h",
            "redis://u:12?canary@h=1&x=2",
            "redis://u:[::1]can@ary:canary",
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{text}: {error}");
            assert!(!format!("{error} {error:?}").contains("can"), "{error}");
        }
        assert_eq!(Endpoint::parse("file:///a@b").unwrap().path(), "/a@b");
        assert_eq!(Endpoint::parse("redis://h?also=u:p@h").unwrap().text("also"), Some("u:p@h"));
    }
}
