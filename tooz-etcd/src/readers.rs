//! What a session's end has to see to: what readers share stands under a lease of its own, and would outlive the session.

use std::collections::HashMap;

use etcd_client::Txn;
use futures_util::future::try_join_all;
use tooz_core::backend::Doubt;
use tooz_core::{Claim, ClaimId, Error, Mode, Result, Seat};

use crate::keys::{self, SeatKeys};
use crate::record::Record;
use crate::release::{Known, withdraw};
use crate::session::Session;
use crate::txn::{first, get, revision};
use crate::under::keys_under;

/// Records of one transaction, of at most 128: a stranger's may be as large as etcd takes them.
const RECORDS: usize = 32;

/// Withdraws the session's shared claims. Looks at the records of all that it holds, many with one request.
pub(crate) async fn leave(session: &Session) -> Result<()> {
    let held = keys_under(session, session.lease.id).await?;
    let held: Vec<(Seat, ClaimId)> = held.iter().filter_map(|key| keys::holding(key)).collect();
    let looks = try_join_all(held.chunks(RECORDS).map(|some| shared(session, some))).await?;

    // Those of one seat one after the other: together they would be in each other's way.
    let mut seats: HashMap<Seat, Vec<Claim>> = HashMap::new();
    for claim in looks.into_iter().flatten() {
        seats.entry(claim.seat.clone()).or_default().push(claim);
    }
    let leaving = seats.into_values().map(async |claims| {
        for claim in claims {
            withdraw(session, &SeatKeys::of(&claim.seat), &claim, Doubt::None, Known::default()).await?;
        }
        Ok::<_, Error>(())
    });
    try_join_all(leaving).await.map(drop)
}

/// Which of these claims are shared.
async fn shared(session: &Session, held: &[(Seat, ClaimId)]) -> Result<Vec<Claim>> {
    let gets = held.iter().map(|(seat, id)| get(SeatKeys::of(seat).holder(*id)));
    let answer = session.line.txn(Txn::new().and_then(gets.collect::<Vec<_>>())).await?;
    session.note(revision(&answer));
    let claims = held.iter().zip(answer.op_responses()).filter_map(|((seat, id), answer)| {
        let record = first(Some(&answer)).and_then(|seen| Record::decode(&seen.value))?;
        let (mode, value) = (record.mode(), record.value());
        let member = session.member.clone();
        (mode == Mode::Shared).then(|| Claim { id: *id, seat: seat.clone(), mode, member, value })
    });
    Ok(claims.collect())
}
