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
//! A server that cannot be started is a failed test: all of this panics, with a sentence that says what to
//! install or what the server printed. Everything here blocks; none of it needs a runtime.

#![allow(clippy::panic, clippy::expect_used)] // a fixture that cannot start is a failed test

pub mod certificates;
pub mod cluster;
pub mod etcd;
pub mod folder;
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
pub use process::{Plan, Process};
pub use redis::Redis;
pub use sentinel::Sentinels;
pub use zookeeper::Zookeeper;

use std::time::{Duration, Instant};

/// How long a server may take to reach a state.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a start is tried again when a port was taken.
const TRIES: usize = 5;
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(10);

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
