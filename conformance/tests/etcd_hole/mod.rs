//! A place of the network that swallows whoever comes.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

/// How long a connection to a port of loopback takes at most, if it comes about.
const AT_ONCE: Duration = Duration::from_millis(200);

/// A port whose backlog is full, so that whatever else is sent there is dropped in silence.
pub(crate) struct Hole {
    address: SocketAddr,
    _listener: TcpListener,
    _full: Vec<TcpStream>,
}

impl Hole {
    /// Within a runtime.
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut full = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, AT_ONCE) {
            full.push(stream);
        }
        Self { address, _listener: listener, _full: full }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
