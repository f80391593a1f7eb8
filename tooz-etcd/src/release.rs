//! Letting go: release, give up and clean up in one, passing the seat on to the head of the queue.

use std::time::Duration;

use etcd_client::{Compare, Txn, TxnOp, TxnOpResponse};
use tooz_core::backend::{Doubt, Withdrawn};
use tooz_core::{Claim, ClaimId, Error, ErrorKind, Mode, Result};

use crate::claim::ATTEMPTS;
use crate::error::busy;
use crate::keys::{self, SeatKeys};
use crate::look::Look;
use crate::record::Record;
use crate::session::{Session, revoke};
use crate::txn::{
    Seen, absent, created, delete, deleted, first, get, none_below, none_between, oldest_below, put,
    revision, unchanged, valued,
};

/// The head of a queue, to be granted under its own lease.
#[derive(Clone, Debug)]
pub(crate) struct Heir {
    id: ClaimId,
    place: Seen,
    record: Record,
}

impl Heir {
    /// The head, if the seat can be handed to it: readers let themselves in, because each has to keep the
    /// common lease alive before it may trust it.
    ///
    /// Whoever lets go inherits nothing.
    pub(crate) fn of(keys: &SeatKeys, head: Option<&Seen>, but: &[ClaimId]) -> Option<Self> {
        let head = head?;
        let id = keys::claim_of(&head.key, &keys.queue())?;
        let record = Record::decode(&head.value).filter(|record| record.mode() == Mode::Exclusive)?;
        (head.lease != 0 && !but.contains(&id)).then(|| Self { id, place: head.clone(), record })
    }

    /// The head is still there.
    pub(crate) fn still_waits(&self, keys: &SeatKeys) -> Compare {
        created(keys.place(self.id), self.place.created)
    }

    /// Makes it the holder.
    pub(crate) fn grant(&self, keys: &SeatKeys) -> Result<Vec<TxnOp>> {
        let record = self.record.clone().granted().encode()?;
        Ok(vec![
            put(keys.main.as_str(), self.id.as_bytes().as_slice(), self.place.lease),
            put(keys.holder(self.id), record, self.place.lease),
            delete(keys.place(self.id)),
        ])
    }
}

/// What a session's ear knows of a seat, to be proved by the transaction that builds on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The oldest place in the queue.
    pub(crate) head: Option<Seen>,
    /// The claim has a place in the queue itself.
    pub(crate) waits: bool,
    /// The seat is left open for a moment instead of being handed over.
    pub(crate) yields: bool,
}

/// Hand-overs in a row, on average, before foreign clients get a chance, however short the turns are.
const IN_A_ROW: u128 = 128;
/// A turn after which they get one in any case; after a shorter one it is as likely as the turn was long.
const LONG_TURN: Duration = Duration::from_secs(1);

/// Whether this holder leaves the seat open for foreign clients, which poll and never see a seat that is
/// handed from one of us to the next.
///
/// Its id decides, which is drawn anew for every turn: revisions would repeat themselves while two of us take turns.
pub(crate) fn yields(foreign: Option<&Seen>, id: ClaimId, mine: Option<&Seen>) -> bool {
    let (Some(_), Some(mine), Some(drawn)) = (foreign, mine, id.as_bytes().last()) else { return false };
    is_due(*drawn, Record::decode(&mine.value).and_then(|record| record.age()))
}

/// About once a second of turns, so that the pauses do not become most of the time.
fn is_due(drawn: u8, age: Option<Duration>) -> bool {
    let chance = age.unwrap_or_default().as_millis() * 256 / LONG_TURN.as_millis();
    u128::from(drawn) < chance.max(256 / IN_A_ROW)
}

/// Everything a claim may have left.
pub(crate) fn traces(keys: &SeatKeys, id: ClaimId) -> Vec<TxnOp> {
    vec![delete(keys.holder(id)), delete(keys.place(id)), delete(keys.notice(id))]
}

/// One transaction where the queue is empty, where its head is known, and for who is known to wait; one more where the
/// head has to be looked up or has changed, and two where foreign clients were seen or the seat is another's. Tells also
/// whether others waited.
pub(crate) async fn withdraw(
    session: &Session,
    keys: &SeatKeys,
    claim: &Claim,
    doubt: Doubt,
    known: Known,
) -> Result<(Withdrawn, bool)> {
    let heir = Heir::of(keys, known.head.as_ref(), &[claim.id]);
    let mut letting_go = LettingGo { session, keys, claim, doubt, heir };
    if known.yields
        && let Some(withdrawn) = letting_go.plainly_or_without_void().await?
    {
        return Ok((withdrawn, true));
    }
    // Every byte of a request is written to the log of every server: only who may need to know more asks.
    let mut asks = known.waits || claim.mode == Mode::Shared;
    for _ in 0..ATTEMPTS {
        let before = letting_go.heir.as_ref().map(|heir| heir.place.created);
        match letting_go.attempt(asks).await {
            Ok(Some(withdrawn)) => return Ok((withdrawn, letting_go.heir.is_some())),
            // Another head was found on the way.
            Ok(None) => {
                let now = letting_go.heir.as_ref().map(|heir| heir.place.created);
                asks = asks || now.is_none() || now == before;
            }
            Err(error) if keeps_heir_away(&error) && (letting_go.heir.is_some() || is_gone(&error)) => {
                // The heir's lease is gone or not ours to attach, or, with a void mark, our own is gone:
                // none of that may keep the seat held.
                if letting_go.heir.is_none() {
                    letting_go.doubt = Doubt::None;
                }
                letting_go.heir = None;
                asks = true;
                if let Some(withdrawn) = letting_go.plainly_or_without_void().await? {
                    return Ok((withdrawn, true));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Err(busy())
}

struct LettingGo<'a> {
    session: &'a Session,
    keys: &'a SeatKeys,
    claim: &'a Claim,
    doubt: Doubt,
    heir: Option<Heir>,
}

impl LettingGo<'_> {
    /// With `asks` it learns from a failure why.
    async fn attempt(&mut self, asks: bool) -> Result<Option<Withdrawn>> {
        let (keys, id) = (self.keys, self.claim.id);
        let mut when = vec![valued(keys.main.as_str(), id.as_bytes().as_slice())];
        let mut then = traces(keys, id);
        match &self.heir {
            None if !asks => {
                // Neither a place nor a notice of anybody: all that this claim has left is its record.
                when.push(none_between(keys.notices(), keys::after_prefix(&keys.queue())));
                then = vec![delete(keys.holder(id)), delete(keys.main.as_str())];
            }
            Some(heir) => {
                when.push(heir.still_waits(keys));
                then.extend(heir.grant(keys)?);
            }
            None => {
                when.push(none_below(&keys.queue()));
                then.push(delete(keys.main.as_str()));
            }
        }
        then.extend(self.void());
        let mut give_up = vec![delete(keys.place(id))];
        give_up.extend(self.void());
        let otherwise = if asks {
            let mut all = vec![TxnOp::txn(Txn::new().when([absent(keys.holder(id))]).and_then(give_up))];
            all.extend(Look::ops(keys, id));
            all
        } else {
            vec![oldest_below(&keys.queue(), 1), get(keys.foreign())]
        };

        let answer = self.session.line.txn(Txn::new().when(when).and_then(then).or_else(otherwise)).await?;
        self.session.note(revision(&answer));
        let answers = answer.op_responses();
        if answer.succeeded() {
            // The record or the place; and the main key was there.
            return Ok(Some(found(deleted(answers.first()) + deleted(answers.get(1)))));
        }
        if !asks {
            // Whether it is its turn to leave the seat open, only a whole look can tell.
            let head = first(answers.first()).filter(|_| first(answers.get(1)).is_none());
            self.heir = Heir::of(keys, head.as_ref(), &[id]);
            return Ok(None);
        }
        if let Some(TxnOpResponse::Txn(nested)) = answers.first()
            && nested.succeeded()
        {
            return Ok(Some(found(deleted(nested.op_responses().first()))));
        }
        let look = Look::read(&answer, 1);
        let Some(mine) = &look.mine else { return Ok(None) };
        match look.held(id) {
            Some((since, record)) if record.share().is_some() => self.leave_readers(&look, since).await,
            Some(_) if yields(look.foreign.as_ref(), id, Some(mine)) => self.plainly().await,
            Some(_) => {
                self.heir = Heir::of(keys, look.head.as_ref(), &[id]);
                if self.heir.is_none() { self.plainly().await } else { Ok(None) }
            }
            // Broken before: only traces are left, and the seat is another's.
            None => self.sweep(mine.created).await,
        }
    }

    /// Lets go without an heir: the head of the queue sees the main key vanish and takes over.
    async fn plainly(&self) -> Result<Option<Withdrawn>> {
        let (keys, id) = (self.keys, self.claim.id);
        let mut then = traces(keys, id);
        then.push(delete(keys.main.as_str()));
        then.extend(self.void());
        let when = [valued(keys.main.as_str(), id.as_bytes().as_slice())];
        let answer = self.session.line.txn(Txn::new().when(when).and_then(then)).await?;
        self.session.note(revision(&answer));
        Ok(answer.succeeded().then_some(Withdrawn::Removed))
    }

    /// The same, without a void mark where our own lease is gone.
    async fn plainly_or_without_void(&mut self) -> Result<Option<Withdrawn>> {
        match self.plainly().await {
            Err(error) if is_gone(&error) => {
                self.doubt = Doubt::None;
                self.plainly().await
            }
            answer => answer,
        }
    }

    async fn sweep(&self, since: i64) -> Result<Option<Withdrawn>> {
        let (keys, id) = (self.keys, self.claim.id);
        let mut then = traces(keys, id);
        then.extend(self.void());
        let answer =
            self.session.line.txn(Txn::new().when([created(keys.holder(id), since)]).and_then(then)).await?;
        self.session.note(revision(&answer));
        Ok(answer.succeeded().then_some(Withdrawn::Absent))
    }

    /// A reader goes. The last one takes the common key along, or hands the seat to the head.
    async fn leave_readers(&mut self, look: &Look, since: i64) -> Result<Option<Withdrawn>> {
        let (keys, id) = (self.keys, self.claim.id);
        let Some(main) = &look.main else { return Ok(None) };
        let heir = Heir::of(keys, look.head.as_ref(), &[id]);
        let mut last = vec![unchanged(keys.main.as_str(), main.modified)];
        last.extend(no_other(keys, id));
        let mut then = traces(keys, id);
        then.push(delete(keys.share()));
        let mut when = last.clone();
        match &heir {
            Some(heir) => {
                when.push(heir.still_waits(keys));
                then.extend(heir.grant(keys)?);
            }
            None => then.push(delete(keys.main.as_str())),
        }
        when.push(created(keys.holder(id), since));
        then.extend(self.void());
        // Otherwise: if it is the last all the same, the heir changed and all is tried again.
        let mut leave = traces(keys, id);
        leave.extend(self.void());
        let otherwise = TxnOp::txn(Txn::new().when(last).or_else(leave));
        let answer =
            match self.session.line.txn(Txn::new().when(when).and_then(then).or_else([otherwise])).await {
                Err(error) if keeps_heir_away(&error) && (heir.is_some() || is_gone(&error)) => {
                    return match self.leave_without_heir(main, since).await {
                        Err(error) if is_gone(&error) && self.doubt == Doubt::MayLand => {
                            // Our own lease is gone, and without it no attempt can land.
                            self.doubt = Doubt::None;
                            self.leave_without_heir(main, since).await
                        }
                        answer => answer,
                    };
                }
                answer => answer?,
            };
        self.session.note(revision(&answer));
        if answer.succeeded() {
            // Nothing stands under the common lease any more; if this fails, it ends by itself.
            let _ = revoke(&self.session.line, main.lease).await;
            return Ok(Some(Withdrawn::Removed));
        }
        match answer.op_responses().first() {
            Some(TxnOpResponse::Txn(nested)) if !nested.succeeded() => {
                Ok(Some(found(deleted(nested.op_responses().first()))))
            }
            _ => Ok(None),
        }
    }

    /// The heir cannot be granted: the head of the queue sees the common key vanish and takes over.
    async fn leave_without_heir(&self, main: &Seen, since: i64) -> Result<Option<Withdrawn>> {
        let (keys, id) = (self.keys, self.claim.id);
        let mut when = vec![unchanged(keys.main.as_str(), main.modified), created(keys.holder(id), since)];
        when.extend(no_other(keys, id));
        let mut then = traces(keys, id);
        then.extend([delete(keys.share()), delete(keys.main.as_str())]);
        then.extend(self.void());
        let answer = self.session.line.txn(Txn::new().when(when).and_then(then)).await?;
        self.session.note(revision(&answer));
        Ok(answer.succeeded().then_some(Withdrawn::Removed))
    }

    /// The mark that makes a late attempt void. It lives as long as the lease without which no attempt can
    /// land.
    fn void(&self) -> Option<TxnOp> {
        (self.doubt == Doubt::MayLand).then(|| put(keys::void(self.claim.id), "", self.session.lease.id))
    }
}

/// A lease that was to be attached is gone.
fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::SessionLost
}

/// The heir's lease is gone, or not ours to attach: with users and roles, a lease may be attached only by
/// who may write every key under it.
pub(crate) fn keeps_heir_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::SessionLost | ErrorKind::Denied)
}

/// No other holder's record stands.
fn no_other(keys: &SeatKeys, id: ClaimId) -> [Compare; 2] {
    let mine = keys.holder(id);
    let mut next = mine.clone().into_bytes();
    next.push(0);
    [none_between(keys.holders(), mine), none_between(next, keys::after_prefix(&keys.holders()))]
}

fn found(deleted: i64) -> Withdrawn {
    if deleted > 0 { Withdrawn::Removed } else { Withdrawn::Absent }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the revisions: two that take turns on a server that nobody else writes to are granted every second one.
    #[test]
    fn the_seat_is_left_open_as_often_as_turns_are_long_and_now_and_then_in_any_case() {
        let of_256 = |age| (0..=u8::MAX).filter(|drawn| is_due(*drawn, age)).count();
        let after = |ms| of_256(Some(Duration::from_millis(ms)));
        assert_eq!([after(0), after(50), after(500), after(1_000)], [2, 12, 128, 256]);
        assert_eq!((of_256(None), of_256(Some(Duration::MAX))), (2, 256));
    }
}
