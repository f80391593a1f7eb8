//! Which step may suffer what.

use async_trait::async_trait;
use tooz_core::backend::{
    Amended, Backend, Batch, Created, Deleted, Doubt, Enrolment, Eviction, Grant, GroupSteps, Joined, Left,
    Limit, LockSteps, Mark, Position, Profile, Publication, Queue, Renewal, Retention, RosterFact, Standing,
    TopicSteps, Turn, Updated, Withdrawn,
};
use tooz_core::memory::Step;
use tooz_core::{Cause, Channel, Claim, ClaimId, Error, ErrorKind, Name, Offset, Result, Seat};

use super::stale::perhaps;
use super::{Faulty, locked};

impl Faulty {
    fn looks_back(&self) -> bool {
        self.odds.stale > 0 && locked(&self.dice).percent(self.odds.stale)
    }

    fn inner_locks(&self) -> Result<&dyn LockSteps> {
        self.inner.locks().ok_or_else(|| Error::new(ErrorKind::Unsupported, "the store has no locks"))
    }

    fn inner_groups(&self) -> Result<&dyn GroupSteps> {
        self.inner.groups().ok_or_else(|| Error::new(ErrorKind::Unsupported, "the store has no groups"))
    }

    fn inner_topics(&self) -> Result<&dyn TopicSteps> {
        self.inner.topics().ok_or_else(|| Error::new(ErrorKind::Unsupported, "the store has no topics"))
    }
}

#[async_trait]
impl Backend for Faulty {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal> {
        self.pass(None, || self.inner.renew(claims, memberships)).await
    }

    async fn lost(&self) -> Cause {
        // The one wait that never ends early.
        let cause = self.inner.lost().await;
        self.hears().await;
        cause
    }

    async fn close(&self) -> Result<()> {
        self.pass(None, || self.inner.close()).await
    }

    fn locks(&self) -> Option<&dyn LockSteps> {
        self.inner.locks().map(|_| self as &dyn LockSteps)
    }

    fn groups(&self) -> Option<&dyn GroupSteps> {
        self.inner.groups().map(|_| self as &dyn GroupSteps)
    }

    fn topics(&self) -> Option<&dyn TopicSteps> {
        self.inner.topics().map(|_| self as &dyn TopicSteps)
    }
}

/// Claims and withdrawals carry an id, and a withdrawal in doubt makes its claim void: both may arrive after
/// anything else.
#[async_trait]
impl LockSteps for Faulty {
    async fn claim(&self, claim: &Claim) -> Result<Standing> {
        let locks = self.inner_locks()?;
        self.pass(Some(Step::Claim(claim.clone())), || locks.claim(claim)).await
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Option<Grant>> {
        let locks = self.inner_locks()?;
        self.pass(Some(Step::TryClaim(claim.clone())), || locks.try_claim(claim)).await
    }

    async fn turn(&self, claim: &Claim, position: &Position) -> Turn {
        let Some(locks) = self.inner.locks() else { return Turn::AskAgain };
        if self.ends_early().await {
            return Turn::AskAgain;
        }
        let turn = locks.turn(claim, position).await;
        if self.hears().await { turn } else { Turn::AskAgain }
    }

    async fn amend(&self, claim: &Claim) -> Result<Amended> {
        // Values carry no version: a late one would overwrite a newer one, and no driver could tell.
        let locks = self.inner_locks()?;
        self.pass(None, || locks.amend(claim)).await
    }

    async fn withdraw(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn> {
        let locks = self.inner_locks()?;
        self.pass(Some(Step::Withdraw(claim.clone(), doubt)), || locks.withdraw(claim, doubt)).await
    }

    async fn evict(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>> {
        // Without names, a late eviction would hit a later holder.
        let locks = self.inner_locks()?;
        let step = Step::Evict { seat: seat.clone(), how, only: only.to_vec() };
        self.pass((!only.is_empty()).then_some(step), || locks.evict(seat, how, only)).await
    }

    async fn queue(&self, seat: &Seat) -> Result<Queue> {
        let locks = self.inner_locks()?;
        let now = self.pass(None, || locks.queue(seat)).await?;
        Ok(perhaps(&self.stale.queues, seat.clone(), now, self.looks_back()))
    }

    async fn stirred(&self, seat: &Seat, mark: Mark) {
        let Some(locks) = self.inner.locks() else { return };
        if self.ends_early().await {
            return;
        }
        locks.stirred(seat, mark).await;
        self.hears().await;
    }

    async fn ousted(&self, claim: &Claim) {
        if let Some(locks) = self.inner.locks() {
            locks.ousted(claim).await;
            self.hears().await;
        }
    }

    #[cfg(unix)]
    fn tether(&self, claim: &Claim) -> Option<std::os::fd::OwnedFd> {
        self.inner.locks()?.tether(claim)
    }
}

/// Steps of groups carry no id of their own and nothing makes one void: given up, they still arrive in
/// order, as on one connection.
#[async_trait]
impl GroupSteps for Faulty {
    async fn create(&self, group: &Name) -> Result<Created> {
        let groups = self.inner_groups()?;
        self.pass(None, || groups.create(group)).await
    }

    async fn delete(&self, group: &Name) -> Result<Deleted> {
        let groups = self.inner_groups()?;
        self.pass(None, || groups.delete(group)).await
    }

    async fn list(&self) -> Result<Vec<Name>> {
        let groups = self.inner_groups()?;
        self.pass(None, || groups.list()).await
    }

    async fn join(&self, enrolment: &Enrolment) -> Result<Joined> {
        let groups = self.inner_groups()?;
        self.pass(None, || groups.join(enrolment)).await
    }

    async fn leave(&self, enrolment: &Enrolment) -> Result<Left> {
        let groups = self.inner_groups()?;
        self.pass(None, || groups.leave(enrolment)).await
    }

    async fn update(&self, enrolment: &Enrolment) -> Result<Updated> {
        let groups = self.inner_groups()?;
        self.pass(None, || groups.update(enrolment)).await
    }

    async fn members(&self, group: &Name) -> Result<Option<RosterFact>> {
        let groups = self.inner_groups()?;
        let now = self.pass(None, || groups.members(group)).await?;
        Ok(perhaps(&self.stale.rosters, group.clone(), now, self.looks_back()))
    }

    async fn stirred(&self, group: &Name, mark: Option<Mark>) {
        let Some(groups) = self.inner.groups() else { return };
        if self.ends_early().await {
            return;
        }
        groups.stirred(group, mark).await;
        self.hears().await;
    }

    async fn expelled(&self, enrolment: &Enrolment) {
        if let Some(groups) = self.inner.groups() {
            groups.expelled(enrolment).await;
            self.hears().await;
        }
    }
}

/// A publish carries an id, so a copy of it may arrive after anything else.
#[async_trait]
impl TopicSteps for Faulty {
    async fn publish(&self, publication: &Publication) -> Result<Offset> {
        let topics = self.inner_topics()?;
        self.pass(Some(Step::Publish(publication.clone())), || topics.publish(publication)).await
    }

    async fn fetch(&self, channel: &Channel, after: Option<Offset>, limit: Limit) -> Result<Batch> {
        let topics = self.inner_topics()?;
        self.pass(None, || topics.fetch(channel, after, limit)).await
    }

    async fn trim(&self, channel: &Channel, retention: Retention) -> Result<u64> {
        let topics = self.inner_topics()?;
        self.pass(None, || topics.trim(channel, retention)).await
    }

    async fn stirred(&self, channel: &Channel, mark: Mark) {
        let Some(topics) = self.inner.topics() else { return };
        if self.ends_early().await {
            return;
        }
        topics.stirred(channel, mark).await;
        self.hears().await;
    }
}
