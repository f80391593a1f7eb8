//! Members that speak Python: tooz itself, and the locks of redis-py and kazoo.
//!
//! A driver that shares its store with Python members is tested beside real ones. Each is a process of its
//! own that does one thing at a time, as it is told; it ends when dropped, and with the test's process.
//!
//! ```no_run
//! use conformance::peers::Peer;
//! use conformance::servers::Redis;
//! use serde_json::json;
//!
//! let redis = Redis::start();
//! let (first, second) = (Peer::tooz(&redis.url(), "adder"), Peer::tooz(&redis.url(), "boa"));
//! assert!(first.acquire("nightly"));
//! let mut waiting = second.begin("acquire", json!({ "name": "nightly" }));
//! assert!(!waiting.is_answered());
//! first.release("nightly");
//! assert_eq!(waiting.wait().result, Ok(json!(true)));
//! ```
//!
//! The Python environment is made once, below the target folder, from pinned requirements.

#![allow(clippy::panic, clippy::expect_used)] // a peer that cannot start is a failed test

mod environment;
mod peer;
mod witness;

pub use self::environment::python;
pub use self::peer::{Answer, Peer, Pending};
pub use self::witness::Witness;
