//! Evidence that a session or a claim was alive at a known moment.

use std::time::Duration;

use crate::clock::Moment;

/// What an answer of the store proves about how long a session or claim lives.
///
/// Only some answers prove anything: the grant of a lease, or a keep-alive after which a majority answered in the
/// same term (etcd), the rule of the committed write (zookeeper), the step that set the expiry of *this* claim
/// (redis). A claim's own success does not prove that the session behind it lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The store keeps it for `ttl` after a request that was handed to the client library at `sent`.
    Lease {
        /// Read from the clock *before* the proving request was sent.
        sent: Moment,
        /// As granted by the store, never as requested.
        ttl: Duration,
    },
    /// The kernel keeps it until this process ends or lets go.
    Kernel,
}
