//! Real servers, started by the tests that need them: each in a folder and on ports of its own, on loopback
//! only, and ended with its owner, however that one ends.
//!
//! ```no_run
//! use conformance::servers::{Redis, redis::Fsync};
//!
//! let redis = Redis::plan().append_only(Fsync::Always).start();
//! assert_eq!(redis.command(&["SET", "key", "value"]).text(), "OK");
//!
//! redis.kill(); // as by -9
//! redis.restart(); // same port, same data
//! assert_eq!(redis.command(&["GET", "key"]).text(), "value");
//! ```
//!
//! Where starting is slow, one server in a `static OnceLock` serves all tests of a binary: it ends with the
//! process although nobody drops it.
//!
//! A server that cannot be started is a failed test: all of this panics, with a sentence that says what to
//! install or what the server printed. Everything here blocks; none of it needs a runtime.

#![allow(clippy::panic, clippy::expect_used)] // a fixture that cannot start is a failed test

pub mod certificates;
pub mod cluster;
pub mod etcd;
pub mod folder;
pub mod network;
pub mod ports;
pub mod process;
pub mod redis;
pub mod resp;
pub mod sentinel;
pub mod zookeeper;

pub use certificates::Certificates;
pub use cluster::Cluster;
pub use etcd::Etcd;
pub use folder::Folder;
pub use network::Network;
pub use process::{Plan, Process};
pub use redis::Redis;
pub use sentinel::Sentinels;
pub use zookeeper::Zookeeper;

use std::time::{Duration, Instant};

use process::Failure;

/// How long a server may take to reach a state.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a start is tried again when a port was taken.
const TRIES: usize = 5;
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(10);

/// Starts what listens on free ports, on others if one was taken meanwhile.
///
/// # Panics
/// If it does not start, or finds ports taken again and again.
fn started<T>(what: &str, attempt: impl Fn() -> Result<T, Failure>) -> T {
    for _ in 0..TRIES {
        match attempt() {
            Ok(server) => return server,
            Err(failure) if failure.is_port_taken() => {}
            Err(failure) => panic!("{failure}"),
        }
    }
    panic!("{what} found a port taken {TRIES} times");
}

/// Waits until a server has reached a state.
///
/// # Panics
/// If it has not after half a minute.
pub fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < PATIENCE, "not after {PATIENCE:?}: {what}");
        std::thread::sleep(LOOK);
    }
}
