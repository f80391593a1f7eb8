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
    Subscription, Topic, View, scope,
};

use crate::{Error, Result};

/// Connects to the store at `url` as this member; see [`crate::connect`].
///
/// # Errors
/// As there.
pub fn connect(url: impl Into<String>, member: impl Into<String>) -> Result<Coordinator> {
    tooz_core::blocking::connect(crate::builder(url).member(member))
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
