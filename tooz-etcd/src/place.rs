//! Places in a queue, and what stands among them and is none.

use etcd_client::{Compare, Txn, TxnOp};
use tooz_core::Result;

use crate::claim::ATTEMPTS;
use crate::keys::{self, SeatKeys};
use crate::record::Record;
use crate::session::Session;
use crate::txn::{self, Seen, delete, oldest_below, revision, unchanged};

/// Keys of a queue that are read at once.
const PAGE: i64 = 1_000;
/// Keys that one transaction removes: it has at most 128 operations.
const BATCH: usize = 100;

/// Whether the key is a place in this queue: a claim's, with a record, which goes with a lease.
pub(crate) fn is_place(seen: &Seen, queue: &str) -> bool {
    seen.lease != 0 && keys::claim_of(&seen.key, queue).is_some() && Record::decode(&seen.value).is_some()
}

/// Removes what is no place: nobody stands behind it who would ever take the seat or go.
pub(crate) async fn clear(session: &Session, keys: &SeatKeys) -> Result<()> {
    let queue = keys.queue();
    for _ in 0..ATTEMPTS {
        let answer = session.line.txn(Txn::new().and_then([oldest_below(&queue, PAGE)])).await?;
        session.note(revision(&answer));
        let seen = txn::all(answer.op_responses().first());
        let is_all = seen.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
        let aliens: Vec<Seen> = seen.into_iter().filter(|seen| !is_place(seen, &queue)).collect();
        let has_some = !aliens.is_empty();
        for batch in aliens.chunks(BATCH) {
            let same: Vec<Compare> =
                batch.iter().map(|seen| unchanged(seen.key.to_vec(), seen.modified)).collect();
            let gone: Vec<TxnOp> = batch.iter().map(|seen| delete(seen.key.to_vec())).collect();
            let answer = session.line.txn(Txn::new().when(same).and_then(gone)).await?;
            session.note(revision(&answer));
        }
        if is_all || !has_some {
            break;
        }
    }
    Ok(())
}
