//! Being a member: joined, told of, given up.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::attendant::{Attendant, Wish, already_member};
use super::{Enrolled, MembershipState};
use crate::capability::Capabilities;
use crate::error::{Error, ErrorKind, Result};
use crate::lost::Cause;
use crate::name::Name;
use crate::session::ended;
use crate::shared::Core;
use crate::watched::Watched;

/// A membership of a group, renewed until given up.
///
/// # On drop
/// Leaves the group in the background. [`detach`](Self::detach) is the way out.
#[must_use = "dropping the membership leaves the group"]
pub struct Membership {
    enrolled: Arc<Enrolled>,
    core: Arc<Core>,
    wishes: mpsc::UnboundedSender<Wish>,
    stays: bool,
}

impl Drop for Membership {
    fn drop(&mut self) {
        if !self.stays {
            self.enrolled.begin_leaving();
        }
    }
}

/// Joins a group; the attending task does all the talking.
pub(super) async fn join(core: &Arc<Core>, group: Name, capabilities: Capabilities) -> Result<Membership> {
    if let Some(cause) = core.ending() {
        return Err(ended(cause));
    }
    let enrolled = Arc::new(Enrolled::new(group));
    let until = core.now() + core.settings().timeout;
    while let Err(there) = core.ledger().enrol(&enrolled) {
        if !there.is_leaving() {
            return Err(already_member("this coordinator is in it already"));
        }
        if core.now() >= until {
            let text = "the membership given up before is still being left: try again";
            return Err(Error::new(ErrorKind::Unavailable, text));
        }
        // A membership that was just dropped leaves first, as a dropped lock is given back first.
        tokio::select! {
            biased;
            () = there.left() => {}
            () = core.sleep(until.since(core.now())) => {}
        }
    }
    let (wishes, inbox) = mpsc::unbounded_channel();
    let (answer, joined) = oneshot::channel();
    let attendant = Attendant::new(core, &enrolled, capabilities, inbox);
    core.engine().spawn(attendant.run(answer));
    let membership = Membership { enrolled, core: Arc::clone(core), wishes, stays: false };
    let joined = joined.await;
    joined.unwrap_or_else(|_| Err(Error::new(ErrorKind::Unavailable, "the engine's runtime ended")))?;
    Ok(membership)
}

impl Membership {
    /// The group.
    pub fn group(&self) -> &Name {
        self.enrolled.group()
    }

    /// The member id.
    pub fn member(&self) -> &Name {
        &self.core.settings().member
    }

    /// How it stands, to look at or to wait for.
    pub fn state(&self) -> Watched<MembershipState> {
        Watched::new(self.enrolled.state())
    }

    /// Replaces the capabilities. They stay in force when the membership comes back after a lost session.
    ///
    /// # Errors
    /// `InvalidValue` beyond the limits; `NotMember` if the membership is over, or was just lost and comes back with the
    /// new ones; else those of [every call](crate::Error#errors-of-every-call). What fails with
    /// [`Effect::None`](crate::Effect::None) changes nothing, also when the membership comes back. An attempt whose answer
    /// was lost may, on Redis and etcd, be carried out late, and replace newer capabilities.
    ///
    /// # Cancel safety
    /// The capabilities may or may not be replaced when the future is dropped.
    ///
    /// # Round trips
    /// One. ZooKeeper: two.
    pub async fn update<T: Serialize + ?Sized>(&self, capabilities: &T) -> Result<()> {
        self.update_with(Capabilities::of(capabilities)?).await
    }

    /// Replaces the capabilities by ones that are encoded already.
    ///
    /// # Errors
    /// As for [`update`](Self::update).
    ///
    /// # Cancel safety
    /// As for [`update`](Self::update).
    ///
    /// # Round trips
    /// As for [`update`](Self::update).
    pub async fn update_with(&self, capabilities: Capabilities) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.wish(Wish::Update(capabilities, answer), answered).await.map_err(|e| self.failed("update", e))
    }

    /// Leaves the group and waits until the store has confirmed it.
    ///
    /// # Errors
    /// `NotMember` if the membership was over before, `Closed` if the coordinator was; `Unavailable` if the store stays
    /// silent; leaving then goes on in the background.
    ///
    /// # Cancel safety
    /// Leaving goes on when the future is dropped.
    ///
    /// # Round trips
    /// One. ZooKeeper: two. While the membership is coming back, those of a [join](super::Group::join) more: what still
    /// stands under the lost session is taken over first, which watchers may see.
    pub async fn leave(self) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.wish(Wish::Leave(answer), answered).await.map_err(|e| self.failed("leave", e))
    }

    /// Stops minding: the membership stays and comes back until the coordinator is closed or dropped.
    pub fn detach(mut self) {
        self.stays = true;
        // Fails when the membership is over.
        let _ = self.wishes.send(Wish::Detach);
    }

    async fn wish(&self, wish: Wish, answered: oneshot::Receiver<Result<()>>) -> Result<()> {
        let over = || Err(self.core.ending().map_or_else(not_member, ended));
        if self.core.engine().is_foreign_process() {
            return Err(ended(Cause::Forked));
        }
        if self.wishes.send(wish).is_err() {
            return over();
        }
        answered.await.unwrap_or_else(|_| over())
    }

    fn failed(&self, deed: &str, error: Error) -> Error {
        error.while_doing(format_args!("{deed} group \"{}\" on {}", self.group(), self.core.endpoint()))
    }
}

fn not_member() -> Error {
    Error::new(ErrorKind::NotMember, "the membership is over")
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Membership({} in {}, {:?})", self.member(), self.group(), self.enrolled.state().get())
    }
}
