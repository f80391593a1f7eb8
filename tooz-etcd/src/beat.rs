//! What a beat finds out about claims.

use std::collections::HashMap;

use etcd_client::{Txn, TxnOp};
use futures_util::future::try_join_all;
use tooz_core::{Claim, ClaimId, Result};

use crate::keys::SeatKeys;
use crate::record::Record;
use crate::session::Session;
use crate::share;
use crate::txn::{self, get, revision};

/// Claims of one transaction: four operations each, of at most 128.
const CHUNK: usize = 32;

/// The claims that neither hold nor wait, and those told to let go, should their ear have missed it. Keeps the common leases of readers alive on the way.
pub(crate) async fn ousted(session: &Session, claims: &[Claim]) -> Result<Vec<ClaimId>> {
    let mut ousted = Vec::new();
    let mut common: HashMap<i64, Vec<ClaimId>> = HashMap::new();
    for chunk in claims.chunks(CHUNK) {
        let gets: Vec<TxnOp> = chunk
            .iter()
            .flat_map(|claim| {
                let keys = SeatKeys::of(&claim.seat);
                [
                    get(keys.place(claim.id)),
                    get(keys.holder(claim.id)),
                    get(keys.notice(claim.id)),
                    get(keys.main),
                ]
            })
            .collect();
        let answer = session.line.txn(Txn::new().and_then(gets)).await?;
        session.note(revision(&answer));
        let answers = answer.op_responses();
        for (claim, seen) in chunk.iter().zip(answers.chunks(4)) {
            let [place, holder, notice, main] = [0, 1, 2, 3].map(|at| txn::first(seen.get(at)));
            let record = holder.and_then(|holder| Record::decode(&holder.value));
            let holds =
                record.filter(|record| record.holds(claim.id, main.as_ref().map(|m| m.value.as_ref())));
            match (holds, place) {
                (Some(record), _) => {
                    if let Some((_, lease)) = record.share() {
                        // Until it has let go, it holds together with the others.
                        let readers = common.entry(lease).or_default();
                        readers.extend(notice.is_none().then_some(claim.id));
                    }
                    ousted.extend(notice.map(|_| claim.id));
                }
                (None, Some(_)) => {}
                (None, None) => ousted.push(claim.id),
            }
        }
    }
    // All at once: a slow one costs no other its beat.
    let kept = common.into_iter().map(async |(lease, readers)| {
        Ok::<_, tooz_core::Error>(if share::keep(session, lease).await?.is_none() {
            readers
        } else {
            Vec::new()
        })
    });
    ousted.extend(try_join_all(kept).await?.into_iter().flatten());
    Ok(ousted)
}
