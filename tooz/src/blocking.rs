//! The same without async, for plain threads.
//!
//! Every call blocks its thread; heartbeats go on on a thread of their own.
//!
//! ```
//! # fn main() -> tooz::Result<()> {
//! tooz::blocking::with("memory://docs-blocking", "worker-1", |coord| {
//!     let guard = coord.lock("nightly").acquire()?;
//!     println!("token {}", guard.fencing_token());
//!     guard.release()
//! })
//! # }
//! ```

#[doc(inline)]
pub use tooz_core::blocking::{
    Changes, Coordinator, Election, Group, Guard, Inbox, Leadership, Lock, Membership, Observer, Partitioned,
    QueueView, Subscription, Topic, View, Watched, scope,
};

use crate::{Builder, Error, Result};

/// Connects to the store at `url` as this member; see [`crate::connect`].
///
/// # Errors
/// As there.
pub fn connect(url: impl Into<String>, member: impl Into<String>) -> Result<Coordinator> {
    tooz_core::blocking::connect(crate::builder(url).member(member))
}

/// Connects as built by [`crate::builder`]; see [`Builder::connect`].
///
/// # Errors
/// As there.
///
/// ```
/// # fn main() -> tooz::Result<()> {
/// let ttl = std::time::Duration::from_secs(10);
/// let coord = tooz::blocking::connect_with(tooz::builder("memory://docs-blocking-builder").ttl(ttl))?;
/// coord.close()
/// # }
/// ```
pub fn connect_with(builder: Builder) -> Result<Coordinator> {
    tooz_core::blocking::connect(builder)
}

/// Connects, runs `work` and closes on every way out; see [`crate::with`].
///
/// # Errors
/// As there.
pub fn with<T, E: From<Error>>(
    url: impl Into<String>,
    member: impl Into<String>,
    work: impl FnOnce(Coordinator) -> Result<T, E>,
) -> Result<T, E> {
    scope(connect(url, member)?, work)
}
