//! Elections: at most one leader of a group, with a value, a term and observers.

mod leadership;
mod observer;

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument;

pub use leadership::Leadership;
pub(crate) use leadership::proclaim;
pub use observer::{Observation, Observer};

use crate::backend::{Holder, Queue};
use crate::claim::{FencingToken, Mode, Seat};
use crate::coordinator::Coordinator;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::{Contest, Patience, QueueView, look};
use crate::name::Name;
use crate::observe;

/// The largest value of a leader in bytes.
pub(crate) const MAX_VALUE_BYTES: usize = 64 * 1024;

/// The election of a group's leader. Cheap to clone. The group need not exist, and members and leaders are
/// independent: whoever campaigns may lead.
#[derive(Clone)]
pub struct Election {
    coord: Coordinator,
    group: Result<Name>,
}

/// The present leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Who; `None` where another kind of client does not tell.
    pub member: Option<Name>,
    /// What the leader proclaimed; `None` where unknown.
    pub value: Option<Bytes>,
    /// Grows with every leader; `None` where another kind of client drew none.
    pub term: Option<FencingToken>,
    /// For how long, where the store can tell.
    pub age: Option<Duration>,
}

impl Election {
    pub(crate) fn new(coord: Coordinator, group: Result<Name>) -> Self {
        Self { coord, group }
    }

    /// Waits until this member leads the group, proclaiming `value` from the first moment on.
    ///
    /// # Behavior
    /// Candidates are served in order. If the session is lost meanwhile, the candidate campaigns again
    /// under the next one.
    ///
    /// # Errors
    /// `Unavailable` if the store stays silent, `Closed` if the coordinator ends first, `InvalidValue` if
    /// the value has more than 64 KiB; else those of [every call](crate::Error#errors-of-every-call).
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the candidate. Nothing stays behind in the store.
    ///
    /// # Round trips
    /// As for [`Lock::acquire`](crate::Lock::acquire): one when vacant, up to two on ZooKeeper without `nodelay=true`, and
    /// one more on Redis with `wait_replicas`.
    ///
    /// ```
    /// # async fn run() -> tooz_core::Result<()> {
    /// # let coord = tooz_core::Registry::embedded().builder("memory://docs-campaign").connect().await?;
    /// let election = coord.group("workers").election();
    /// let term = election.campaign("10.0.0.1:7000").await?;
    /// assert_eq!(election.leader().await?.unwrap().value.unwrap(), "10.0.0.1:7000");
    /// term.resign().await?;
    /// assert!(election.leader().await?.is_none());
    /// # coord.close().await
    /// # }
    /// # pollster::block_on(run()).unwrap();
    /// ```
    pub async fn campaign(&self, value: impl Into<Bytes>) -> Result<Leadership> {
        let won = self.contend("campaign for", value.into(), Patience::Forever).await?;
        won.ok_or_else(|| Error::new(ErrorKind::Internal, "a wait without end ended"))
    }

    /// Takes the leadership if it is vacant and nobody else campaigns; `None` otherwise, leaving nothing
    /// behind.
    ///
    /// # Errors
    /// As for [`campaign`](Self::campaign).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// # Round trips
    /// As for [`Lock::try_acquire`](crate::Lock::try_acquire).
    pub async fn try_campaign(&self, value: impl Into<Bytes>) -> Result<Option<Leadership>> {
        self.contend("try to campaign for", value.into(), Patience::Not).await
    }

    /// Campaigns for at most `limit`; `None` if the leadership was not to be had in that time. With no time
    /// at all it is a [`try_campaign`](Self::try_campaign). See also
    /// [`Lock::acquire_timeout`](crate::Lock::acquire_timeout).
    ///
    /// # Errors
    /// As for [`campaign`](Self::campaign).
    ///
    /// # Cancel safety
    /// As for [`campaign`](Self::campaign).
    ///
    /// # Round trips
    /// As for [`campaign`](Self::campaign) when vacant, at least two when out of time.
    pub async fn campaign_timeout(
        &self,
        value: impl Into<Bytes>,
        limit: Duration,
    ) -> Result<Option<Leadership>> {
        let patience = Patience::within(limit, self.coord.core().now());
        self.contend("campaign for", value.into(), patience).await
    }

    /// The present leader; `None` if the leadership is vacant.
    ///
    /// # Errors
    /// Those of [every call](crate::Error#errors-of-every-call).
    ///
    /// # Round trips
    /// As for [`Lock::queue`](crate::Lock::queue).
    pub async fn leader(&self) -> Result<Option<Leader>> {
        let queue = self.queue().await?;
        Ok(Leader::of(&queue))
    }

    /// The leader and the candidates in order.
    ///
    /// # Errors
    /// As for [`leader`](Self::leader).
    ///
    /// # Round trips
    /// As for [`Lock::queue`](crate::Lock::queue).
    pub async fn queue(&self) -> Result<Queue> {
        let seat = self.seat()?;
        look(&self.coord, seat.clone())
            .instrument(observe::call("leader", &seat))
            .await
            .map_err(|e| self.failed("look at", e))
    }

    /// A live view of the leader and the candidates in order.
    ///
    /// # Errors
    /// As for [`leader`](Self::leader).
    pub async fn watch(&self) -> Result<QueueView> {
        let seat = self.seat()?;
        QueueView::open(&self.coord, seat).await.map_err(|e| self.failed("watch", e))
    }

    /// Follows the leadership: first what it is now, then every change that was seen, vacancy included.
    ///
    /// # Errors
    /// As for [`leader`](Self::leader).
    pub async fn observe(&self) -> Result<Observer> {
        let seat = self.seat()?;
        Observer::open(&self.coord, seat).await.map_err(|e| self.failed("observe", e))
    }

    fn seat(&self) -> Result<Seat> {
        let group = self.group.clone().map_err(|e| e.while_doing("group"))?;
        Ok(Seat::Leader(group))
    }

    async fn contend(
        &self,
        deed: &'static str,
        value: Bytes,
        patience: Patience,
    ) -> Result<Option<Leadership>> {
        check_value(&value)?;
        let seat = self.seat()?;
        let contest = Contest {
            core: self.coord.core().clone(),
            lane: self.coord.lane(),
            seat: seat.clone(),
            mode: Mode::Exclusive,
            value,
        };
        let won = contest.run(patience).instrument(observe::call(deed, &seat)).await;
        won.map(|won| won.map(Leadership::new)).map_err(|e| self.failed(deed, e))
    }

    fn failed(&self, deed: &str, error: Error) -> Error {
        let group = self.group.as_ref().map_or("", Name::as_str).escape_debug();
        error.while_doing(format_args!("{deed} leadership of \"{group}\" on {}", self.coord.endpoint()))
    }
}

impl Leader {
    pub(crate) fn of(queue: &Queue) -> Option<Self> {
        queue.holders.first().map(|holder| {
            let Holder { member, value, token, age, .. } = holder.clone();
            Self { member, value, term: token, age }
        })
    }
}

pub(crate) fn check_value(value: &Bytes) -> Result<()> {
    if value.len() > MAX_VALUE_BYTES {
        let text = format!("value has {} bytes: at most {MAX_VALUE_BYTES} are allowed", value.len());
        return Err(Error::new(ErrorKind::InvalidValue, text));
    }
    Ok(())
}

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Election({:?})", self.group)
    }
}
