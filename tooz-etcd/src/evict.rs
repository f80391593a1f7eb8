//! Taking a seat away from its holders.

use etcd_client::{Txn, TxnOp};
use tooz_core::backend::Eviction;
use tooz_core::{ClaimId, ErrorKind, Result};

use crate::claim::ATTEMPTS;
use crate::error::busy;
use crate::keys::SeatKeys;
use crate::release::{Heir, keeps_heir_away, traces};
use crate::scene::{Scene, survey};
use crate::session::{Session, revoke};
use crate::txn::{created, delete, put, revision, unchanged, written_below};

/// Holders removed by one transaction: three operations each, of at most 128, and some for the heir.
const BATCH: usize = 30;

/// One look and one transaction for each batch of holders, the last of which passes the seat on; again where the seat
/// changed in between.
pub(crate) async fn evict(
    session: &Session,
    keys: &SeatKeys,
    how: Eviction,
    only: &[ClaimId],
) -> Result<Vec<ClaimId>> {
    let (mut hand_over, mut only, mut broken) = (true, only.to_vec(), Vec::new());
    let mut attempts = 0..ATTEMPTS;
    while attempts.next().is_some() {
        let scene = survey(session, keys).await?;
        let meant = scene.holders(keys).filter(|(id, ..)| only.is_empty() || only.contains(id));
        let meant: Vec<ClaimId> = meant.map(|(id, ..)| id).collect();
        let foreign = scene.foreign(keys).filter(|id| only.is_empty() || only.contains(id));
        if only.is_empty() {
            // Whoever comes to hold before the next attempt is not meant.
            only = meant.iter().copied().chain(foreign).collect();
        }
        if how == Eviction::Notice {
            match notify(session, keys, &scene, &meant).await? {
                true => return Ok(meant),
                false => continue,
            }
        }
        if meant.is_empty() && foreign.is_none() {
            return Ok(broken);
        }
        let batch = meant.get(..BATCH).unwrap_or(&meant);
        let removed = match remove(session, keys, &scene, batch, hand_over).await {
            // The heir's lease is gone or not ours to attach: it lets itself in.
            Err(error) if hand_over && keeps_heir_away(&error) => {
                hand_over = false;
                false
            }
            answer => answer?,
        };
        if removed {
            broken.extend(batch.iter().copied().chain(foreign));
            if batch.len() == meant.len() {
                return Ok(broken);
            }
            attempts = 0..ATTEMPTS;
        }
    }
    Err(busy())
}

/// Leaves a notice to each, under its own lease. A foreign holder reads none.
async fn notify(session: &Session, keys: &SeatKeys, scene: &Scene, meant: &[ClaimId]) -> Result<bool> {
    let mut all = true;
    for (id, seen, _) in scene.holders(keys).filter(|(id, ..)| meant.contains(id)) {
        let txn = Txn::new().when([created(keys.holder(id), seen.created)]).and_then([put(
            keys.notice(id),
            "",
            seen.lease,
        )]);
        match session.line.txn(txn).await {
            Ok(answer) => {
                session.note(revision(&answer));
                all &= answer.succeeded();
            }
            // It has died in between.
            Err(error) if error.kind() == ErrorKind::SessionLost => all = false,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

async fn remove(
    session: &Session,
    keys: &SeatKeys,
    scene: &Scene,
    meant: &[ClaimId],
    hand_over: bool,
) -> Result<bool> {
    let Some(main) = &scene.main else { return Ok(false) };
    let mut when = vec![unchanged(keys.main.as_str(), main.modified)];
    let mut then: Vec<TxnOp> = meant.iter().flat_map(|id| traces(keys, *id)).collect();
    let staying: Vec<ClaimId> =
        scene.holders(keys).map(|(id, ..)| id).filter(|id| !meant.contains(id)).collect();
    let mut last = None;
    if let Some(one) = staying.first() {
        // Readers stay: the common key stays with them.
        when.push(crate::txn::present(keys.holder(*one)));
    } else {
        // A reader that came in meanwhile must not lose the common key.
        when.push(written_below(&keys.holders(), scene.revision));
        let heir = Heir::of(keys, scene.head(keys), meant).filter(|_| hand_over);
        match heir {
            Some(heir) => {
                when.push(heir.still_waits(keys));
                then.extend(heir.grant(keys)?);
            }
            None => then.push(delete(keys.main.as_str())),
        }
        then.push(delete(keys.share()));
        last = scene.is_shared().then_some(main.lease);
    }
    let answer = session.line.txn(Txn::new().when(when).and_then(then)).await?;
    session.note(revision(&answer));
    if let Some(common) = last.filter(|_| answer.succeeded()) {
        // Nothing stands under it any more; if this fails, it ends by itself.
        let _ = revoke(&session.line, common).await;
    }
    Ok(answer.succeeded())
}
