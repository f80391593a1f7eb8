//! Steps and waits of locks and elections.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::Txn;
use tokio::time::timeout;
use tooz_core::backend::{
    Amended, Doubt, Eviction, Grant, LockSteps, Mark, Position, Proof, Queue, Standing, Turn, Withdrawn,
};
use tooz_core::{Claim, ClaimId, Mode, Result, Seat};

use crate::claim::{Otherwise, Stand, claim, token};
use crate::evict;
use crate::keys::SeatKeys;
use crate::look::{Door, door};
use crate::record::Record;
use crate::release::{self, Known};
use crate::scene::survey;
use crate::session::Session;
use crate::share;
use crate::txn::{self, get, put, revision, unchanged, valued};
use crate::watch::{State, Subject, View};

/// How long a release may take to listen to the queue from then on.
const LISTEN: Duration = Duration::from_millis(100);

/// Locks and elections of one session.
pub(crate) struct Locks {
    session: Arc<Session>,
}

impl Locks {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    async fn take(&self, wish: &Claim, otherwise: Otherwise) -> Result<Stand> {
        self.session.check()?;
        let keys = SeatKeys::of(&wish.seat);
        match wish.mode {
            Mode::Exclusive => {
                let wanted = self.session.ear.glance(&subject(&keys)).is_some_and(|view| {
                    view.look(|state| state.get(&keys.main).is_some() || state.head().is_some())
                });
                claim(&self.session, &keys, wish, otherwise, wanted && otherwise == Otherwise::Queue).await
            }
            Mode::Shared => share::claim(&self.session, &keys, wish, otherwise).await,
        }
    }

    async fn view(&self, keys: &SeatKeys, revision: i64) -> Option<Arc<View>> {
        self.session.check().ok()?;
        self.session.ear.view(subject(keys), revision).await.ok()
    }

    /// Asks the store itself. Pending where the session has ended.
    async fn confirm(&self, keys: &SeatKeys, claim: &Claim) -> Word {
        if self.session.is_gone().await {
            return std::future::pending().await;
        }
        let looks = [get(keys.holder(claim.id)), get(keys.main.as_str()), get(keys.notice(claim.id))];
        let Ok(answer) = self.session.line.txn(Txn::new().and_then(looks)).await else { return Word::None };
        self.session.note(revision(&answer));
        let answers = answer.op_responses();
        let [holder, main, notice] = [0, 1, 2].map(|at| txn::first(answers.get(at)));
        let record = holder.and_then(|holder| Record::decode(&holder.value));
        let main = main.as_ref().map(|main| main.value.as_ref());
        let is_ousted = notice.is_some() || !record.is_some_and(|record| record.holds(claim.id, main));
        if is_ousted { Word::Ousted } else { Word::Holds(revision(&answer)) }
    }
}

/// What the store says of a claim that seems to be ousted.
enum Word {
    Ousted,
    /// It holds, as of this revision.
    Holds(i64),
    /// It cannot be asked, or says nothing.
    None,
}

#[async_trait]
impl LockSteps for Locks {
    async fn claim(&self, claim: &Claim) -> Result<Standing> {
        match self.take(claim, Otherwise::Queue).await? {
            Stand::Holds(grant) => Ok(Standing::Held(grant)),
            Stand::Waits(look) => {
                let ticket = Ticket {
                    seen: look.revision,
                    placed: look.place.as_ref().map_or(0, |p| p.created),
                    pauses: look.revisit.is_some(),
                };
                let ahead = look.ahead();
                Ok(Standing::Waiting(Position { ahead, ticket: ticket.encode(), revisit: look.revisit }))
            }
            Stand::Nowhere => Err(crate::error::busy()),
        }
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Option<Grant>> {
        match self.take(claim, Otherwise::Leave).await? {
            Stand::Holds(grant) => Ok(Some(grant)),
            Stand::Waits(_) | Stand::Nowhere => Ok(None),
        }
    }

    async fn turn(&self, claim: &Claim, position: &Position) -> Turn {
        let keys = SeatKeys::of(&claim.seat);
        let Some(ticket) = Ticket::decode(&position.ticket) else { return Turn::AskAgain };
        let Some(view) = self.view(&keys, 0).await else { return Turn::AskAgain };
        let proof = self.session.proof();
        view.until(|state| turn(state, &keys, claim, ticket, proof)).await
    }

    async fn amend(&self, claim: &Claim) -> Result<Amended> {
        self.session.check()?;
        let keys = SeatKeys::of(&claim.seat);
        let holder = keys.holder(claim.id);
        for _ in 0..crate::claim::ATTEMPTS {
            let answer = self
                .session
                .line
                .txn(Txn::new().and_then([get(holder.as_str()), get(keys.main.as_str())]))
                .await?;
            let answers = answer.op_responses();
            let (mine, main) = (txn::first(answers.first()), txn::first(answers.get(1)));
            let (Some(mine), Some(main)) = (mine, main) else { return Ok(Amended::Absent) };
            let Some(record) = Record::decode(&mine.value) else { return Ok(Amended::Absent) };
            if !record.holds(claim.id, Some(&main.value)) {
                return Ok(Amended::Absent);
            }
            if record.value() == claim.value {
                return Ok(Amended::Done);
            }
            let value = record.amended(claim.value.clone()).encode()?;
            let when =
                [unchanged(holder.as_str(), mine.modified), valued(keys.main.as_str(), main.value.to_vec())];
            let then = [put(holder.as_str(), value, mine.lease)];
            let answer =
                self.session.heed(self.session.line.txn(Txn::new().when(when).and_then(then)).await)?;
            self.session.note(revision(&answer));
            if answer.succeeded() {
                return Ok(Amended::Done);
            }
        }
        Err(crate::error::busy())
    }

    async fn withdraw(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn> {
        let keys = SeatKeys::of(&claim.seat);
        let view = self.session.ear.glance(&subject(&keys));
        let known = view.as_ref().map_or(Known::default(), |view| {
            view.look(|state| Known {
                head: state.head().cloned(),
                waits: state.get(&keys.place(claim.id)).is_some(),
                yields: release::yields(
                    state.get(&keys.foreign()),
                    claim.id,
                    state.get(&keys.holder(claim.id)),
                ),
            })
        });
        if let Some(view) = view.as_ref().filter(|_| known.head.is_some()) {
            view.ask();
        }
        let (withdrawn, others_wait) = release::withdraw(&self.session, &keys, claim, doubt, known).await?;
        if others_wait && view.is_none() {
            // Whoever takes it again passes it on at once. Not listening costs a trip then, no more.
            let _ = timeout(LISTEN, self.view(&keys, 0)).await;
        }
        Ok(withdrawn)
    }

    async fn evict(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>> {
        self.session.check()?;
        evict::evict(&self.session, &SeatKeys::of(seat), how, only).await
    }

    async fn queue(&self, seat: &Seat) -> Result<Queue> {
        let keys = SeatKeys::of(seat);
        let scene = survey(&self.session, &keys).await?;
        Ok(scene.queue(&keys))
    }

    async fn stirred(&self, seat: &Seat, mark: Mark) {
        let mark = i64::try_from(mark.0).unwrap_or(i64::MAX);
        let keys = SeatKeys::of(seat);
        // What was read later than the mark may differ: the caller looks again, at the read's revision.
        let Some(view) = self.view(&keys, 0).await else { return };
        view.until(|state| (state.is_dead() || state.horizon() > mark).then_some(())).await;
    }

    async fn ousted(&self, claim: &Claim) {
        let keys = SeatKeys::of(&claim.seat);
        let mut denied = 0;
        loop {
            let mut renewals = self.session.renewals();
            let Some(view) = self.view(&keys, denied).await else {
                self.session.next_beat(&mut renewals).await;
                continue;
            };
            let ended = view.until(|state| {
                if state.is_dead() {
                    return Some(false);
                }
                (state.horizon() > denied && is_ousted(state, &keys, claim.id)).then_some(true)
            });
            // The ear may lag behind the grant or know less than there is, and of the two watches of a lock one may
            // lag behind the other: the store itself has the last word, until there is news,
            // and when the session has ended, that is the cause and not somebody who took the seat.
            if ended.await {
                match self.confirm(&keys, claim).await {
                    Word::Ousted => return,
                    Word::Holds(revision) => denied = revision,
                    // Whoever may not look is refused at once, however often it asks.
                    Word::None => self.session.next_beat(&mut renewals).await,
                }
            }
        }
    }

    #[cfg(unix)]
    fn tether(&self, _claim: &Claim) -> Option<std::os::fd::OwnedFd> {
        None
    }
}

/// What a place's ticket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Nothing before this revision is news to the claim.
    seen: i64,
    /// When the place was taken.
    placed: i64,
    /// It leaves an open seat to foreign clients until it is time to ask again.
    pauses: bool,
}

impl Ticket {
    fn encode(self) -> Bytes {
        let mut bytes = Vec::with_capacity(17);
        bytes.extend_from_slice(&self.seen.to_be_bytes());
        bytes.extend_from_slice(&self.placed.to_be_bytes());
        bytes.push(u8::from(self.pauses));
        Bytes::from(bytes)
    }

    pub(crate) fn decode(bytes: &Bytes) -> Option<Self> {
        let (seen, rest) = bytes.split_first_chunk()?;
        let (placed, rest) = rest.split_first_chunk()?;
        let [pauses] = *rest else { return None };
        Some(Self {
            seen: i64::from_be_bytes(*seen),
            placed: i64::from_be_bytes(*placed),
            pauses: pauses != 0,
        })
    }
}

/// The keys of a seat, as the ear watches them.
fn subject(keys: &SeatKeys) -> Subject {
    let apart = !keys.main.starts_with(&keys.prefix);
    Subject {
        keys: apart.then(|| keys.main.clone()).into_iter().collect(),
        prefixes: vec![keys.prefix.clone()],
        queue: Some(keys.queue()),
    }
}

/// What a view of the seat means to a waiting claim.
fn turn(state: &State, keys: &SeatKeys, claim: &Claim, ticket: Ticket, proof: Proof) -> Option<Turn> {
    if state.is_dead() {
        return Some(Turn::AskAgain);
    }
    // What is older than the place is a grant that was lost before the place was taken: the view is behind.
    let granted = state.get(&keys.holder(claim.id)).filter(|mine| mine.created > ticket.placed);
    if let Some(mine) = granted {
        // A reader has yet to keep the common lease alive, and what was broken meanwhile is no grant.
        return Some(match claim.mode {
            Mode::Exclusive if !is_ousted(state, keys, claim.id) => {
                Turn::Granted(Grant { token: token(mine.created), proof })
            }
            Mode::Exclusive | Mode::Shared => Turn::AskAgain,
        });
    }
    let horizon = state.horizon();
    if state.get(&keys.place(claim.id)).is_none() && !state.may_hide(ticket.placed) {
        return (horizon >= ticket.placed).then_some(Turn::AskAgain);
    }
    if ticket.pauses || horizon <= ticket.seen || state.has_older(ticket.placed) {
        return None;
    }
    seat_door(state, keys).admits(claim.mode).then_some(Turn::AskAgain)
}

fn seat_door(state: &State, keys: &SeatKeys) -> Door {
    let records = state.below(&keys.holders()).next().is_some();
    door(state.get(&keys.main), state.get(&keys.share()), records)
}

/// Whether the claim was told to let go, or holds no more.
fn is_ousted(state: &State, keys: &SeatKeys, id: ClaimId) -> bool {
    let Some(mine) = state.get(&keys.holder(id)) else { return true };
    if state.get(&keys.notice(id)).is_some() {
        return true;
    }
    let Some(record) = Record::decode(&mine.value) else { return true };
    match state.get(&keys.main) {
        Some(main) if main.modified < mine.created && record.share().is_none() => false, // news of it is under way
        main => !record.holds(id, main.map(|main| main.value.as_ref())),
    }
}

#[cfg(test)]
mod tests {
    use tooz_core::{Moment, Name};

    use super::*;
    use crate::txn::Seen;
    use crate::watch::Scan;

    const PLACED: i64 = 20;

    fn seen(key: &str, value: impl Into<Bytes>, created: i64) -> Seen {
        let key = Bytes::copy_from_slice(key.as_bytes());
        Seen { key, value: value.into(), created, modified: created, lease: 1 }
    }

    fn claim() -> Claim {
        let (id, mode, name) = (ClaimId::random(), Mode::Exclusive, Name::new("nightly").unwrap());
        Claim { id, seat: Seat::Lock(name.clone()), mode, member: name, value: Bytes::new() }
    }

    /// What a claim that took its place at `PLACED` makes of these keys, known up to a revision.
    fn meaning(claim: &Claim, revision: i64, known: Vec<Seen>) -> Option<Turn> {
        told(Ticket { seen: PLACED, placed: PLACED, pauses: false }, claim, revision, known)
    }

    fn told(ticket: Ticket, claim: &Claim, revision: i64, known: Vec<Seen>) -> Option<Turn> {
        let keys = SeatKeys::of(&claim.seat);
        let view = View::new(subject(&keys));
        view.begin_reading().load(Scan { revision, seen: known, cut: None });
        let proof = Proof::Lease { sent: Moment::ORIGIN, ttl: Duration::from_secs(1) };
        view.look(|state| turn(state, &keys, claim, ticket, proof))
    }

    /// A claim that held, was broken and queued again sees itself hold in a view that is behind.
    #[test]
    fn a_grant_that_is_older_than_the_place_or_was_broken_is_none() {
        let claim = claim();
        let keys = SeatKeys::of(&claim.seat);
        let record = Record::waiting(&claim).encode().unwrap();
        let main = |at| seen(&keys.main, claim.id.as_bytes().to_vec(), at);
        let holder = |at| seen(&keys.holder(claim.id), record.clone(), at);
        assert!(meaning(&claim, 12, vec![main(10), holder(10)]).is_none(), "granted by what was before");
        let place = seen(&keys.place(claim.id), record.clone(), PLACED);
        assert!(meaning(&claim, 20, vec![place]).is_none(), "there is no news");
        let granted = meaning(&claim, 30, vec![main(30), holder(30)]);
        assert!(matches!(granted, Some(Turn::Granted(grant)) if grant.token == token(30)));
        let (none, another) = (vec![holder(30)], seen(&keys.main, &b"another"[..], 31));
        let broken = [none, vec![another, holder(30)]];
        for broken in broken {
            assert!(matches!(meaning(&claim, 31, broken), Some(Turn::AskAgain)), "it was broken meanwhile");
        }
    }
    #[test]
    fn a_claim_that_leaves_the_seat_open_heeds_a_grant_and_the_loss_of_its_place() {
        let (claim, ticket) = (claim(), Ticket { seen: PLACED, placed: PLACED, pauses: true });
        assert_eq!(Ticket::decode(&ticket.encode()), Some(ticket));
        let keys = SeatKeys::of(&claim.seat);
        let record = Record::waiting(&claim).encode().unwrap();
        let place = seen(&keys.place(claim.id), record.clone(), PLACED);
        assert!(matches!(meaning(&claim, 30, vec![place.clone()]), Some(Turn::AskAgain)));
        assert!(told(ticket, &claim, 30, vec![place]).is_none(), "there is news");
        assert!(matches!(told(ticket, &claim, 30, Vec::new()), Some(Turn::AskAgain)));
        let main = seen(&keys.main, claim.id.as_bytes().to_vec(), 30);
        let granted = vec![main, seen(&keys.holder(claim.id), record, 30)];
        assert!(matches!(told(ticket, &claim, 30, granted), Some(Turn::Granted(_))));
    }
}
