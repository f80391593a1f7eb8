//! Taking a seat together with other readers.
//!
//! Python waits while the main key exists, so it must exist exactly as long as any reader holds. It stands
//! under a lease of its own, which every reader keeps alive: it outlives each of them and dies with the
//! last. A reader's proof is the older of its session's and of its own keep-alive of that lease, sent before
//! the transaction that lets it in. A beat whose keep-alive was answered meanwhile did not know of the reader, but will be
//! credited to it, when it ends: then it keeps the common lease alive once more. One that is answered later looks
//! after the entry, and keeps the common lease alive itself.
//!
//! The common lease lives as long as the first reader's session without a beat. Beats prove a reader for its
//! own session's time to live, so a reader whose session lives longer than the common lease is not let in
//! with those readers: it waits until they have left.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Compare, Txn};
use futures_util::future::try_join_all;
use tooz_core::backend::{Grant, Proof};
use tooz_core::{Claim, ClaimId, ErrorKind, Moment, Result};

use crate::claim::{ATTEMPTS, Otherwise, Stand, forget, gone, token, waits};
use crate::error::{busy, deposed, void};
use crate::keys::{self, SeatKeys};
use crate::look::{Door, Look};
use crate::place::clear;
use crate::record::Record;
use crate::session::{Kept, Lease, Session, TERMS, keep_alive, revoke};
use crate::txn::{absent, created, delete, none_below, put, revision, unchanged};

/// The order of tests is that of an exclusive claim; letting a reader in takes two trips more, four where others read, and three
/// more after a beat in between.
pub(crate) async fn claim(
    session: &Session,
    keys: &SeatKeys,
    claim: &Claim,
    otherwise: Otherwise,
) -> Result<Stand> {
    for _ in 0..ATTEMPTS {
        let answer = session.line.txn(Txn::new().and_then(Look::ops(keys, claim.id))).await?;
        session.note(revision(&answer));
        let look = Look::read(&answer, 0);
        if look.void {
            return Err(void());
        }
        if let Some((since, record)) = look.held(claim.id) {
            let Some((_, lease)) = record.share() else { return Err(busy()) };
            if let Some(ttl) = granted(session, lease).await?
                && let Some(kept) = keep_all(session, &[lease]).await?.get(&lease)
            {
                return Ok(Stand::Holds(Grant { token: token(since), proof: proof(session, *kept, ttl) }));
            }
            continue;
        }
        if let Some(mine) = &look.mine {
            forget(session, keys, claim, mine.created).await?;
            continue;
        }
        let door = look.door();
        if door.admits(claim.mode) && look.is_blocked(keys) {
            clear(session, keys).await?;
            continue;
        }
        if look.is_first() && door.admits(claim.mode) {
            match enter(session, keys, claim, &look, &door).await? {
                Entry::In(grant) => return Ok(Stand::Holds(grant)),
                Entry::Changed => continue,
                // Until they have left, the door is shut to this reader.
                Entry::Outlives => {}
            }
        }
        if otherwise == Otherwise::Leave {
            return Ok(Stand::Nowhere);
        }
        if look.place.is_some() {
            return waits(session, keys, look).await;
        }
        let place = keys.place(claim.id);
        let waiting = Record::waiting(claim).encode()?;
        let txn = Txn::new()
            .when([absent(keys::void(claim.id)), absent(keys.holder(claim.id)), absent(place.as_str())])
            .and_then([put(place, waiting, session.lease.id)]);
        let answer = session.heed(session.line.txn(txn).await)?;
        session.note(revision(&answer));
        if answer.succeeded() {
            // Everything since the look counts as news: the seat may have become free in between.
            let place = Some(placed(&answer, keys, claim));
            return waits(session, keys, Look { place, ..look }).await;
        }
    }
    Err(busy())
}

fn placed(answer: &etcd_client::TxnResponse, keys: &SeatKeys, claim: &Claim) -> crate::txn::Seen {
    crate::txn::Seen {
        key: Bytes::from(keys.place(claim.id)),
        value: Bytes::new(),
        created: revision(answer),
        modified: revision(answer),
        lease: 0,
    }
}

/// How an attempt to let a reader in went.
enum Entry {
    In(Grant),
    /// The seat changed in between.
    Changed,
    /// The reader's session lives longer than the lease of those who hold.
    Outlives,
}

/// Lets the reader in: to the readers that hold, or as the first.
async fn enter(session: &Session, keys: &SeatKeys, claim: &Claim, look: &Look, door: &Door) -> Result<Entry> {
    let holder = keys.holder(claim.id);
    let mut when: Vec<Compare> = vec![absent(keys::void(claim.id)), absent(holder.as_str())];
    match &look.place {
        Some(place) => when.push(created(keys.place(claim.id), place.created)),
        None => when.extend([absent(keys.place(claim.id)), none_below(&keys.queue())]),
    }
    let record = Record::waiting(claim).granted();
    if let Door::Shared(share, lease, written) = door {
        let ttl = granted(session, *lease).await?;
        if ttl.is_some_and(|ttl| ttl < session.lease.ttl) {
            return Ok(Entry::Outlives);
        }
        let (Some(ttl), Some(kept)) = (ttl, keep(session, *lease).await?) else { return Ok(Entry::Changed) };
        when.push(unchanged(keys.main.as_str(), *written));
        let record = record.sharing(share.clone(), *lease).encode()?;
        let then = [put(holder, record, session.lease.id), delete(keys.place(claim.id))];
        return let_in(session, Txn::new().when(when).and_then(then), (*lease, kept), ttl).await;
    }
    let (common, sent) = Lease::grant(&session.line, session.clock(), session.lease.ttl, 0).await?;
    when.extend(gone(keys, door));
    // No claim's id: whoever holds alone is told from readers by the value.
    let share = Bytes::copy_from_slice(ClaimId::random().as_bytes());
    let record = record.sharing(share.clone(), common.id).encode()?;
    let then = [
        put(keys.main.as_str(), share.clone(), common.id),
        put(keys.share(), share, common.id),
        put(holder, record, session.lease.id),
        delete(keys.place(claim.id)),
    ];
    let kept = Kept { sent, term: common.term };
    let entry = let_in(session, Txn::new().when(when).and_then(then), (common.id, kept), common.ttl).await;
    if matches!(entry, Ok(Entry::Changed)) {
        // Nothing stands under it; if this fails too, it ends by itself.
        let _ = revoke(&session.line, common.id).await;
    }
    entry
}

/// Sends the transaction that lets a reader in, which has kept the common lease alive before.
async fn let_in(session: &Session, txn: Txn, (common, kept): (i64, Kept), ttl: Duration) -> Result<Entry> {
    let answer = match session.line.txn(txn).await {
        // Which of the two leases is gone, the next look tells: the session's by its own keep-alive.
        Err(error) if error.kind() == ErrorKind::SessionLost => {
            session.renew().await?;
            return Ok(Entry::Changed);
        }
        answer => answer?,
    };
    session.note(revision(&answer));
    session.note_term(&answer);
    if !answer.succeeded() {
        return Ok(Entry::Changed);
    }
    let kept = match session.term() == kept.term && !is_outrun(session.renewed(), kept.sent) {
        true => Some(kept.sent),
        false => keep_all(session, &[common]).await?.get(&common).copied(),
    };
    let grant = |kept| Grant { token: token(revision(&answer)), proof: proof(session, kept, ttl) };
    Ok(kept.map_or(Entry::Changed, |kept| Entry::In(grant(kept))))
}

/// Whether the session was renewed later than the common lease was kept alive.
fn is_outrun(renewed: Moment, kept: Moment) -> bool {
    renewed > kept
}

/// The time to live that the common lease was granted with; `None` if it is gone.
async fn granted(session: &Session, lease: i64) -> Result<Option<Duration>> {
    let asked = session.line.call(|mut client| async move { client.lease_time_to_live(lease, None).await });
    match asked.await {
        // Of a lease that is gone, etcd says that it has less than nothing left.
        Ok(answer) if answer.ttl() < 0 => Ok(None),
        Ok(answer) => Ok(Some(Duration::from_secs(u64::try_from(answer.granted_ttl()).unwrap_or(0)))),
        Err(error) if error.kind() == ErrorKind::SessionLost => Ok(None),
        Err(error) => Err(error),
    }
}

/// Keeps common leases alive by a leader that a majority still follows afterwards. Tells when, of those that live.
pub(crate) async fn keep_all(session: &Session, leases: &[i64]) -> Result<HashMap<i64, Moment>> {
    for _ in 0..TERMS {
        // All at once: a slow one costs no other its beat.
        let kept = try_join_all(leases.iter().map(|lease| keep(session, *lease))).await?;
        session.hear_a_majority().await?;
        if kept.iter().flatten().all(|kept| kept.term == session.term()) {
            let living = leases.iter().zip(kept).filter_map(|(lease, kept)| Some((*lease, kept?.sent)));
            return Ok(living.collect());
        }
    }
    Err(deposed())
}

/// Keeps the common lease alive; `None` if it is gone.
async fn keep(session: &Session, lease: i64) -> Result<Option<Kept>> {
    match keep_alive(&session.line, session.clock(), lease).await {
        Ok(kept) => Ok(Some(kept)),
        Err(error) if error.kind() == ErrorKind::SessionLost => Ok(None),
        Err(error) => Err(error),
    }
}

/// The older of the session's proof and of the common lease's, for the shorter of their times to live.
fn proof(session: &Session, shared: Moment, common: Duration) -> Proof {
    match session.proof() {
        Proof::Lease { sent, ttl } => Proof::Lease { sent: sent.min(shared), ttl: ttl.min(common) },
        Proof::Kernel => Proof::Kernel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Interleaving 18: a beat between a reader's own keep-alive and its entry proves nothing of the common lease.
    #[test]
    fn a_reader_keeps_the_common_lease_alive_again_after_a_beat_that_did_not() {
        let at = |ms| Moment::ORIGIN + Duration::from_millis(ms);
        assert!(is_outrun(at(101), at(100)));
        assert!(!is_outrun(at(100), at(100)) && !is_outrun(at(5), at(100)));
    }
}
