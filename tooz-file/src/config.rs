//! What the URL says.

use std::path::PathBuf;

use tooz_core::backend::{OptionKind, OptionSpec};
use tooz_core::{Endpoint, Error, ErrorKind, Result};

/// The options besides the common ones.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "allow_network_fs",
        kind: OptionKind::Flag,
        help: "accept a network file system, whose locks may not hold between hosts, and poll for news",
    },
    OptionSpec {
        name: "fsync",
        kind: OptionKind::Flag,
        help: "acknowledge a message only when it is on the disk, not just written",
    },
    OptionSpec {
        name: "polling",
        kind: OptionKind::Flag,
        help: "look for news instead of being told by inotify",
    },
];

/// A session's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// The directory everything is in: an absolute path.
    pub(crate) root: PathBuf,
    /// Whether a network file system is accepted.
    pub(crate) allow_network_fs: bool,
    /// Whether messages are on the disk before they are acknowledged.
    pub(crate) fsync: bool,
    /// Whether news are looked for.
    pub(crate) polling: bool,
}

impl Config {
    /// Reads `file:///absolute/path[?option=value]`.
    pub(crate) fn read(endpoint: &Endpoint) -> Result<Self> {
        endpoint.check_options("file", OPTIONS)?;
        if let Some(host) = endpoint.hosts().first() {
            let text = format!(
                "URL {endpoint} has the host {:?}: a file URL has none, write it with three slashes, like \
                 file:///var/lib/tooz",
                host.name
            );
            return Err(Error::new(ErrorKind::InvalidUrl, text));
        }
        if endpoint.user().is_some() || endpoint.password().is_some() {
            let text = "a file URL has no user and no password: access is by file permissions";
            return Err(Error::new(ErrorKind::InvalidUrl, text));
        }
        let path = endpoint.path().trim_end_matches('/');
        if path.is_empty() || path.contains('\0') {
            let text = format!("URL {endpoint} names no directory: write it like file:///var/lib/tooz");
            return Err(Error::new(ErrorKind::InvalidUrl, text));
        }
        Ok(Self {
            root: PathBuf::from(path),
            allow_network_fs: endpoint.flag("allow_network_fs")?,
            fsync: endpoint.flag("fsync")?,
            polling: endpoint.flag("polling")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Config> {
        Config::read(&Endpoint::parse(url)?)
    }

    #[test]
    fn three_slashes_and_an_absolute_path() {
        let config = read("file:///var/lib/my%20tooz/?allow_network_fs=true").unwrap();
        assert_eq!(config.root, PathBuf::from("/var/lib/my tooz"));
        assert!(config.allow_network_fs && !config.polling);
    }

    #[test]
    fn a_host_is_refused_with_the_hint_about_slashes() {
        for url in ["file://var/lib", "file://localhost/x", "file://./x"] {
            let error = read(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl);
            assert!(error.to_string().contains("three slashes"), "{error}");
        }
    }

    #[test]
    fn no_path_a_user_or_an_unknown_option_is_refused() {
        for url in ["file://", "file:///", "file:////", "file:///a%00b", "file://u:p@/x"] {
            let error = read(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidUrl, "{url}: {error}");
        }
        assert!(read("file:///x?pollling=1").unwrap_err().to_string().contains("polling"));
    }
}
