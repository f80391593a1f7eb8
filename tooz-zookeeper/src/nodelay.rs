//! Requests leave at once.
//!
//! The client library leaves Nagle's algorithm on and hands over its requests one by one, so that the second of two
//! that belong together waits in the kernel for the first one's acknowledgement: a round trip more. It has no option
//! for that, so the connections of this process are looked up and told.

/// Tells the connections of this process to these ports to send at once. Where that cannot be done, everything works
/// as before, only slower.
#[cfg(target_os = "linux")]
pub(crate) fn send_at_once(ports: &[u16]) {
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
        if peer.is_some_and(|peer| ports.contains(&peer.port())) {
            // Fails for what is no TCP socket: not ours.
            let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
        }
    }
}

/// Not known how to on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn send_at_once(_ports: &[u16]) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn connections_to_the_ports_named_are_told_and_no_others() {
        let servers = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [meant, other] = servers.each_ref().map(|server| server.local_addr().unwrap());
        let (ours, theirs) = (TcpStream::connect(meant).unwrap(), TcpStream::connect(other).unwrap());
        send_at_once(&[meant.port()]);
        assert!(ours.nodelay().unwrap() && !theirs.nodelay().unwrap());
    }
}
