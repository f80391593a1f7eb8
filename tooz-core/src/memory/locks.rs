//! Steps and waits of locks and elections.

use async_trait::async_trait;

use super::backend::MemoryBackend;
use super::state::Subject;
use crate::backend::{
    Amended, Doubt, Eviction, Grant, LockSteps, Mark, Position, Queue, Standing, Turn, Withdrawn,
};
use crate::claim::{Claim, Seat};
use crate::error::Result;
use crate::id::ClaimId;

#[async_trait]
impl LockSteps for MemoryBackend {
    async fn claim(&self, claim: &Claim) -> Result<Standing> {
        self.ask(|state, now| state.claim(now, self.session, claim))
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Option<Grant>> {
        self.ask(|state, now| state.try_claim(now, self.session, claim))
    }

    async fn turn(&self, claim: &Claim, _position: &Position) -> Turn {
        let subject = Subject::Claim(self.session, claim.id);
        self.until(subject, |state| state.turn(self.session, claim)).await.unwrap_or(Turn::AskAgain)
    }

    async fn amend(&self, claim: &Claim) -> Result<Amended> {
        self.ask(|state, now| state.amend(now, self.session, claim))
    }

    async fn withdraw(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn> {
        self.tell(|state, now| state.withdraw(now, self.session, claim, doubt))
    }

    async fn evict(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>> {
        self.tell(|state, now| state.evict(now, seat, how, only))
    }

    async fn queue(&self, seat: &Seat) -> Result<Queue> {
        self.tell(|state, now| state.queue(now, seat))
    }

    async fn stirred(&self, seat: &Seat, mark: Mark) {
        let subject = Subject::Seat(seat.clone());
        self.until(subject, |state| (state.seat_mark(seat) != mark).then_some(())).await;
    }

    async fn ousted(&self, claim: &Claim) {
        let subject = Subject::Claim(self.session, claim.id);
        self.until(subject, |state| state.is_ousted(self.session, claim).then_some(())).await;
    }

    #[cfg(unix)]
    fn tether(&self, _claim: &Claim) -> Option<std::os::fd::OwnedFd> {
        None
    }
}
