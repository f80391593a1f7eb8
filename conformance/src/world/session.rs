//! One session with the store, spoken to without core.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tooz_core::backend::{
    Backend, Batch, Enrolment, Grant, GroupSteps, Limit, LockSteps, Position, Proof, Publication, Queue,
    RosterFact, Standing, TopicSteps, Turn,
};
use tooz_core::{Channel, Claim, ClaimId, MessageId, Mode, Name, Offset, Seat, SessionId};

use super::time::within;
use super::{fail, name};

/// One session and the shortest ways to speak to it. Facets are there: the case's needs say so.
pub struct Session {
    /// Its steps and waits.
    pub backend: Arc<dyn Backend>,
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub member: Name,
    /// What opening it proved.
    pub proof: Proof,
}

impl Session {
    /// Its steps and waits of locks.
    pub fn locks(&self) -> &dyn LockSteps {
        self.backend
            .locks()
            .ok_or("the profile declares locks, but there are none")
            .unwrap_or_else(fail("locks"))
    }

    /// Its steps and waits of groups.
    pub fn groups(&self) -> &dyn GroupSteps {
        let groups = self.backend.groups();
        groups.ok_or("the profile declares groups, but there are none").unwrap_or_else(fail("groups"))
    }

    /// Its steps and waits of topics.
    pub fn topics(&self) -> &dyn TopicSteps {
        let topics = self.backend.topics();
        topics.ok_or("the profile declares topics, but there are none").unwrap_or_else(fail("topics"))
    }

    /// A new message of this member, not sent yet.
    pub fn message(&self, channel: &Channel, body: impl Into<Bytes>) -> Publication {
        let (id, sender, body) = (MessageId::random(), self.member.clone(), body.into());
        Publication { id, channel: channel.clone(), sender, body }
    }

    /// Publishes the message.
    pub async fn publish(&self, publication: &Publication) -> Offset {
        within("publish", self.topics().publish(publication)).await.unwrap_or_else(fail("publish"))
    }

    /// Publishes a new message.
    pub async fn say(&self, channel: &Channel, body: impl Into<Bytes>) -> Offset {
        self.publish(&self.message(channel, body)).await
    }

    /// What follows `after`, as much of it as there is room for.
    pub async fn fetch(&self, channel: &Channel, after: Option<Offset>) -> Batch {
        let limit = Limit { messages: 1000, bytes: 4 * 1024 * 1024 };
        within("fetch", self.topics().fetch(channel, after, limit)).await.unwrap_or_else(fail("fetch"))
    }

    /// Waits until something may have been published since it was seen so.
    pub async fn channel_stirred(&self, channel: &Channel, seen: &Batch) {
        until(self.topics().stirred(channel, seen.mark), seen.revisit).await;
    }

    /// A new exclusive claim, not sent yet.
    pub fn claim_on(&self, seat: &Seat) -> Claim {
        let (id, mode, value) = (ClaimId::random(), Mode::Exclusive, Bytes::new());
        Claim { id, seat: seat.clone(), mode, member: self.member.clone(), value }
    }

    /// A new shared claim, not sent yet.
    pub fn shared_on(&self, seat: &Seat) -> Claim {
        Claim { mode: Mode::Shared, ..self.claim_on(seat) }
    }

    /// Sends the claim and says where it stands.
    pub async fn send(&self, claim: &Claim) -> Standing {
        within("claim", self.locks().claim(claim)).await.unwrap_or_else(fail("claim"))
    }

    /// Sends the claim, which must hold at once.
    pub async fn take(&self, claim: &Claim) -> Grant {
        match self.send(claim).await {
            Standing::Held(grant) => grant,
            Standing::Waiting(position) => fail("take a free seat")(format!("waits at {position:?}")),
        }
    }

    /// Sends the claim, which must queue.
    pub async fn enqueue(&self, claim: &Claim) -> Position {
        match self.send(claim).await {
            Standing::Waiting(position) => position,
            Standing::Held(grant) => fail("queue for a held seat")(format!("was granted: {grant:?}")),
        }
    }

    /// Sends the claim and waits until it holds.
    pub async fn hold(&self, claim: &Claim) -> Grant {
        within("hold", async {
            loop {
                match self.send(claim).await {
                    Standing::Held(grant) => return grant,
                    Standing::Waiting(position) => {
                        let turn = self.locks().turn(claim, &position);
                        if let Some(Turn::Granted(grant)) = until(turn, position.revisit).await {
                            return grant;
                        }
                    }
                }
            }
        })
        .await
    }

    /// Takes the seat if it is free.
    pub async fn attempt(&self, claim: &Claim) -> Option<Grant> {
        within("try", self.locks().try_claim(claim)).await.unwrap_or_else(fail("try"))
    }

    /// Withdraws a claim of which every attempt was answered, which must have been there.
    pub async fn give_back(&self, claim: &Claim) {
        let doubt = tooz_core::backend::Doubt::None;
        let found =
            within("withdraw", self.locks().withdraw(claim, doubt)).await.unwrap_or_else(fail("withdraw"));
        assert_eq!(found, tooz_core::backend::Withdrawn::Removed, "withdraw {claim:?}");
    }

    /// Who holds and who waits.
    pub async fn queue(&self, seat: &Seat) -> Queue {
        within("queue", self.locks().queue(seat)).await.unwrap_or_else(fail("queue"))
    }

    /// An enrolment of this session with these capabilities, not sent yet.
    pub fn enrolment(&self, group: &Name, capabilities: &'static [u8]) -> Enrolment {
        Enrolment {
            group: group.clone(),
            member: self.member.clone(),
            session: self.id,
            replaces: None,
            capabilities: Bytes::from_static(capabilities),
        }
    }

    /// The live members, if the group exists.
    pub async fn members(&self, group: &Name) -> Option<RosterFact> {
        within("members", self.groups().members(group)).await.unwrap_or_else(fail("members"))
    }

    /// Waits until the group may have changed since it was seen so.
    pub async fn group_stirred(&self, group: &Name, seen: Option<&RosterFact>) {
        let wait = self.groups().stirred(group, seen.map(|roster| roster.mark));
        until(wait, seen.and_then(|roster| roster.revisit)).await;
    }

    /// Waits until the seat may have changed since it was seen so.
    pub async fn seat_stirred(&self, seat: &Seat, seen: &Queue) {
        until(self.locks().stirred(seat, seen.mark), seen.revisit).await;
    }

    /// Closes the session.
    pub async fn closed(self) {
        within("close", self.backend.close()).await.unwrap_or_else(fail("close"));
    }
}

/// The wait, for as long as its step said that it may be relied on.
async fn until<T>(wait: impl Future<Output = T>, revisit: Option<Duration>) -> Option<T> {
    match revisit {
        Some(revisit) => tokio::time::timeout(revisit, wait).await.ok(),
        None => Some(wait.await),
    }
}

/// The lock of this name.
pub(crate) fn lock(text: &str) -> Seat {
    Seat::Lock(name(text))
}

/// The leadership of this group.
pub(crate) fn leader(text: &str) -> Seat {
    Seat::Leader(name(text))
}
