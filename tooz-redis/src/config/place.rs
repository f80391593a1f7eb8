//! The address of one server.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use tooz_core::endpoint::Host;

/// The address of one server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// Over the network.
    Tcp {
        /// A name or an address, without the brackets of IPv6.
        host: String,
        /// The port.
        port: u16,
    },
    /// On this machine.
    Unix(PathBuf),
}

impl Place {
    /// The host of a URL, with the usual port if it names none.
    pub(crate) fn of(host: &Host, usual: u16) -> Self {
        Self::Tcp { host: host.name.clone(), port: host.port.unwrap_or(usual) }
    }

    /// Whether what is sent there never leaves this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{}]:{port}", host.escape_debug()),
            Self::Tcp { host, port } => write!(f, "{}:{port}", host.escape_debug()),
            Self::Unix(path) => write!(f, "{path:?}"),
        }
    }
}
