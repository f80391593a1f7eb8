//! Coordination over Redis: locks, groups and elections, shared with Python tooz on the same server; topics.
//!
//! Every step is one script, run by its hash. A release hands the lock to the first in the queue in the same
//! script and tells that one session: nothing polls, and a hand-over costs the same however many wait.
//!
//! ```no_run
//! use tooz_core::Registry;
//! use tooz_redis::RedisDriver;
//!
//! # async fn run() -> tooz_core::Result<()> {
//! let registry = Registry::embedded().with(RedisDriver::new());
//! let coord = registry.builder("redis://localhost:6379").member("worker-1").connect().await?;
//! let guard = coord.lock("nightly").acquire().await?;
//! guard.release().await?;
//! # coord.close().await }
//! ```
//!
//! # What stands where
//! | key | what | alive while |
//! |---|---|---|
//! | `_tooz_<name>_lock`, `_tooz_leader_of_<group>_lock` | who holds, as Python writes it | the holder beats |
//! | `{…}:seat` | the last token, records of claims | 25 hours after the last use |
//! | `{…}:queue`, `{…}:readers` | who waits and who shares | they beat |
//! | `_tooz_group:<group>`, `_tooz_groups` | members with their capabilities; all groups: as Python writes them | kept |
//! | `{…}:sessions` | whose session each member is | it beats |
//! | `tooz-rs:_tooz:session:<id>` | a session | it beats |
//! | `tooz-rs:_tooz:topic:<name>` and its kin | messages, a stream | 12.5 to 25 hours beyond the retention of the last |
//! | `{…}:log`, `{…}:ids:1`, `{…}:ids:2` | how many there were; whose requests are known | as the messages |
//!
//! The full format is in `docs/wire/redis.md`.
//!
//! # Limits
//! * A time to live is counted by the server's wall clock, and a failover can forget a grant that no replica had:
//!   tokens still grow, so pass them to what the lock protects. `wait_replicas=n` grants only what n replicas have.
//! * On a cluster a slot that answers nobody for longer than a time to live (a resharding that was left half done) ends every
//!   session that has a claim or a membership there, and all that it holds elsewhere.
//! * A published message is in the primary's memory: a server that dies, or a failover, may forget the last ones. Then
//!   subscribers are told that the topic begins anew. Topics need Redis 6.2.
//! * Python's clients poll and leave no trace. So that they get turns, a release now and then leaves 120 ms in which
//!   nobody of ours takes the lock; `foreign=false` turns that off.
//!
//! # Permissions
//! A user needs no more than this, with the namespace (`_tooz`) for `NS`; the suite passes so:
//! ```text
#![doc = include_str!("acl.rules")]
//! ```
//! Without `client|tracking` and `client|caching` waiters look every 75 ms while a Python client holds; without `info`
//! settings that may lose locks go unnoticed. `role` is for sentinels, `cluster|slots` for clusters, `select` for `db`,
//! `wait` for `wait_replicas`.
//!
//! # TLS
//! Certificates and host names are always checked. The process's default rustls provider is used; where it has
//! none, aws-lc-rs becomes it.
//!
//! URLs, options and what happens when are described in `docs/guide/redis.md`.

mod config;
mod dead;
mod driver;
mod ear;
mod error;
mod groups;
#[cfg(feature = "hostile")]
#[doc(hidden)]
pub mod hostile;
mod keys;
mod line;
mod locks;
mod look;
mod message;
mod news;
mod record;
mod refusal;
mod reply;
mod scripts;
mod server;
mod session;
mod ticket;
mod topics;

pub use driver::RedisDriver;
