//! Taking a seat, or a place in its queue.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tooz_core::backend::{Grant, Position, Proof, Standing};
use tooz_core::{Claim, Error, ErrorKind, FencingToken, Result};

use crate::contest::{Contest, LOCK, Life};
use crate::draft::Draft;
use crate::echo::Echo;
use crate::error::{deaf, failed};
use crate::keys::{Entry, Place};
use crate::latch::Latch;
use crate::locks::{Locks, remove_record};
use crate::order;
use crate::our_file::OurFile;
use crate::record::{boot_us, wall_us};
use crate::sequence::Sequence;

use crate::slots::{Held, Queued, Slot, Stand};
use crate::spares::Slip;
use crate::watch::{Interest, Watch};

/// More often than this, nobody takes the lock file away under an honest claim.
const MOST_TRIES: usize = 64;

/// In a queue of so many, whoever begins to wait looks again a few times. In a longer one each look would read much, and
/// those who come later clear away who died.
const SHORT: usize = 64;

/// How a claim without a ticket fares on the free path.
enum Fresh {
    Held(Held),
    /// Somebody holds it; the descriptor is good for waiting.
    Busy(Arc<Latch>),
    /// Nobody holds it, but somebody waits for it.
    Wanted,
}

impl Locks {
    /// The claim step. Order of tests: mine already, queued already, free, else queue.
    pub(crate) async fn contend(&self, claim: &Claim, slot: &Slot, stand: &mut Stand) -> Result<Standing> {
        let contest = Contest::enter(&self.session, &claim.seat)?;
        if let Some(grant) = standing_grant(&contest, stand)? {
            return Ok(Standing::Held(grant));
        }
        if !matches!(stand, Stand::Queued(_)) {
            match self.take_free(&contest, claim).await? {
                Fresh::Held(held) => return Ok(Standing::Held(hold(slot, stand, held))),
                Fresh::Busy(lock) => self.enqueue(&contest, claim, stand, Some(lock)).await?,
                Fresh::Wanted => self.enqueue(&contest, claim, stand, None).await?,
            }
        }
        self.advance(&contest, claim, slot, stand).await
    }

    /// The try step: looks before it touches anything.
    pub(crate) async fn contend_once(
        &self,
        claim: &Claim,
        slot: &Slot,
        stand: &mut Stand,
    ) -> Result<Option<Grant>> {
        let Some(contest) = Contest::find(&self.session, &claim.seat)? else {
            let contest = Contest::enter(&self.session, &claim.seat)?;
            return self.finish_try(&contest, claim, slot, stand).await;
        };
        if let Some(grant) = standing_grant(&contest, stand)? {
            return Ok(Some(grant));
        }
        if matches!(stand, Stand::Queued(_)) {
            return Ok(None);
        }
        let entries = contest.entries()?;
        let holders = entries.iter().filter(|entry| entry.place.holds());
        let shares = |entry: &&Entry| {
            claim.mode == tooz_core::Mode::Exclusive || entry.mode == tooz_core::Mode::Exclusive
        };
        let mut rivals: Vec<Entry> = holders.filter(shares).copied().collect();
        rivals.extend(order::before(&entries, None, claim.mode));
        for rival in &rivals {
            if matches!(contest.life(rival)?, Life::Alive(_)) {
                return Ok(None);
            }
        }
        self.finish_try(&contest, claim, slot, stand).await
    }

    async fn finish_try(
        &self,
        contest: &Contest,
        claim: &Claim,
        slot: &Slot,
        stand: &mut Stand,
    ) -> Result<Option<Grant>> {
        match self.take_free(contest, claim).await? {
            Fresh::Held(held) => Ok(Some(hold(slot, stand, held))),
            Fresh::Busy(_) | Fresh::Wanted => Ok(None),
        }
    }

    /// Locks without waiting, then looks at the queue *while holding*: whoever queued before is seen, whoever
    /// queues later sees the lock held.
    async fn take_free(&self, contest: &Contest, claim: &Claim) -> Result<Fresh> {
        for _ in 0..MOST_TRIES {
            let lock = Latch::new(contest.folder.file_or_create(LOCK)?);
            if !try_lock(contest, &lock, claim)? {
                let entries = contest.entries()?;
                if self.clear_evicted(contest, &entries).await? {
                    continue;
                }
                return Ok(Fresh::Busy(Arc::new(lock)));
            }
            // Whether the locked file is the one that stands there is asked once, before the grant shows: where
            // it is not, nothing that is found or done until then matters.
            let entries = contest.entries()?;
            for rival in order::before(&entries, None, claim.mode) {
                match contest.life(&rival)? {
                    // Closing the lock wakes the head, which may have tried in vain meanwhile.
                    Life::Alive(_) => return Ok(Fresh::Wanted),
                    Life::Dead => drop(contest.folder.remove(&rival.file_name())?),
                    Life::Gone => {}
                }
            }
            let draft = self.session.paper(&claim.member, &claim.value)?;
            let lock = Arc::new(lock);
            if let Some((entry, record)) = self.publish(contest, claim, &lock, Paper::Draft(draft)).await? {
                // Tidying is a favour to others; the grant stands without it.
                let _ = contest.bury(&order::to_tidy(&entries, claim.mode, entry.number));
                let record = record.ok_or_else(|| internal("a placed draft has no file"))?;
                let record = match claim.value.is_empty() {
                    true => Slip::blank(record, claim.member.clone()),
                    false => Slip::single(record),
                };
                return Ok(Fresh::Held(Held { entry, lock, record }));
            }
        }
        Err(unsettled(contest))
    }

    /// Draws a ticket and shows it, both under the short lock, so that numbers and visibility agree.
    async fn enqueue(
        &self,
        contest: &Contest,
        claim: &Claim,
        stand: &mut Stand,
        lock: Option<Arc<Latch>>,
    ) -> Result<()> {
        let draft = self.session.draft(&claim.member, &claim.value, wall_us())?;
        let sequence = Sequence::enter(&self.session.patience, &contest.folder).await?;
        let number = sequence.draw()?;
        let entry =
            Entry { place: Place::Queued, number, claim: claim.id, mode: claim.mode, since_us: boot_us() };
        let name = entry.file_name();
        let ticket = draft.place(&contest.folder, &name)?;
        drop(sequence);
        match self.listen(contest, &name, Interest::Keep) {
            Ok(Some(own)) => {
                *stand =
                    Stand::Queued(Queued { entry, ticket, lock, own, ahead: None, echo: Echo::default() })
            }
            // Gone already: `advance` would find that too, the claim just has to be sent again.
            Ok(None) => {
                return Err(failed(
                    "keep the ticket",
                    &contest.folder.path_of(&name),
                    rustix::io::Errno::NOENT,
                ));
            }
            Err(error) => {
                contest.folder.remove(&name)?;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Finds whom a queued claim waits for; takes the seat where that is nobody.
    async fn advance(
        &self,
        contest: &Contest,
        claim: &Claim,
        slot: &Slot,
        stand: &mut Stand,
    ) -> Result<Standing> {
        for _ in 0..MOST_TRIES {
            let Stand::Queued(queued) = &mut *stand else {
                return Err(internal("a queued claim left its queue"));
            };
            queued.own.settle();
            if queued.ahead.as_ref().is_some_and(Watch::has_rung) {
                queued.echo = self.session.patience.echo();
            }
            let entries = contest.entries()?;
            if !entries.contains(&queued.entry) {
                // Removed by somebody else: a new ticket, at the end.
                let lock = queued.lock.take();
                *stand = Stand::Nowhere;
                self.enqueue(contest, claim, stand, lock).await?;
                continue;
            }
            if let Some(watch) = self.predecessor(contest, &entries, queued)? {
                return Ok(self.wait(queued, &entries, watch));
            }
            let Some(watch) = self.approach(contest, queued)? else { continue };
            let Some(lock) = queued.lock.clone() else { continue };
            if !try_lock(contest, &lock, claim)? {
                if self.clear_evicted(contest, &entries).await? {
                    continue;
                }
                return Ok(self.wait(queued, &entries, watch));
            }
            let published = self.publish(contest, claim, &lock, Paper::Ticket(queued.entry)).await;
            // Whatever happened, this claim does not stay in the queue with the lock in its pocket.
            queued.lock = None;
            let Some((entry, _)) = published? else { continue };
            // Tidying is a favour to others; the grant stands without it.
            let _ = contest.bury(&order::to_tidy(&entries, claim.mode, entry.number));
            let Stand::Queued(queued) = std::mem::take(stand) else {
                return Err(internal("a granted claim left its queue"));
            };
            return Ok(Standing::Held(hold(
                slot,
                stand,
                Held { entry, lock, record: Slip::single(queued.ticket) },
            )));
        }
        Err(unsettled(contest))
    }

    /// Keeps the place in the queue, listening to whom it waits for.
    fn wait(&self, queued: &mut Queued, entries: &[Entry], watch: Watch) -> Standing {
        if queued.ahead.replace(watch).is_none() && entries.len() <= SHORT {
            queued.echo = self.session.patience.first_looks();
        }
        Standing::Waiting(Position {
            ahead: Some(order::ahead(entries, queued.entry.number)),
            ticket: Bytes::from(queued.entry.number.to_string()),
            revisit: queued.echo.pause(),
        })
    }

    /// Listens to the nearest living ticket this one waits for; clears away dead ones on the way.
    fn predecessor(&self, contest: &Contest, entries: &[Entry], queued: &Queued) -> Result<Option<Watch>> {
        for rival in order::before(entries, Some(queued.entry.number), queued.entry.mode) {
            let name = rival.file_name();
            // Listening comes first, so that an end between the two is heard.
            let Some(watch) = self.listen(contest, &name, Interest::End)? else { continue };
            match contest.life(&rival)? {
                Life::Alive(_) => return Ok(Some(watch)),
                Life::Dead => drop(contest.folder.remove(&name)?),
                Life::Gone => {}
            }
        }
        Ok(None)
    }

    /// At the head of the queue: opens the lock, unless it is open, and listens to it. `None`: look again.
    fn approach(&self, contest: &Contest, queued: &mut Queued) -> Result<Option<Watch>> {
        if queued.lock.is_none() {
            queued.lock = Some(Arc::new(Latch::new(contest.folder.file_or_create(LOCK)?)));
        }
        let watch = self.listen(contest, LOCK, Interest::Release)?;
        let Some(lock) = &queued.lock else { return Ok(None) };
        if watch.is_some() && contest.folder.shows(LOCK, lock)? {
            return Ok(watch);
        }
        queued.lock = None;
        Ok(None)
    }

    /// Draws the token and shows the grant, both under the short lock, under which alone a lock file may be
    /// taken away. `None` if it was, or the paper: nothing is held then.
    async fn publish(
        &self,
        contest: &Contest,
        claim: &Claim,
        lock: &Latch,
        paper: Paper<'_>,
    ) -> Result<Option<(Entry, Option<OurFile>)>> {
        let sequence = Sequence::enter(&self.session.patience, &contest.folder).await?;
        if !contest.folder.shows(LOCK, lock)? {
            return Ok(None);
        }
        let number = sequence.draw()?;
        let entry =
            Entry { place: Place::Holding, number, claim: claim.id, mode: claim.mode, since_us: boot_us() };
        let name = entry.file_name();
        match paper {
            Paper::Draft(draft) => {
                let placed = draft.try_place(&contest.folder, &name)?;
                Ok(placed.map(|record| (entry, Some(record))))
            }
            Paper::Ticket(ticket) => {
                let shown = contest.folder.rename(&ticket.file_name(), &contest.folder, &name)?;
                Ok(shown.then_some((entry, None)))
            }
        }
    }

    /// Where only evicted claims keep the lock, whose processes did not hear, puts the lock file out of the
    /// way. `true` if there is a new one to be had.
    async fn clear_evicted(&self, contest: &Contest, entries: &[Entry]) -> Result<bool> {
        let only_evicted = |entries: &[Entry]| -> Result<bool> {
            let (mut evicted, mut held) = (false, false);
            for entry in entries.iter().filter(|entry| entry.place != Place::Queued) {
                let alive = matches!(contest.life(entry)?, Life::Alive(_));
                evicted |= alive && entry.place == Place::Evicted;
                held |= alive && entry.place.holds();
            }
            Ok(evicted && !held)
        };
        if !entries.iter().any(|entry| entry.place == Place::Evicted) || !only_evicted(entries)? {
            return Ok(false);
        }
        let _sequence = Sequence::enter(&self.session.patience, &contest.folder).await?;
        Ok(only_evicted(&contest.entries()?)? && contest.folder.remove(LOCK)?)
    }

    /// Listens to an entry of a seat's folder; `None` if it is not there.
    pub(crate) fn listen(&self, contest: &Contest, name: &str, interest: Interest) -> Result<Option<Watch>> {
        let path = contest.folder.path_of(name);
        match self.session.ear().listen(&path, interest) {
            Ok(watch) => Ok(Some(watch)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(deaf(&path, error)),
        }
    }
}

/// What becomes the holder's record.
enum Paper<'a> {
    Draft(Draft<'a>),
    Ticket(Entry),
}

/// The grant of a claim that holds already. One that was ousted meanwhile stands nowhere.
fn standing_grant(contest: &Contest, stand: &mut Stand) -> Result<Option<Grant>> {
    let Stand::Held(held) = &*stand else { return Ok(None) };
    if still_holds(contest, held)? {
        return Ok(Some(grant(&held.entry)));
    }
    // The claim contends anew: what it left when it was ousted would stay for ever.
    remove_record(&held.entry, |name| contest.folder.remove(name));
    *stand = Stand::Nowhere;
    Ok(None)
}

/// Whether a held claim's lock and record stand where they were put. Having been told to go is no loss yet.
pub(crate) fn still_holds(contest: &Contest, held: &Held) -> Result<bool> {
    let shown = |place| contest.folder.shows(&held.entry.at(place).file_name(), &held.record);
    Ok(contest.folder.shows(LOCK, &held.lock)? && (shown(Place::Holding)? || shown(Place::Told)?))
}

fn hold(slot: &Slot, stand: &mut Stand, held: Held) -> Grant {
    let grant = grant(&held.entry);
    *slot.lock.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&held.lock);
    *stand = Stand::Held(held);
    grant
}

fn grant(entry: &Entry) -> Grant {
    Grant { token: FencingToken::new(entry.number), proof: Proof::Kernel }
}

fn try_lock(contest: &Contest, lock: &Latch, claim: &Claim) -> Result<bool> {
    lock.try_lock(claim.mode).map_err(|error| failed("lock", &contest.folder.path_of(LOCK), error))
}

fn unsettled(contest: &Contest) -> Error {
    let text = format!("somebody keeps changing {:?} by hand", contest.folder.path());
    Error::new(ErrorKind::Unavailable, text)
}

fn internal(text: &str) -> Error {
    Error::new(ErrorKind::Internal, text)
}
