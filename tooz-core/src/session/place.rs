//! One claim's life in this process: the last one to let go of it withdraws it.

use std::process;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::chore::{Chore, Reliance, Withdrawal};
use super::gate::{Gate, Pending};
use super::stage::Stage;
use super::tenure::Tenure;
use super::validity::Deadline;
use crate::backend::Doubt;
use crate::claim::Claim;
use crate::clock::Moment;
use crate::id::ClaimId;
use crate::lost::Cause;
use crate::observe;

/// A claim that this coordinator has sent or is about to send.
///
/// Shared by the user's future or guard and by the steps in flight. When the last of them is gone and the
/// claim was not settled, dropping it is one send to the janitor. So a step that is still under way when
/// its caller is dropped is always withdrawn *after* its end, and nothing ever blocks in a `Drop`.
#[derive(Debug)]
pub(crate) struct Place {
    claim: Mutex<Claim>,
    id: ClaimId,
    epoch: u64,
    stage: AtomicU8,
    unanswered: AtomicBool,
    withdrawal_sent: AtomicBool,
    tenure: Tenure,
    /// The newest deadline that a beat proved for this claim while it waited.
    proved: AtomicU64,
    /// Until when its holder was told that it holds, where it was lost before that.
    relied_on: AtomicU64,
    nudge: Notify,
    gate: Arc<Gate>,
    /// Keeps the gate shut between its end and a withdrawal that comes later.
    shut: Mutex<Option<Pending>>,
    janitor: mpsc::UnboundedSender<Chore>,
    process: u32,
}

impl Place {
    pub(crate) fn new(
        claim: Claim,
        epoch: u64,
        gate: Arc<Gate>,
        janitor: mpsc::UnboundedSender<Chore>,
    ) -> Self {
        Self {
            id: claim.id,
            claim: Mutex::new(claim),
            epoch,
            stage: AtomicU8::new(Stage::Unsent as u8),
            unanswered: AtomicBool::new(false),
            withdrawal_sent: AtomicBool::new(false),
            tenure: Tenure::new(),
            proved: AtomicU64::new(Deadline::OVER.bits()),
            relied_on: AtomicU64::new(Moment::ORIGIN.as_nanos()),
            nudge: Notify::new(),
            gate,
            shut: Mutex::default(),
            janitor,
            process: process::id(),
        }
    }

    pub(crate) fn id(&self) -> ClaimId {
        self.id
    }

    /// The claim as it would be sent now.
    pub(crate) fn claim(&self) -> Claim {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number of the session it was made under.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn set_value(&self, value: bytes::Bytes) {
        self.claim.lock().unwrap_or_else(PoisonError::into_inner).value = value;
    }

    pub(crate) fn stage(&self) -> Stage {
        Stage::from_bits(self.stage.load(Ordering::SeqCst))
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::SeqCst);
    }

    /// An attempt of the claim went unanswered: it may land at any time.
    pub(crate) fn set_unanswered(&self) {
        self.unanswered.store(true, Ordering::Release);
    }

    pub(crate) fn doubt(&self) -> Doubt {
        match self.unanswered.load(Ordering::Acquire) {
            true => Doubt::MayLand,
            false => Doubt::None,
        }
    }

    /// A beat that named this claim proved it, still in the queue, to live until then.
    pub(crate) fn prove(&self, until: Deadline) {
        self.proved.fetch_max(until.bits(), Ordering::AcqRel);
    }

    /// Until when beats proved the claim to live while it waited. A grant that came without a request of
    /// ours, by hand-over, lives as long as the place in the queue was proved to.
    pub(crate) fn proved(&self) -> Deadline {
        Deadline::from_bits(self.proved.load(Ordering::Acquire))
    }

    /// It is granted: valid until `until`.
    pub(crate) fn hold(&self, until: Deadline) {
        self.tenure.begin(until);
        self.set_stage(Stage::Held);
    }

    pub(crate) fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    pub(crate) fn is_foreign_process(&self) -> bool {
        self.process != process::id()
    }

    /// Ends a held claim for good. The store may still show it (a session whose answers came too late
    /// lives on), so losing it withdraws it too: a new claim would otherwise wait for the lost one. Whoever was told to
    /// let go has a while for that, and who could not renew has until the deadline; an orphan's claims are left to their
    /// time to live. `true` for the one call that did it.
    pub(crate) fn lose(&self, cause: Cause) -> bool {
        // Before the loss is told: who hears of it may be the one that withdraws.
        if cause == Cause::Expired
            && let Some(until) = self.tenure.deadline().moment()
        {
            self.relied_on.fetch_max(until.as_nanos(), Ordering::AcqRel);
        }
        self.lose_untold(cause)
    }

    /// The same of a claim whose holder does not know of it yet.
    pub(crate) fn lose_untold(&self, cause: Cause) -> bool {
        self.tenure.lose(cause);
        self.after_loss(cause)
    }

    /// Until when its holder relies on it although it is lost.
    pub(crate) fn relied_on(&self) -> Moment {
        Moment::from_nanos(self.relied_on.load(Ordering::Acquire))
    }

    /// Moves the deadline forward; an answer that comes after it finds the claim lost.
    pub(crate) fn renew(&self, now: Moment, until: Deadline) {
        self.tenure.renew(now, until);
        self.is_held(now);
    }

    /// Ends a held claim by its holder's wish: it may be gone before the answer to the withdrawal comes.
    pub(crate) fn let_go(&self) {
        // The stage first: this is no loss.
        self.set_stage(Stage::Leaving);
        self.tenure.lose(Cause::Closed);
    }

    /// Whether the claim is held at `now`; seeing its deadline passed loses it.
    pub(crate) fn is_held(&self, now: Moment) -> bool {
        self.remaining(now).is_some()
    }

    /// The deadline of a held claim, unless it is over at `now`.
    pub(crate) fn remaining(&self, now: Moment) -> Option<Deadline> {
        if self.is_foreign_process() {
            return None;
        }
        let remaining = self.tenure.remaining(now);
        if remaining.is_none() && self.stage() == Stage::Held {
            self.after_loss(Cause::Expired);
        }
        remaining
    }

    /// Ends when it is lost. From then on a new claim on the seat waits for the withdrawal of this one, also where whoever
    /// ended it has not come to that yet.
    pub(crate) async fn lost(&self) -> Cause {
        let cause = self.tenure.lost().await;
        self.after_loss(cause);
        cause
    }

    /// Ends it with its session. From then on nobody watches it: if it was ousted before, it is withdrawn now.
    pub(crate) fn lose_with_session(&self, cause: Cause) -> bool {
        let lost = self.lose(cause);
        let is_shut = self.shut().is_some();
        if is_shut && cause != Cause::Orphaned {
            self.send_withdrawal();
        }
        lost
    }

    /// The stage decides who does it: the tenure may have been seen over by somebody who could not.
    fn after_loss(&self, cause: Cause) -> bool {
        let (held, leaving) = (Stage::Held as u8, Stage::Leaving as u8);
        // Before the stage: who comes second has to find it shut.
        let shut = Pending::new(Arc::clone(&self.gate));
        {
            let mut slot = self.shut();
            if self.stage.compare_exchange(held, leaving, Ordering::SeqCst, Ordering::SeqCst).is_err() {
                return false;
            }
            slot.get_or_insert(shut);
        }
        let cause = self.tenure.cause().unwrap_or(cause);
        observe::lost(cause);
        match cause {
            Cause::Orphaned => self.settled(),
            // Withdrawn when its guard is dropped, or by whoever watches it when that takes too long.
            Cause::Ousted => {}
            _ => self.withdraw(),
        }
        true
    }

    /// Makes whoever waits with this claim ask the store again.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    pub(crate) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// The store has nothing of it any more, or never had.
    pub(crate) fn settled(&self) {
        self.set_stage(Stage::Leaving);
        self.withdrawal_sent.store(true, Ordering::Release);
        self.shut().take();
    }

    fn shut(&self) -> MutexGuard<'_, Option<Pending>> {
        self.shut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its holder lets go. From now on a new claim on the seat waits until it is withdrawn, also while a step or a beat
    /// still looks at it.
    pub(crate) fn leave(&self) {
        if self.is_foreign_process() {
            return;
        }
        let mut slot = self.shut();
        if !self.withdrawal_sent.load(Ordering::Acquire) {
            slot.get_or_insert_with(|| Pending::new(Arc::clone(&self.gate)));
        }
    }

    /// Gives it to the janitor although somebody may still wait with it: the coordinator closes.
    pub(crate) fn abandon(&self) {
        if self.stage() == Stage::Asked {
            self.set_unanswered();
        }
        self.send_withdrawal();
        self.nudge();
    }

    /// Gives it to the janitor, once.
    pub(crate) fn send_withdrawal(&self) {
        if self.stage() != Stage::Unsent && !self.withdrawal_sent.load(Ordering::Acquire) {
            self.withdraw();
        }
    }

    fn withdraw(&self) {
        let mut slot = self.shut();
        // It goes along: whoever waits at the gate since the loss waits for the withdrawal too.
        let shut = slot.take();
        if self.withdrawal_sent.swap(true, Ordering::AcqRel) {
            return;
        }
        let shut = shut.unwrap_or_else(|| Pending::new(Arc::clone(&self.gate)));
        drop(slot);
        let mut withdrawal = Withdrawal::new(self.claim(), self.doubt(), self.epoch, shut);
        let until = self.relied_on();
        if until > Moment::ORIGIN {
            withdrawal.reliance = Some(Reliance { until, lost: self.tenure.subscribe() });
        }
        // Fails only when the coordinator has ended, and then the session's end frees everything.
        let _ = self.janitor.send(Chore::Withdraw(withdrawal));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A fork has copies of its parent's places, but not the right to withdraw them.
        if !self.is_foreign_process() {
            self.send_withdrawal();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::claim::{Mode, Seat};
    use crate::name::Name;

    fn place(janitor: mpsc::UnboundedSender<Chore>) -> (Place, Arc<Gate>) {
        let name = Name::new("a").unwrap();
        let (id, seat, mode) = (ClaimId::random(), Seat::Lock(name.clone()), Mode::Exclusive);
        let claim = Claim { id, seat, mode, member: name, value: bytes::Bytes::new() };
        let gate = Arc::new(Gate::default());
        (Place::new(claim, 1, Arc::clone(&gate), janitor), gate)
    }

    #[test]
    fn dropping_a_sent_claim_sends_one_withdrawal() {
        let (janitor, mut inbox) = mpsc::unbounded_channel();
        let (place, gate) = place(janitor);
        place.set_stage(Stage::Asked);
        place.set_unanswered();
        let id = place.id();

        drop(place);

        let Chore::Withdraw(withdrawal) = inbox.try_recv().unwrap() else { panic!("not a withdrawal") };
        assert_eq!((withdrawal.claim.id, withdrawal.doubt), (id, Doubt::MayLand));
        assert_eq!(gate.pending(), 1);
        drop(withdrawal);
        assert_eq!(gate.pending(), 0);
        assert!(inbox.try_recv().is_err());
    }

    #[test]
    fn unsent_and_settled_claims_send_nothing() {
        let (janitor, mut inbox) = mpsc::unbounded_channel();
        drop(place(janitor.clone()));
        let (settled, _) = place(janitor);
        settled.set_stage(Stage::Asked);
        settled.settled();
        drop(settled);
        assert!(inbox.try_recv().is_err());
    }

    #[test]
    fn a_fork_sees_its_copies_lost_and_withdraws_nothing() {
        let (janitor, mut inbox) = mpsc::unbounded_channel();
        let (mut place, _) = place(janitor);
        place.hold(Deadline::NEVER);
        assert!(place.is_held(Moment::ORIGIN));

        place.process = place.process.wrapping_add(1);

        assert!(!place.is_held(Moment::ORIGIN));
        drop(place);
        assert!(inbox.try_recv().is_err());
    }

    /// Interleaving 4: an answer that finds the deadline passed leaves nothing to be renewed for ever.
    #[test]
    fn a_claim_whose_renewal_comes_too_late_is_withdrawn() {
        let (janitor, mut inbox) = mpsc::unbounded_channel();
        let (place, _) = place(janitor);
        let at = |ms| Moment::ORIGIN + std::time::Duration::from_millis(ms);
        place.hold(Deadline::at(at(100)));

        place.renew(at(101), Deadline::at(at(200)));

        assert_eq!((place.stage(), place.tenure().cause()), (Stage::Leaving, Some(Cause::Expired)));
        assert!(inbox.try_recv().is_ok());
    }

    #[test]
    fn what_its_holder_lets_go_of_is_over_but_not_lost() {
        let (janitor, mut inbox) = mpsc::unbounded_channel();
        let (place, _) = place(janitor);
        place.hold(Deadline::NEVER);

        place.let_go();

        assert!(!place.is_held(Moment::ORIGIN) && !place.lose(Cause::Ousted));
        assert!(inbox.try_recv().is_err(), "whoever lets go withdraws");
    }

    /// Interleaving 4: a lost guard whose session lives on must not make its own successor wait.
    #[test]
    fn losing_a_held_claim_withdraws_it_at_once_and_only_once() {
        let (janitor, mut inbox) = mpsc::unbounded_channel();
        let (place, _) = place(janitor);
        place.hold(Deadline::NEVER);

        assert!(place.lose(Cause::Expired));
        assert!(!place.lose(Cause::Ousted));
        drop(place);

        assert!(inbox.try_recv().is_ok());
        assert!(inbox.try_recv().is_err());
    }

    /// Interleaving 4, between the two steps of whoever ends it: its holder is told, and has come further than they.
    #[tokio::test]
    async fn whoever_is_told_of_a_loss_finds_its_withdrawal_under_way() {
        let (janitor, mut inbox) = mpsc::unbounded_channel();
        let (place, gate) = place(janitor);
        place.hold(Deadline::NEVER);
        place.tenure().lose(Cause::Expired);
        assert_eq!(gate.pending(), 0);

        assert_eq!(place.lost().await, Cause::Expired);

        assert_eq!(gate.pending(), 1);
        assert!(!place.after_loss(Cause::Expired));
        drop(inbox.try_recv().unwrap());
        assert_eq!(gate.pending(), 0);
    }

    /// A new claim of the same coordinator waits for it all the same.
    #[test]
    fn who_is_ousted_is_withdrawn_when_the_guard_goes_and_the_seat_is_shut_until_then() {
        let (janitor, mut inbox) = mpsc::unbounded_channel();
        let (place, gate) = place(janitor);
        place.hold(Deadline::NEVER);

        assert!(place.lose(Cause::Ousted));

        assert!(inbox.try_recv().is_err());
        let mut open = std::pin::pin!(gate.open());
        assert!(open.as_mut().now_or_never().is_none());
        drop(place);
        let withdrawal = inbox.try_recv().unwrap();
        assert!(open.as_mut().now_or_never().is_none());
        drop(withdrawal);
        assert!(open.as_mut().now_or_never().is_some());
    }
}
