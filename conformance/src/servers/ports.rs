//! Ports of loopback that nobody uses.

use std::net::{Ipv4Addr, TcpListener};

use crate::faulty::Dice;

/// Below the range the kernel draws from for outgoing connections (32768 and up on Linux), so that a server
/// finds its port free when it comes back; and with room for Redis Cluster's second port, 10,000 above.
const FIRST: usize = 12_000;
const COUNT: usize = 10_000;
const TRIES: usize = 200;

/// What Redis Cluster adds to a node's port for its bus.
pub const BUS: u16 = 10_000;

/// A free port whose bus port is free too. Nothing keeps it free: whoever starts a server tries again with
/// another when somebody was quicker.
pub fn free() -> u16 {
    let mut dice = dice();
    for _ in 0..TRIES {
        let port = u16::try_from(FIRST + dice.below(COUNT)).unwrap_or_default();
        if port != 0 && is_free(port) && is_free(port + BUS) {
            return port;
        }
    }
    panic!("no free port on loopback between {FIRST} and {}", FIRST + COUNT);
}

/// So many of them, no two the same.
pub fn several(count: usize) -> Vec<u16> {
    let mut ports = Vec::new();
    while ports.len() < count {
        let port = free();
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

/// Whether a server could listen there now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Different for each call in each process.
fn dice() -> Dice {
    use std::hash::{BuildHasher, RandomState};
    Dice::new(RandomState::new().hash_one(std::process::id()))
}
