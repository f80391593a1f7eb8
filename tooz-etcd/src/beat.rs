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

/// What one transaction tells.
#[derive(Default)]
struct Seen {
    ousted: Vec<ClaimId>,
    /// The common lease of each reader, and the reader, if it was not told to let go.
    readers: Vec<(i64, Option<ClaimId>)>,
}

/// The claims that neither hold nor wait, and those told to let go, should their ear have missed it. Keeps the common
/// leases of readers alive on the way. However many there are, their transactions go together.
pub(crate) async fn ousted(session: &Session, claims: &[Claim]) -> Result<Vec<ClaimId>> {
    let mut ousted = Vec::new();
    let mut common: HashMap<i64, Vec<ClaimId>> = HashMap::new();
    for seen in try_join_all(claims.chunks(CHUNK).map(|chunk| look(session, chunk))).await? {
        ousted.extend(seen.ousted);
        for (lease, reader) in seen.readers {
            common.entry(lease).or_default().extend(reader);
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

async fn look(session: &Session, claims: &[Claim]) -> Result<Seen> {
    let gets: Vec<TxnOp> = claims
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
    let mut told = Seen::default();
    for (claim, seen) in claims.iter().zip(answer.op_responses().chunks(4)) {
        let [place, holder, notice, main] = [0, 1, 2, 3].map(|at| txn::first(seen.get(at)));
        let record = holder.and_then(|holder| Record::decode(&holder.value));
        let holds = record.filter(|record| record.holds(claim.id, main.as_ref().map(|m| m.value.as_ref())));
        match (holds, place) {
            (Some(record), _) => {
                // Until it has let go, it holds together with the others.
                let reader = notice.is_none().then_some(claim.id);
                told.readers.extend(record.share().map(|(_, lease)| (lease, reader)));
                told.ousted.extend(notice.map(|_| claim.id));
            }
            (None, Some(_)) => {}
            (None, None) => told.ousted.push(claim.id),
        }
    }
    Ok(told)
}
