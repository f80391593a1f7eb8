//! Taking a seat alone, or a place in its queue.

use std::time::Duration;

use etcd_client::{Compare, Txn, TxnOp};
use tooz_core::backend::Grant;
use tooz_core::{Claim, FencingToken, Result};

use crate::error::{busy, void};
use crate::keys::{self, SeatKeys};
use crate::look::{Door, Look, door};
use crate::place::clear;
use crate::record::Record;
use crate::session::{Lease, Session};
use crate::txn::{absent, created, delete, first, get, none_below, put, revision, unchanged};

/// Attempts of one step while others change the seat under it.
pub(crate) const ATTEMPTS: usize = 6;

/// How long a seat is thought to be wanted by foreign clients after one was seen to hold it.
const FOREIGN_REMEMBERED: Duration = Duration::from_secs(600);
/// Longer than a foreign client waits between two attempts (tooz: a second at most).
const FOREIGN_POLL: Duration = Duration::from_millis(1_200);

/// Whether a claim that cannot hold at once queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    Queue,
    Leave,
}

/// Where a claim stands after a step.
pub(crate) enum Stand {
    Holds(Grant),
    Waits(Box<Look>),
    Nowhere,
}

/// The number of a grant.
pub(crate) fn token(revision: i64) -> FencingToken {
    FencingToken::new(u64::try_from(revision).unwrap_or(0))
}

/// Void? Mine already? Queued already? Free? Else queue or leave.
///
/// One transaction where the seat is free, where a try finds it held and where it is known to be wanted; two
/// where a claim has to find out that it must queue, and where the holder died and this claim is the head of
/// the queue. The first asks little, because every byte of it is written to the log of every server.
pub(crate) async fn claim(
    session: &Session,
    keys: &SeatKeys,
    claim: &Claim,
    otherwise: Otherwise,
    wanted: bool,
) -> Result<Stand> {
    let record = Record::waiting(claim);
    let lease = session.lease.id;
    let (holder, place) = (keys.holder(claim.id), keys.place(claim.id));
    let granted = record.clone().granted().encode()?;
    let unknown = || vec![absent(keys::void(claim.id)), absent(holder.as_str()), absent(place.as_str())];
    let grant = || {
        vec![
            put(keys.main.as_str(), claim.id.as_bytes().as_slice(), lease),
            put(holder.as_str(), granted.clone(), lease),
        ]
    };
    let waiting = record.encode()?;

    // A place of this claim would be one in the queue.
    let free = vec![
        absent(keys::void(claim.id)),
        absent(holder.as_str()),
        absent(keys.main.as_str()),
        none_below(&keys.queue()),
    ];
    if !wanted {
        // Who would queue asks anew in any case.
        let glance = match otherwise {
            Otherwise::Leave => vec![get(keys.main.as_str()), get(keys.share()), get(keys::void(claim.id))],
            Otherwise::Queue => Vec::new(),
        };
        let short = Txn::new().when(free.clone()).and_then(grant()).or_else(glance);
        let answer = session.heed(session.line.txn(short).await)?;
        session.note(revision(&answer));
        if answer.succeeded() {
            return Ok(Stand::Holds(Grant { token: token(revision(&answer)), proof: session.proof() }));
        }
        let answers = answer.op_responses();
        let (main, share) = (first(answers.first()), first(answers.get(1)));
        if first(answers.get(2)).is_some() {
            return Err(void());
        }
        let others = main.as_ref().is_some_and(|main| main.value.as_ref() != claim.id.as_bytes());
        if otherwise == Otherwise::Leave && others && door(main.as_ref(), share.as_ref(), true) == Door::Shut
        {
            return Ok(Stand::Nowhere);
        }
    }
    let mut asked = Vec::new();
    if otherwise == Otherwise::Queue {
        asked.push(TxnOp::txn(Txn::new().when(unknown()).and_then([put(place.as_str(), waiting, lease)])));
    }
    let from = asked.len();
    asked.extend(Look::ops(keys, claim.id));
    let full = Txn::new().when(free).and_then(grant()).or_else(asked);

    for _ in 0..ATTEMPTS {
        let answer = session.heed(session.line.txn(full.clone()).await)?;
        session.note(revision(&answer));
        if answer.succeeded() {
            return Ok(Stand::Holds(Grant { token: token(revision(&answer)), proof: session.proof() }));
        }
        let look = Look::read(&answer, from);
        if look.void {
            return Err(void());
        }
        if let Some((created, _)) = look.held(claim.id) {
            return Ok(Stand::Holds(Grant { token: token(created), proof: session.proof() }));
        }
        if let Some(mine) = &look.mine {
            // It held and was broken. What is left of it must not stand in its own way.
            forget(session, keys, claim, mine.created).await?;
            continue;
        }
        let door = look.door();
        if door.admits(claim.mode) && look.is_blocked(keys) {
            clear(session, keys).await?;
            continue;
        }
        let may_take = look.place.is_some() || otherwise == Otherwise::Leave;
        if may_take && look.is_first() && door.admits(claim.mode) {
            if let Some(turn) = yields(&look)
                && otherwise == Otherwise::Queue
            {
                return step_back(session, look, turn).await;
            }
            let mut when = match &look.place {
                Some(seen) => vec![created(place.as_str(), seen.created)],
                None => {
                    let mut when = unknown();
                    when.push(none_below(&keys.queue()));
                    when
                }
            };
            when.extend(gone(keys, &door));
            let mut then = grant();
            then.extend([delete(place.as_str()), delete(keys.share())]);
            let answer = session.heed(session.line.txn(Txn::new().when(when).and_then(then)).await)?;
            session.note(revision(&answer));
            if answer.succeeded() {
                return Ok(Stand::Holds(Grant { token: token(revision(&answer)), proof: session.proof() }));
            }
            continue;
        }
        match (look.place.is_some(), otherwise) {
            (true, Otherwise::Queue) => return waits(session, keys, look).await,
            (_, Otherwise::Leave) => return Ok(Stand::Nowhere),
            (false, Otherwise::Queue) => {}
        }
    }
    Err(busy())
}

/// The claim waits. A foreign holder, which polls and leaves no trace, is remembered for a while.
pub(crate) async fn waits(session: &Session, keys: &SeatKeys, look: Look) -> Result<Stand> {
    if look.is_foreign() && look.foreign.is_none() {
        let ttl = FOREIGN_REMEMBERED;
        let (lease, _) = Lease::grant(&session.line, session.clock(), ttl, 0).await?;
        let mark = keys.foreign();
        let txn = Txn::new().when([absent(mark.as_str())]).and_then([put(mark, "", lease.id)]);
        if !session.line.txn(txn).await?.succeeded() {
            // Somebody else was quicker; if this fails, it ends by itself.
            let _ = lease.revoke(&session.line).await;
        }
    }
    Ok(Stand::Waits(Box::new(look)))
}

/// The head of the queue, where foreign clients poll: it lets one interval of theirs pass, once. That it did
/// so stands in the store, as a second version of its place.
fn yields(look: &Look) -> Option<crate::txn::Seen> {
    look.foreign.as_ref()?;
    look.place.clone().filter(|place| place.modified == place.created)
}

async fn step_back(session: &Session, look: Look, place: crate::txn::Seen) -> Result<Stand> {
    let key = place.key.to_vec();
    let txn = Txn::new().when([unchanged(key.clone(), place.modified)]).and_then([put(
        key,
        place.value.to_vec(),
        place.lease,
    )]);
    let answer = session.heed(session.line.txn(txn).await)?;
    session.note(revision(&answer));
    // Its own mark is no news to it.
    let revision = if answer.succeeded() { revision(&answer) } else { look.revision };
    Ok(Stand::Waits(Box::new(Look { revision, revisit: Some(FOREIGN_POLL), ..look })))
}

/// Proves that nobody holds behind this door any more.
pub(crate) fn gone(keys: &SeatKeys, door: &Door) -> Vec<Compare> {
    match door {
        Door::Abandoned(written) => {
            vec![unchanged(keys.main.as_str(), *written), none_below(&keys.holders())]
        }
        _ => vec![absent(keys.main.as_str())],
    }
}

/// Deletes the record of a claim that holds no more.
pub(crate) async fn forget(session: &Session, keys: &SeatKeys, claim: &Claim, since: i64) -> Result<()> {
    let holder = keys.holder(claim.id);
    let then = [delete(holder.as_str()), delete(keys.notice(claim.id))];
    let answer = session.line.txn(Txn::new().when([created(holder.as_str(), since)]).and_then(then)).await?;
    session.note(revision(&answer));
    Ok(())
}
