//! The steps and waits of a session.

use async_trait::async_trait;

use super::{
    Amended, Created, Deleted, Doubt, Enrolment, Eviction, Grant, Joined, Left, Mark, Position, Profile,
    Queue, Renewal, RosterFact, Standing, TopicSteps, Turn, Updated, Withdrawn,
};
use crate::claim::{Claim, Seat};
use crate::error::Result;
use crate::id::ClaimId;
use crate::lost::Cause;
use crate::name::Name;

/// One session with a store.
///
/// Dropping the last reference without [`close`](Backend::close) orphans the session: it is no longer
/// renewed, its connections and files are closed, and the store frees the rest when its time is up.
#[async_trait]
pub trait Backend: Send + Sync {
    /// What this store, as connected, offers.
    fn profile(&self) -> &Profile;

    /// Step: renews the session, the claims and the memberships, all in one round trip where the store
    /// allows. A proof applies only to what was passed in. Never called where liveness is
    /// [`Kernel`](super::Liveness::Kernel).
    async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal>;

    /// Wait: ends when the session is known to have ended, never before. Pending where only renewals tell.
    async fn lost(&self) -> Cause;

    /// Step: ends the session and frees everything under it at once.
    async fn close(&self) -> Result<()>;

    /// Locks and elections, if the store has them.
    fn locks(&self) -> Option<&dyn LockSteps>;

    /// Groups, if the store has them.
    fn groups(&self) -> Option<&dyn GroupSteps>;

    /// Topics, if the store has them.
    fn topics(&self) -> Option<&dyn TopicSteps>;
}

/// Steps and waits of locks and elections.
#[async_trait]
pub trait LockSteps: Send + Sync {
    /// Step: takes the seat or a place in its queue. Sent again, it reports where the claim stands.
    ///
    /// The order of tests is rule 10: a claim made void by a withdrawal is answered with
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed), one that holds with its grant, one that waits with
    /// its place.
    async fn claim(&self, claim: &Claim) -> Result<Standing>;

    /// Step: takes the seat if it is free and nobody waits; otherwise leaves nothing behind.
    async fn try_claim(&self, claim: &Claim) -> Result<Option<Grant>>;

    /// Wait: ends when the claim was granted, or when it should be sent again because its turn may have
    /// come, its own entry is gone, or the session ended.
    async fn turn(&self, claim: &Claim, position: &Position) -> Turn;

    /// Step: replaces the value of a claim that holds. `claim.value` is the new one.
    async fn amend(&self, claim: &Claim) -> Result<Amended>;

    /// Step: release, give up and clean up in one: the claim neither holds nor waits afterwards, even if it
    /// was granted meanwhile; the seat may be passed on to the next in the queue.
    async fn withdraw(&self, claim: &Claim, doubt: Doubt) -> Result<Withdrawn>;

    /// Step: tells the holders to let go ([`Eviction::Notice`]), or removes them ([`Eviction::Force`]). With
    /// claims named in `only`, just those, so that a later holder is not hit; reports whom it dealt with.
    async fn evict(&self, seat: &Seat, how: Eviction, only: &[ClaimId]) -> Result<Vec<ClaimId>>;

    /// Step: who holds and who waits. Changes nothing, creates nothing.
    async fn queue(&self, seat: &Seat) -> Result<Queue>;

    /// Wait: ends when the holders or the queue of the seat may have changed since `mark`.
    async fn stirred(&self, seat: &Seat, mark: Mark);

    /// Wait: ends when a claim that holds was told to let go or no longer holds. Pending where only
    /// renewals tell.
    async fn ousted(&self, claim: &Claim);

    /// A descriptor that keeps the claim held for as long as it stays open in any process; `None` where
    /// the store has no such thing. Lets a supervisor outlive the process that took the lock.
    #[cfg(unix)]
    fn tether(&self, claim: &Claim) -> Option<std::os::fd::OwnedFd>;
}

/// Steps and waits of groups.
#[async_trait]
pub trait GroupSteps: Send + Sync {
    /// Step: creates the group.
    async fn create(&self, group: &Name) -> Result<Created>;

    /// Step: deletes the group if nobody is in it.
    async fn delete(&self, group: &Name) -> Result<Deleted>;

    /// Step: the names of all groups, in any order.
    async fn list(&self) -> Result<Vec<Name>>;

    /// Step: makes the session a member. An entry of `replaces` gives way; a live namesake never does.
    async fn join(&self, enrolment: &Enrolment) -> Result<Joined>;

    /// Step: ends this session's membership; another session's under the same member id stays.
    async fn leave(&self, enrolment: &Enrolment) -> Result<Left>;

    /// Step: replaces the capabilities of this session's membership.
    async fn update(&self, enrolment: &Enrolment) -> Result<Updated>;

    /// Step: the live members; `None` if there is no such group. Changes nothing, creates nothing.
    async fn members(&self, group: &Name) -> Result<Option<RosterFact>>;

    /// Wait: ends when the group's members, their capabilities or its existence may have changed since
    /// `mark`. With `None` (the look found no such group), when it may have been created; a driver that
    /// cannot watch for that ends the wait when it can look again at no cost to anyone.
    async fn stirred(&self, group: &Name, mark: Option<Mark>);

    /// Wait: ends when this session's membership stands no more. Pending where only renewals tell.
    async fn expelled(&self, enrolment: &Enrolment);
}
