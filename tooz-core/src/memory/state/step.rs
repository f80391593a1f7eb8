//! Every step and every fact as a value, so that histories can be drawn, kept and compared.

use super::{Refusal, State};
use crate::backend::{
    Amended, Backend, Batch, Created, Deleted, Doubt, Enrolment, Eviction, Grant, Joined, Left, Limit, Mark,
    Position, Proof, Publication, Queue, Renewal, Retention, RosterFact, Standing, Updated, Withdrawn,
};
use crate::channel::Channel;
use crate::claim::{Claim, FencingToken, Seat};
use crate::clock::Moment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ClaimId, Incarnation, SessionId};
use crate::name::Name;
use crate::offset::Offset;

/// One step of the driver interface with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named after the steps of `backend::{Backend, LockSteps, GroupSteps, TopicSteps}`
pub enum Step {
    Renew { claims: Vec<Claim>, memberships: Vec<Enrolment> },
    Close,
    Claim(Claim),
    TryClaim(Claim),
    Amend(Claim),
    Withdraw(Claim, Doubt),
    Evict { seat: Seat, how: Eviction, only: Vec<ClaimId> },
    Queue(Seat),
    Create(Name),
    Delete(Name),
    List,
    Join(Enrolment),
    Leave(Enrolment),
    Update(Enrolment),
    Members(Name),
    Publish(Publication),
    Fetch { channel: Channel, after: Option<Offset>, limit: Limit },
    Trim { channel: Channel, retention: Retention },
}

/// What a [`Step`] reported.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // named after the steps
pub enum Fact {
    Renewed(Renewal),
    Closed,
    Claimed(Standing),
    Tried(Option<Grant>),
    Amended(Amended),
    Withdrawn(Withdrawn),
    Evicted(Vec<ClaimId>),
    Queue(Queue),
    Created(Created),
    Deleted(Deleted),
    List(Vec<Name>),
    Joined(Joined),
    Left(Left),
    Updated(Updated),
    Members(Option<RosterFact>),
    Published(Offset),
    Fetched(Batch),
    Trimmed(u64),
}

impl State {
    /// Takes one step of `session` at `now`.
    ///
    /// # Errors
    /// [`Refusal`] where a driver answers with an error.
    pub fn apply(&mut self, now: Moment, session: SessionId, step: &Step) -> Result<Fact, Refusal> {
        Ok(match step {
            Step::Renew { claims, memberships } => {
                Fact::Renewed(self.renew(now, now, session, claims, memberships)?)
            }
            Step::Close => {
                self.close(now, session);
                Fact::Closed
            }
            Step::Claim(claim) => Fact::Claimed(self.claim(now, session, claim)?),
            Step::TryClaim(claim) => Fact::Tried(self.try_claim(now, session, claim)?),
            Step::Amend(claim) => Fact::Amended(self.amend(now, session, claim)?),
            Step::Withdraw(claim, doubt) => Fact::Withdrawn(self.withdraw(now, session, claim, *doubt)),
            Step::Evict { seat, how, only } => Fact::Evicted(self.evict(now, seat, *how, only)),
            Step::Queue(seat) => Fact::Queue(self.queue(now, seat)),
            Step::Create(group) => Fact::Created(self.create(now, group)),
            Step::Delete(group) => Fact::Deleted(self.delete(now, group)),
            Step::List => Fact::List(self.list(now)),
            Step::Join(enrolment) => Fact::Joined(self.join(now, session, enrolment)?),
            Step::Leave(enrolment) => Fact::Left(self.leave(now, session, enrolment)),
            Step::Update(enrolment) => Fact::Updated(self.update(now, session, enrolment)?),
            Step::Members(group) => Fact::Members(self.members(now, group)),
            Step::Publish(publication) => Fact::Published(self.publish(now, publication)),
            Step::Fetch { channel, after, limit } => Fact::Fetched(self.fetch(now, channel, *after, *limit)),
            Step::Trim { channel, retention } => Fact::Trimmed(self.trim(now, channel, *retention)),
        })
    }
}

impl Step {
    /// Takes the step on any driver, so that its fact can be compared with that of a [`State`].
    ///
    /// # Errors
    /// Those of the driver; [`ErrorKind::Unsupported`] where it lacks the facet.
    pub async fn send(&self, backend: &dyn Backend) -> Result<Fact> {
        let lacks = |facet: &str| Error::new(ErrorKind::Unsupported, format!("the store has no {facet}"));
        let locks = || backend.locks().ok_or_else(|| lacks("locks"));
        let groups = || backend.groups().ok_or_else(|| lacks("groups"));
        let topics = || backend.topics().ok_or_else(|| lacks("topics"));
        Ok(match self {
            Self::Renew { claims, memberships } => Fact::Renewed(backend.renew(claims, memberships).await?),
            Self::Close => {
                backend.close().await?;
                Fact::Closed
            }
            Self::Claim(claim) => Fact::Claimed(locks()?.claim(claim).await?),
            Self::TryClaim(claim) => Fact::Tried(locks()?.try_claim(claim).await?),
            Self::Amend(claim) => Fact::Amended(locks()?.amend(claim).await?),
            Self::Withdraw(claim, doubt) => Fact::Withdrawn(locks()?.withdraw(claim, *doubt).await?),
            Self::Evict { seat, how, only } => Fact::Evicted(locks()?.evict(seat, *how, only).await?),
            Self::Queue(seat) => Fact::Queue(locks()?.queue(seat).await?),
            Self::Create(group) => Fact::Created(groups()?.create(group).await?),
            Self::Delete(group) => Fact::Deleted(groups()?.delete(group).await?),
            Self::List => Fact::List(groups()?.list().await?),
            Self::Join(enrolment) => Fact::Joined(groups()?.join(enrolment).await?),
            Self::Leave(enrolment) => Fact::Left(groups()?.leave(enrolment).await?),
            Self::Update(enrolment) => Fact::Updated(groups()?.update(enrolment).await?),
            Self::Members(group) => Fact::Members(groups()?.members(group).await?),
            Self::Publish(publication) => Fact::Published(topics()?.publish(publication).await?),
            Self::Fetch { channel, after, limit } => {
                Fact::Fetched(topics()?.fetch(channel, *after, *limit).await?)
            }
            Self::Trim { channel, retention } => Fact::Trimmed(topics()?.trim(channel, *retention).await?),
        })
    }
}

impl Fact {
    /// The fact without what drivers may rightly differ in: proofs, numbers of tokens and marks, incarnations,
    /// notes on places, ages, times and the order of what comes in any order. Two drivers that did the same are
    /// equal in this.
    #[must_use]
    pub fn essence(mut self) -> Self {
        match &mut self {
            Self::Renewed(renewal) => {
                renewal.proof = Proof::Kernel;
                renewal.ousted.sort_unstable();
                renewal.stray.sort_unstable_by_key(|claim| claim.id);
                renewal.expelled.sort_unstable();
            }
            Self::Claimed(Standing::Held(grant)) | Self::Tried(Some(grant)) => *grant = blank(),
            Self::Claimed(Standing::Waiting(position)) => {
                *position = Position { ahead: None, ticket: bytes::Bytes::new(), revisit: None };
            }
            Self::Queue(queue) => {
                queue.mark = Mark::default();
                queue.revisit = None;
                for holder in &mut queue.holders {
                    (holder.token, holder.age) = (None, None);
                }
            }
            Self::Evicted(claims) => claims.sort_unstable(),
            Self::List(groups) => groups.sort_unstable(),
            Self::Members(Some(roster)) => {
                roster.mark = Mark::default();
                roster.revisit = None;
                roster.members.iter_mut().for_each(|entry| entry.joined_at = None);
                roster.members.sort_unstable_by(|a, b| a.member.cmp(&b.member));
            }
            Self::Published(offset) => *offset = numbered(*offset),
            Self::Fetched(batch) => {
                (batch.mark, batch.revisit) = (Mark::default(), None);
                batch.last = batch.last.map(numbered);
                for message in &mut batch.messages {
                    (message.offset, message.published_at) = (numbered(message.offset), None);
                }
            }
            _ => {}
        }
        self
    }
}

fn blank() -> Grant {
    Grant { token: FencingToken::new(0), proof: Proof::Kernel }
}

/// Incarnations and places are each store's own; the count is everybody's.
fn numbered(offset: Offset) -> Offset {
    Offset::new(Incarnation::from_bytes([0; 16]), offset.number(), 0)
}
