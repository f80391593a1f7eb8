//! Requests leave at once, where the URL asks for it.
//!
//! The client library leaves Nagle's algorithm on and hands over its requests one by one, so that the second of two
//! that belong together may wait in the kernel for the first one's acknowledgement: a round trip more. It has no option
//! for that, so the connections of this process are looked up and told. That needs `pidfd_getfd`, for which a filter
//! of system calls may kill the process, and finds all connections to these servers, whoever made them: hence it is
//! done on request only.

/// Tells the connections of this process to these servers to send at once. Where that cannot be done, everything works
/// as before, only slower.
#[cfg(target_os = "linux")]
pub(crate) async fn send_at_once(servers: Vec<(String, u16)>) {
    use std::net::ToSocketAddrs;

    // Names are resolved and every descriptor is looked at, which may take its time.
    let told = tokio::task::spawn_blocking(move || {
        let addresses =
            servers.iter().filter_map(|(name, port)| (name.as_str(), *port).to_socket_addrs().ok());
        tell(&addresses.flatten().collect::<Vec<_>>());
    });
    // Fails only where the program ends.
    let _ = told.await;
}

/// Not known how to on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn send_at_once(_servers: Vec<(String, u16)>) {}

#[cfg(target_os = "linux")]
fn tell(addresses: &[std::net::SocketAddr]) {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    let Ok(this) = pidfd_open(getpid(), PidfdFlags::empty()) else { return };
    for entry in std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let is_socket = std::fs::read_link(entry.path())
            .is_ok_and(|target| target.to_str().is_some_and(|target| target.starts_with("socket:")));
        let number = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(number) = number.filter(|_| is_socket) else { continue };
        // A second descriptor of the same socket: gone again at the end of the round.
        let Ok(socket) = pidfd_getfd(&this, number, PidfdGetfdFlags::empty()) else { continue };
        let peer = rustix::net::getpeername(&socket).ok().flatten();
        let peer = peer.and_then(|peer| std::net::SocketAddr::try_from(peer).ok());
        if peer.is_some_and(|peer| addresses.contains(&peer)) {
            // Fails for what is no TCP socket: not ours.
            let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn connections_to_the_servers_named_are_told_and_no_others() {
        let meant = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = meant.local_addr().unwrap().port();
        let same_port = TcpListener::bind(("127.0.0.2", port)).unwrap();
        let same_host = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [meant, same_port, same_host].map(|server| (server.local_addr().unwrap(), server));
        let lines = addresses.each_ref().map(|(address, _)| TcpStream::connect(address).unwrap());
        send_at_once(vec![("127.0.0.1".to_owned(), port)]).await;
        assert_eq!(lines.map(|line| line.nodelay().unwrap()), [true, false, false]);
    }
}
