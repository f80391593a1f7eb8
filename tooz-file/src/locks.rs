//! Locks and elections: the steps and waits.

use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use tooz_core::backend::{
    Amended, Doubt, Eviction, Grant, LockSteps, Mark, Position, Queue, Standing, Turn, Withdrawn,
};
use tooz_core::{Claim, ClaimId, Error, ErrorKind, Result, Seat};

use crate::contend::still_holds;
use crate::contest::{Contest, LOCK};
use crate::keys::{Entry, Place};
use crate::record::wall_us;
use crate::sequence::Sequence;
use crate::session::Session;
use crate::slots::{Held, Slot, Slots, Stand};
use crate::spares::Slip;
use crate::watch::{Interest, Watch};

/// The locks of one session.
pub(crate) struct Locks {
    pub(crate) session: Arc<Session>,
    pub(crate) slots: Slots,
}

impl Locks {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, slots: Slots::default() }
    }

    /// Withdraws everything. What a step has in hand goes by itself: the step finds the session closed when it goes on,
    /// and where it never does, all that is open goes with it.
    pub(crate) fn close(&self) {
        for (claim, slot) in self.slots.all() {
            let stood = slot.stand.try_lock().map(|mut stand| std::mem::take(&mut *stand));
            self.slots.forget(claim, &slot);
            self.vacate(&slot.seat, stood.unwrap_or_default());
        }
    }

    /// Takes a claim off its seat and out of its queue.
    async fn let_go(&self, claim: ClaimId, slot: &Arc<Slot>) -> Withdrawn {
        let mut stand = slot.stand.lock().await;
        let stood = std::mem::take(&mut *stand);
        self.slots.forget(claim, slot);
        drop(stand);
        self.vacate(&slot.seat, stood)
    }

    /// Closes what a claim has open. What cannot be removed is dead from then on, and removed by others.
    fn vacate(&self, seat: &Seat, stood: Stand) -> Withdrawn {
        let (folder, place) = Contest::place_of(&self.session, seat);
        // Without permission to remove it the kernel still lets go.
        let remove = |name: &str| folder.remove(&place.path_of(name));
        match stood {
            Stand::Nowhere => return Withdrawn::Absent,
            Stand::Queued(queued) => {
                let _ = remove(&queued.entry.file_name());
            }
            Stand::Held(Held { entry, lock, record }) => {
                let name = place.path_of(&entry.at(Place::Holding).file_name());
                let record = self.session.take_back(folder, &name, record);
                let stood = record.is_none() || remove_record(&entry, remove);
                // The lock first: whoever hears the record close finds it free.
                drop(lock);
                drop(record);
                if !stood {
                    return Withdrawn::Absent;
                }
            }
        }
        Withdrawn::Removed
    }

    /// Runs a step on a claim's own slot, refusing a claim that was made void.
    async fn step<T>(
        &self,
        claim: &Claim,
        step: impl AsyncFnOnce(&Slot, &mut Stand) -> Result<T>,
    ) -> Result<T> {
        self.session.check()?;
        loop {
            let slot = self.slots.enter(claim.id, &claim.seat);
            let mut stand = slot.stand.lock().await;
            if !self.slots.is_current(claim.id, &slot) {
                continue;
            }
            let fresh = matches!(*stand, Stand::Nowhere);
            let outcome =
                if self.slots.is_void(claim.id) { Err(void(claim)) } else { step(&slot, &mut stand).await };
            // Withdrawn, or the whole session closed, while this was on its way.
            let late = self.slots.is_void(claim.id) || self.session.check().is_err();
            // What fails at first leaves nothing behind; a place in the queue is kept through a failure.
            if late || (fresh && outcome.is_err()) {
                self.vacate(&slot.seat, std::mem::take(&mut *stand));
            }
            if matches!(*stand, Stand::Nowhere) {
                self.slots.forget(claim.id, &slot);
            }
            return if late { self.session.check().and(Err(void(claim))) } else { outcome };
        }
    }

    /// Listens to what a held claim stands on; `None` when it stands no more, or was told to go.
    async fn footing(&self, claim: &Claim) -> Result<Option<[Watch; 2]>> {
        let Some(slot) = self.slots.find(claim.id) else { return Ok(None) };
        let stand = slot.stand.lock().await;
        let Stand::Held(held) = &*stand else { return Ok(None) };
        let Some(contest) = Contest::find(&self.session, &slot.seat)? else { return Ok(None) };
        let name = held.entry.file_name();
        let record = self.listen(&contest, &name, Interest::Keep)?;
        let lock = self.listen(&contest, LOCK, Interest::Keep)?;
        let (Some(record), Some(lock)) = (record, lock) else { return Ok(None) };
        let stands = contest.folder.shows(&name, &held.record)? && contest.folder.shows(LOCK, &held.lock)?;
        Ok(stands.then_some([record, lock]))
    }
}

/// Removes a holder's record and says whether it still held, not being removed by force before. The
/// record's name changes only forwards, so that this order cannot miss it.
pub(crate) fn remove_record(entry: &Entry, remove: impl Fn(&str) -> Result<bool>) -> bool {
    let mut unsure = false;
    for place in [Place::Holding, Place::Told, Place::Evicted] {
        match remove(&entry.at(place).file_name()) {
            Ok(true) => return place != Place::Evicted,
            Ok(false) => {}
            // What cannot be removed is dead once it is closed.
            Err(_) => unsure = true,
        }
    }
    unsure
}

fn void(claim: &Claim) -> Error {
    Error::new(ErrorKind::Closed, format!("{}: the claim was withdrawn before it arrived", claim.seat))
}

#[async_trait]
impl LockSteps for Locks {
    async fn claim(&self, claim: &Claim) -> Result<Standing> {
        self.step(claim, async |slot, stand| self.contend(claim, slot, stand).await).await
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Option<Grant>> {
        self.step(claim, async |slot, stand| self.contend_once(claim, slot, stand).await).await
    }

    async fn turn(&self, claim: &Claim, _position: &Position) -> Turn {
        let Some(slot) = self.slots.find(claim.id) else { return Turn::AskAgain };
        let heard = match &*slot.stand.lock().await {
            Stand::Queued(queued) => queued.ahead.as_ref().map(|ahead| (ahead.rung(), queued.own.rung())),
            Stand::Nowhere | Stand::Held(_) => None,
        };
        if let Some((ahead, own)) = heard {
            tokio::select! {
                () = ahead => {}
                () = own => {}
                _ = self.session.ended() => {}
            }
        }
        Turn::AskAgain
    }

    async fn amend(&self, claim: &Claim) -> Result<Amended> {
        self.session.check()?;
        let Some(slot) = self.slots.find(claim.id) else { return Ok(Amended::Absent) };
        let Some(contest) = Contest::find(&self.session, &claim.seat)? else { return Ok(Amended::Absent) };
        let draft = self.session.draft(&claim.member, &claim.value, wall_us())?;
        let (_sequence, mut stand) = loop {
            // Evictions rename records under the same short lock.
            let sequence = Sequence::enter(&self.session.patience, &contest.folder).await?;
            // Not waited for: whoever asks whether the claim still stands must not wait for that short lock.
            match slot.stand.try_lock() {
                Ok(stand) => break (sequence, stand),
                Err(_) => drop(sequence),
            }
            self.session.patience.breathe().await;
        };
        let Stand::Held(held) = &mut *stand else { return Ok(Amended::Absent) };
        if !still_holds(&contest, held)? {
            return Ok(Amended::Absent);
        }
        let told = held.entry.at(Place::Told).file_name();
        let place = if contest.folder.shows(&told, &held.record)? { Place::Told } else { Place::Holding };
        held.record = Slip::single(draft.replace(&contest.folder, &held.entry.at(place).file_name())?);
        Ok(Amended::Done)
    }

    async fn withdraw(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn> {
        if doubt == Doubt::MayLand {
            self.slots.make_void(claim.id);
        }
        match self.slots.find(claim.id) {
            Some(slot) => Ok(self.let_go(claim.id, &slot).await),
            None => Ok(Withdrawn::Absent),
        }
    }

    async fn evict(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>> {
        self.session.check()?;
        self.remove_holders(seat, how, only).await
    }

    async fn queue(&self, seat: &Seat) -> Result<Queue> {
        self.session.check()?;
        self.look(seat)
    }

    async fn stirred(&self, seat: &Seat, mark: Mark) {
        tokio::select! {
            () = self.stirred_since(seat, mark) => {}
            _ = self.session.ended() => {}
        }
    }

    async fn ousted(&self, claim: &Claim) {
        let vigil = async {
            loop {
                match self.footing(claim).await {
                    Ok(None) => return,
                    Ok(Some([record, lock])) => {
                        tokio::select! {
                            () = record.rung() => {}
                            () = lock.rung() => {}
                        }
                    }
                    // Deaf for now: look again in a while.
                    Err(_) => self.session.patience.while_deaf().await,
                }
            }
        };
        tokio::select! {
            () = vigil => {}
            _ = self.session.ended() => {}
        }
    }

    fn tether(&self, claim: &Claim) -> Option<OwnedFd> {
        let slot = self.slots.find(claim.id)?;
        slot.lock.lock().unwrap_or_else(PoisonError::into_inner).upgrade()?.tether()
    }
}
