//! Writes that go through only while a lock is held.

use etcd_client::{Compare, CompareOp};
use tooz_core::{FencingToken, Name, Seat};

use crate::keys::SeatKeys;

/// True in the store exactly while the exclusive lock of this name is held under this token.
///
/// Whoever keeps data in the same etcd gets true exclusion by it: a transaction with this comparison is
/// carried out while the lock is held or not at all, also by a process that was paused in between. It is of
/// no use to readers, whose tokens are not in the main key.
///
/// ```no_run
/// # async fn run(guard: tooz_core::Guard, mut client: etcd_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// use etcd_client::{Txn, TxnOp};
/// use tooz_core::Name;
///
/// let held = tooz_etcd::still_held(&Name::new("nightly")?, guard.fencing_token());
/// let write = Txn::new().when([held]).and_then([TxnOp::put("report", "done", None)]);
/// assert!(client.txn(write).await?.succeeded(), "the lock was lost, and nothing was written");
/// # Ok(()) }
/// ```
pub fn still_held(lock: &Name, token: FencingToken) -> Compare {
    let keys = SeatKeys::of(&Seat::Lock(lock.clone()));
    let revision = i64::try_from(token.get()).unwrap_or(i64::MAX);
    Compare::mod_revision(keys.main, CompareOp::Equal, revision)
}
