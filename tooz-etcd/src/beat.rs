//! What a beat finds out about claims.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use etcd_client::{Txn, TxnOp};
use futures_util::future::try_join_all;
use tooz_core::{Claim, ClaimId, Result};

use crate::keys::SeatKeys;
use crate::record::Record;
use crate::session::Session;
use crate::share;
use crate::txn::{self, get, revision};
use crate::under::Under;

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
/// leases of readers alive on the way.
///
/// Looks at all readers and at whatever does not stand under the lease, in transactions that go together. Of the rest it
/// looks at one transaction's worth, at others with each beat: a majority of the servers then stands behind every beat.
pub(crate) async fn ousted(session: &Session, claims: &[Claim], under: &Under) -> Result<Vec<ClaimId>> {
    let mut ousted = Vec::new();
    let mut common: HashMap<i64, Vec<ClaimId>> = HashMap::new();
    let (sure, mut unsure): (Vec<&Claim>, Vec<_>) = claims.iter().partition(|claim| under.confirms(claim));
    unsure.extend(share_of(&sure, session.beats.fetch_add(1, Ordering::Relaxed)));
    for seen in try_join_all(unsure.chunks(CHUNK).map(|chunk| look(session, chunk))).await? {
        ousted.extend(seen.ousted);
        for (lease, reader) in seen.readers {
            common.entry(lease).or_default().extend(reader);
        }
    }
    if !common.is_empty() {
        let leases: Vec<i64> = common.keys().copied().collect();
        let living = share::keep_all(session, &leases).await?;
        let gone = common.into_iter().filter(|(lease, _)| !living.contains_key(lease));
        ousted.extend(gone.flat_map(|(_, readers)| readers));
    }
    Ok(ousted)
}

/// Those that the beat of this number looks at.
fn share_of<'a>(sure: &[&'a Claim], beat: usize) -> impl Iterator<Item = &'a Claim> {
    let shares = sure.len().div_ceil(CHUNK).max(1);
    sure.chunks(CHUNK).nth(beat % shares).into_iter().flatten().copied()
}

async fn look(session: &Session, claims: &[&Claim]) -> Result<Seen> {
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
    session.note_term(&answer);
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

#[cfg(test)]
mod tests {
    use tooz_core::{Mode, Name, Seat};

    use super::*;

    #[test]
    fn all_are_looked_at_in_turn() {
        let name = || Name::new("a").unwrap();
        let (id, seat, mode) = (ClaimId::random, Seat::Lock(name()), Mode::Exclusive);
        let claim =
            || Claim { id: id(), seat: seat.clone(), mode, member: name(), value: bytes::Bytes::new() };
        let claims: Vec<Claim> = std::iter::repeat_with(claim).take(CHUNK * 2 + 1).collect();
        let sure: Vec<&Claim> = claims.iter().collect();
        let ids = |beat| share_of(&sure, beat).map(|claim| claim.id).collect::<Vec<_>>();
        assert_eq!([0, 1, 2, 3].map(|beat| ids(beat).len()), [CHUNK, CHUNK, 1, CHUNK]);
        let all: Vec<_> = (7..10).flat_map(ids).collect();
        assert!(claims.iter().all(|claim| all.contains(&claim.id)));
        assert_eq!(share_of(&[], 5).count(), 0);
    }
}
