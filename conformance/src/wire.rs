//! The line between core (or a case) and a driver: notes what passes, and can be cut.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;
use tooz_core::backend::{
    Amended, Backend, Batch, Created, Deleted, Doubt, Enrolment, Eviction, Grant, GroupSteps, Joined, Left,
    Limit, LockSteps, Mark, Position, Profile, Publication, Queue, Renewal, Retention, RosterFact, Standing,
    TopicSteps, Turn, Updated, Withdrawn,
};
use tooz_core::{Cause, Channel, Claim, ClaimId, Error, ErrorKind, Name, Offset, Result, Seat};

/// What was asked of the drivers in one case.
#[derive(Debug, Default)]
pub struct Traffic {
    seats: Mutex<BTreeSet<Seat>>,
    groups: Mutex<BTreeSet<Name>>,
    steps: std::sync::atomic::AtomicU64,
    channel_steps: std::sync::atomic::AtomicU64,
}

impl Traffic {
    /// Every seat that a step named.
    pub fn seats(&self) -> Vec<Seat> {
        locked(&self.seats).iter().cloned().collect()
    }

    /// Every group that a step named.
    pub fn groups(&self) -> Vec<Name> {
        locked(&self.groups).iter().cloned().collect()
    }

    /// How many steps were taken.
    pub fn steps(&self) -> u64 {
        self.steps.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// How many of them were about a channel.
    pub fn channel_steps(&self) -> u64 {
        self.channel_steps.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn channel(&self) {
        self.step();
        self.channel_steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn step(&self) {
        self.steps.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn seat(&self, seat: &Seat) {
        self.step();
        locked(&self.seats).insert(seat.clone());
    }

    fn group(&self, group: &Name) {
        self.step();
        locked(&self.groups).insert(group.clone());
    }
}

/// Whether the lines of one member are open. Clones work on the same lines.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(true))
    }
}

impl Gate {
    /// Cuts the lines: steps fail, waits hear nothing.
    pub fn cut(&self) {
        self.0.send_replace(false);
    }

    /// Joins the lines again.
    pub fn join(&self) {
        self.0.send_replace(true);
    }

    fn check(&self) -> Result<()> {
        if *self.0.borrow() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unavailable, "the line to the store is cut"))
    }

    async fn open(&self) {
        let mut state = self.0.subscribe();
        // The sender lives in `self`, so the wait cannot fail before it is over.
        let _ = state.wait_for(|open| *open).await;
    }
}

/// One session's line: every step is noted in the [`Traffic`] and passes only while the [`Gate`] is open.
pub struct Wire {
    inner: Arc<dyn Backend>,
    traffic: Arc<Traffic>,
    gate: Gate,
}

impl Wire {
    /// Puts a line before a session.
    pub fn new(inner: Arc<dyn Backend>, traffic: Arc<Traffic>, gate: Gate) -> Self {
        Self { inner, traffic, gate }
    }

    fn inner_locks(&self) -> Result<&dyn LockSteps> {
        self.gate.check()?;
        self.inner.locks().ok_or_else(|| Error::new(ErrorKind::Unsupported, "the store has no locks"))
    }

    fn inner_groups(&self) -> Result<&dyn GroupSteps> {
        self.gate.check()?;
        self.inner.groups().ok_or_else(|| Error::new(ErrorKind::Unsupported, "the store has no groups"))
    }

    fn inner_topics(&self) -> Result<&dyn TopicSteps> {
        self.traffic.channel();
        self.gate.check()?;
        self.inner.topics().ok_or_else(|| Error::new(ErrorKind::Unsupported, "the store has no topics"))
    }
}

#[async_trait]
impl Backend for Wire {
    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal> {
        self.traffic.step();
        self.gate.check()?;
        self.inner.renew(claims, memberships).await
    }

    async fn lost(&self) -> Cause {
        let cause = self.inner.lost().await;
        self.gate.open().await;
        cause
    }

    async fn close(&self) -> Result<()> {
        self.traffic.step();
        self.gate.check()?;
        self.inner.close().await
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

#[async_trait]
impl LockSteps for Wire {
    async fn claim(&self, claim: &Claim) -> Result<Standing> {
        self.traffic.seat(&claim.seat);
        self.inner_locks()?.claim(claim).await
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Option<Grant>> {
        self.traffic.seat(&claim.seat);
        self.inner_locks()?.try_claim(claim).await
    }

    async fn turn(&self, claim: &Claim, position: &Position) -> Turn {
        let Some(locks) = self.inner.locks() else { return Turn::AskAgain };
        let turn = locks.turn(claim, position).await;
        self.gate.open().await;
        turn
    }

    async fn amend(&self, claim: &Claim) -> Result<Amended> {
        self.traffic.seat(&claim.seat);
        self.inner_locks()?.amend(claim).await
    }

    async fn withdraw(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn> {
        self.traffic.seat(&claim.seat);
        self.inner_locks()?.withdraw(claim, doubt).await
    }

    async fn evict(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>> {
        self.traffic.seat(seat);
        self.inner_locks()?.evict(seat, how, only).await
    }

    async fn queue(&self, seat: &Seat) -> Result<Queue> {
        self.traffic.seat(seat);
        self.inner_locks()?.queue(seat).await
    }

    async fn stirred(&self, seat: &Seat, mark: Mark) {
        if let Some(locks) = self.inner.locks() {
            locks.stirred(seat, mark).await;
        }
        self.gate.open().await;
    }

    async fn ousted(&self, claim: &Claim) {
        if let Some(locks) = self.inner.locks() {
            locks.ousted(claim).await;
        }
        self.gate.open().await;
    }

    #[cfg(unix)]
    fn tether(&self, claim: &Claim) -> Option<std::os::fd::OwnedFd> {
        self.inner.locks()?.tether(claim)
    }
}

#[async_trait]
impl GroupSteps for Wire {
    async fn create(&self, group: &Name) -> Result<Created> {
        self.traffic.group(group);
        self.inner_groups()?.create(group).await
    }

    async fn delete(&self, group: &Name) -> Result<Deleted> {
        self.traffic.group(group);
        self.inner_groups()?.delete(group).await
    }

    async fn list(&self) -> Result<Vec<Name>> {
        self.traffic.step();
        self.inner_groups()?.list().await
    }

    async fn join(&self, enrolment: &Enrolment) -> Result<Joined> {
        self.traffic.group(&enrolment.group);
        self.inner_groups()?.join(enrolment).await
    }

    async fn leave(&self, enrolment: &Enrolment) -> Result<Left> {
        self.traffic.group(&enrolment.group);
        self.inner_groups()?.leave(enrolment).await
    }

    async fn update(&self, enrolment: &Enrolment) -> Result<Updated> {
        self.traffic.group(&enrolment.group);
        self.inner_groups()?.update(enrolment).await
    }

    async fn members(&self, group: &Name) -> Result<Option<RosterFact>> {
        self.traffic.group(group);
        self.inner_groups()?.members(group).await
    }

    async fn stirred(&self, group: &Name, mark: Option<Mark>) {
        if let Some(groups) = self.inner.groups() {
            groups.stirred(group, mark).await;
        }
        self.gate.open().await;
    }

    async fn expelled(&self, enrolment: &Enrolment) {
        if let Some(groups) = self.inner.groups() {
            groups.expelled(enrolment).await;
        }
        self.gate.open().await;
    }
}

#[async_trait]
impl TopicSteps for Wire {
    async fn publish(&self, publication: &Publication) -> Result<Offset> {
        self.inner_topics()?.publish(publication).await
    }

    async fn fetch(&self, channel: &Channel, after: Option<Offset>, limit: Limit) -> Result<Batch> {
        self.inner_topics()?.fetch(channel, after, limit).await
    }

    async fn trim(&self, channel: &Channel, retention: Retention) -> Result<u64> {
        self.inner_topics()?.trim(channel, retention).await
    }

    async fn stirred(&self, channel: &Channel, mark: Mark) {
        if let Some(topics) = self.inner.topics() {
            topics.stirred(channel, mark).await;
        }
        self.gate.open().await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
