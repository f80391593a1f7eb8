//! Groups: who is alive, and what they say about themselves.

mod attendant;
mod diff;
mod enrolled;
mod mail;
mod membership;
mod roster;
mod view;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tracing::Instrument;

pub use diff::Event;
pub(crate) use enrolled::Enrolled;
pub use enrolled::MembershipState;
pub use membership::Membership;
pub use roster::{Member, Roster};
pub use view::View;

use crate::backend::{Created, Deleted, RosterFact};
use crate::capability::Capabilities;
use crate::coordinator::Coordinator;
use crate::election::Election;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::observe;
use crate::partition::{DEFAULT_PARTITIONS, Partitioned, Partitioner, Weight};
use crate::session::{Flight, Session, groups};

/// A group by name. Cheap to clone; looking at a group never creates it.
#[derive(Clone)]
pub struct Group {
    coord: Coordinator,
    name: Result<Name>,
}

impl Group {
    pub(crate) fn new(coord: Coordinator, name: &str) -> Self {
        Self { coord, name: Name::new(name) }
    }

    /// Creates the group.
    ///
    /// # Errors
    /// `GroupExists` if it is there already; else those of [every call](crate::Error#errors-of-every-call). A creation
    /// whose answer was lost is sent again and may then find the group it made itself.
    ///
    /// # Cancel safety
    /// The group may or may not be created when the future is dropped.
    ///
    /// # Round trips
    /// One. A Redis cluster: two.
    pub async fn create(&self) -> Result<()> {
        match self.create_if_missing().await? {
            true => Ok(()),
            false => Err(self.failed("create", Error::new(ErrorKind::GroupExists, "it exists already"))),
        }
    }

    /// Creates the group unless it is there; says whether it was created.
    ///
    /// # Errors
    /// Those of [every call](crate::Error#errors-of-every-call).
    ///
    /// # Cancel safety
    /// As for [`create`](Self::create).
    ///
    /// # Round trips
    /// As for [`create`](Self::create).
    pub async fn create_if_missing(&self) -> Result<bool> {
        let created = self.step("create", |session, name| {
            Box::pin(async move { groups(&*session.backend)?.create(&name).await })
        });
        Ok(created.await? == Created::New)
    }

    /// Deletes the group if nobody is in it.
    ///
    /// # Errors
    /// `NoSuchGroup`, `GroupNotEmpty`; else those of [every call](crate::Error#errors-of-every-call). A deletion whose
    /// answer was lost is sent again and may then find the group gone.
    ///
    /// # Cancel safety
    /// The group may or may not be deleted when the future is dropped.
    ///
    /// # Round trips
    /// One. More where members or elections of Python's left something behind, and two more on a Redis cluster.
    pub async fn delete(&self) -> Result<()> {
        let deleted = self.step("delete", |session, name| {
            Box::pin(async move { groups(&*session.backend)?.delete(&name).await })
        });
        match deleted.await? {
            Deleted::Gone => Ok(()),
            Deleted::Missing => Err(self.failed("delete", no_such_group())),
            Deleted::NotEmpty => {
                let text = "it still has members: they must leave first";
                Err(self.failed("delete", Error::new(ErrorKind::GroupNotEmpty, text)))
            }
        }
    }

    /// Whether the group exists.
    ///
    /// # Errors
    /// Those of [every call](crate::Error#errors-of-every-call).
    ///
    /// # Round trips
    /// As for [`members`](Self::members).
    pub async fn exists(&self) -> Result<bool> {
        Ok(self.look("look at").await?.is_some())
    }

    /// The live members and what they say about themselves.
    ///
    /// # Errors
    /// `NoSuchGroup`; else those of [every call](crate::Error#errors-of-every-call).
    ///
    /// # Round trips
    /// One. ZooKeeper: two, and three with members that were not met before. Redis: one more for a group that was not
    /// looked at lately, and one more where members are not ours.
    pub async fn members(&self) -> Result<Roster> {
        let fact = self.look("list members of").await?;
        let fact = fact.ok_or_else(|| self.failed("list members of", no_such_group()))?;
        Ok(Roster::from_fact(Some(fact)))
    }

    /// Joins the group under this coordinator's member id. `()` joins without capabilities.
    ///
    /// # Behavior
    /// The membership is renewed until it is given up. After a lost session it comes back by itself, with
    /// a new incarnation; see [`Membership::state`].
    ///
    /// # Errors
    /// `NoSuchGroup`; `AlreadyMember` if another live session, or this coordinator, is in it under this
    /// member id; `InvalidValue` for capabilities beyond the limits; else those of
    /// [every call](crate::Error#errors-of-every-call). A membership given up before is left first: `Unavailable` if the
    /// store cannot be told of that in time.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the group again if it was joined meanwhile.
    ///
    /// # Round trips
    /// One. Redis: two.
    ///
    /// ```
    /// # async fn run() -> tooz_core::Result<()> {
    /// # let coord = tooz_core::Registry::embedded().builder("memory://docs-join").member("w1").connect().await?;
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Caps { weight: u32 }
    ///
    /// let group = coord.group("workers");
    /// group.create_if_missing().await?;
    /// let me = group.join(&Caps { weight: 3 }).await?;
    /// let roster = group.members().await?;
    /// assert_eq!(roster.get("w1").unwrap().capabilities().read::<Caps>()?.weight, 3);
    /// me.leave().await?;
    /// # coord.close().await
    /// # }
    /// # pollster::block_on(run()).unwrap();
    /// ```
    pub async fn join<T: Serialize + ?Sized>(&self, capabilities: &T) -> Result<Membership> {
        self.join_with(Capabilities::of(capabilities)?).await
    }

    /// Joins with capabilities that are encoded already.
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    ///
    /// # Cancel safety
    /// As for [`join`](Self::join).
    ///
    /// # Round trips
    /// As for [`join`](Self::join).
    pub async fn join_with(&self, capabilities: Capabilities) -> Result<Membership> {
        let name = self.checked_name()?;
        membership::join(self.coord.core(), name.clone(), capabilities)
            .instrument(observe::call("join", &name))
            .await
            .map_err(|e| self.failed("join", e))
    }

    /// A live view of the members.
    ///
    /// # Errors
    /// As for [`members`](Self::members).
    pub async fn watch(&self) -> Result<View> {
        let name = self.checked_name()?;
        View::open(self.coord.core(), name).await.map_err(|e| self.failed("watch", e))
    }

    /// Joins as a member that takes `weight` parts of the keys, creating the group if it is missing.
    ///
    /// Python members do the same with `join_partitioned_group`.
    ///
    /// # Errors
    /// As for [`join`](Self::join). `NoSuchGroup` if somebody deletes the group between its creation and the joining.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the group again if it was joined meanwhile. The group may be created.
    ///
    /// # Round trips
    /// Those of [`create_if_missing`](Self::create_if_missing), [`join`](Self::join) and [`members`](Self::members).
    pub async fn join_partitioned(&self, weight: u32) -> Result<Partitioned> {
        self.create_if_missing().await?;
        let membership = self.join(&Weight { weight }).await?;
        let partitioner = self.partitioner().await?;
        Ok(Partitioned::new(membership, partitioner))
    }

    /// A live hash ring of the members, to be asked who is responsible for what. Asking takes no
    /// membership.
    ///
    /// # Errors
    /// As for [`watch`](Self::watch).
    pub async fn partitioner(&self) -> Result<Partitioner> {
        self.partitioner_with(DEFAULT_PARTITIONS).await
    }

    /// The same with another number of points on the ring for each weight of 1. All members must use the
    /// same number.
    ///
    /// # Errors
    /// As for [`watch`](Self::watch).
    pub async fn partitioner_with(&self, partitions: u32) -> Result<Partitioner> {
        let view = self.watch().await?;
        Ok(Partitioner::over(view, self.coord.member().clone(), partitions))
    }

    /// The election of the group's leader.
    pub fn election(&self) -> Election {
        Election::new(self.coord.clone(), self.name.clone())
    }

    async fn look(&self, deed: &'static str) -> Result<Option<RosterFact>> {
        self.step(deed, |session, name| members_step(session, name)).await
    }

    async fn step<T: Send + 'static>(
        &self,
        deed: &'static str,
        make: impl Fn(Arc<Session>, Name) -> Flight<T>,
    ) -> Result<T> {
        let name = self.checked_name()?;
        self.coord
            .core()
            .step(self.coord.lane(), deed, |session| make(session, name.clone()))
            .instrument(observe::call(deed, &name))
            .await
            .map_err(|e| self.failed(deed, e))
    }

    fn checked_name(&self) -> Result<Name> {
        self.name.clone().map_err(|e| e.while_doing("group"))
    }

    fn failed(&self, deed: &str, error: Error) -> Error {
        let name = self.name.as_ref().map_or("", Name::as_str).escape_debug();
        error.while_doing(format_args!("{deed} group \"{name}\" on {}", self.coord.endpoint()))
    }
}

pub(crate) fn members_step(session: Arc<Session>, group: Name) -> Flight<Option<RosterFact>> {
    Box::pin(async move { groups(&*session.backend)?.members(&group).await })
}

pub(crate) fn no_such_group() -> Error {
    Error::new(ErrorKind::NoSuchGroup, "no such group: create it first")
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({:?})", self.name)
    }
}
