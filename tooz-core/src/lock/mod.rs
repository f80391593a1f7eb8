//! Locks: exclusive and shared, first come first served, with fencing tokens.

mod acquire;
mod guard;
mod hold;
mod queue;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument;

pub(crate) use acquire::{Contest, Patience, Won};
pub use guard::Guard;
pub use hold::Hold;
pub use queue::QueueView;
pub(crate) use queue::{look, stirred};

use crate::backend::{Eviction, Queue};
use crate::claim::{Mode, Seat};
use crate::coordinator::Coordinator;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ClaimId;
use crate::name::Name;
use crate::observe;

/// Work that was done under a lock is done, whatever becomes of giving the lock back, unless it had been lost.
pub(crate) fn released(given_back: Result<()>) -> Result<()> {
    match given_back {
        Err(failure) if failure.kind() != ErrorKind::Lost => {
            tracing::debug!(%failure, "the work is done; giving its lock back goes on");
            Ok(())
        }
        told => told,
    }
}

/// A lock by name. Cheap to clone; holds nothing until acquired.
///
/// Every acquire is a claim of its own: two tasks of one process exclude each other as two hosts do, also
/// on one coordinator, and each waits in the same queue.
///
/// *A lock tells well-behaved processes not to start at the same time. It cannot stop a process paused
/// between check and write. Pass the [fencing token](Guard::fencing_token) to the resource and refuse
/// smaller ones.*
#[derive(Clone)]
pub struct Lock {
    coord: Coordinator,
    name: Result<Name>,
    mode: Mode,
}

impl Lock {
    pub(crate) fn new(coord: Coordinator, name: &str) -> Self {
        Self { coord, name: Name::new(name), mode: Mode::Exclusive }
    }

    /// The same lock, to be held together with other shared holders.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.mode = Mode::Shared;
        self
    }

    /// Waits until this member holds the lock.
    ///
    /// # Behavior
    /// Waiters are served in the order the store saw them. If the session is lost meanwhile, the claim is
    /// made anew under the next session, at the end of the queue.
    ///
    /// # Errors
    /// `Unavailable` if the store stays silent, `Closed` if the coordinator ends first; else those of
    /// [every call](crate::Error#errors-of-every-call).
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in the queue. Nothing stays behind in the store.
    ///
    /// # Round trips
    /// One when free. ZooKeeper without `nodelay=true`: up to two. A shared lock on etcd: three, and two more to join
    /// readers that hold. Redis with `wait_replicas`: one more.
    ///
    /// ```
    /// # async fn run() -> tooz_core::Result<()> {
    /// # let coord = tooz_core::Registry::embedded().builder("memory://docs-acquire").connect().await?;
    /// let guard = coord.lock("nightly").acquire().await?;
    /// println!("token {}", guard.fencing_token());
    /// guard.release().await
    /// # }
    /// # pollster::block_on(run()).unwrap();
    /// ```
    pub async fn acquire(&self) -> Result<Guard> {
        let won = self.contend("acquire", Patience::Forever).await?;
        won.ok_or_else(|| self.failed("acquire", Error::new(ErrorKind::Internal, "a wait without end ended")))
    }

    /// Takes the lock if it is free and nobody waits for it; `None` otherwise, leaving nothing behind.
    ///
    /// A guard of the same coordinator that was just dropped is given back first.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    ///
    /// # Round trips
    /// As for [`acquire`](Self::acquire), and one when held. ZooKeeper: one more when free, and two behind a holder that was
    /// not met before.
    pub async fn try_acquire(&self) -> Result<Option<Guard>> {
        self.contend("try to acquire", Patience::Not).await
    }

    /// Waits for at most `limit`; `None` if the lock was not to be had in that time. With no time at all it
    /// is a [`try_acquire`](Self::try_acquire).
    ///
    /// # Behavior
    /// The limit is for the waiting. A request that is under way when it ends is waited for, and giving up
    /// the place in the queue is one more: a store that is slow to answer adds that time. Time without a session
    /// counts too, so `None` may mean that the store was out of reach: [`Coordinator::state`](crate::Coordinator::state)
    /// tells.
    ///
    /// # Errors
    /// As for [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    /// As for [`acquire`](Self::acquire).
    ///
    /// # Round trips
    /// As for [`acquire`](Self::acquire) when free, at least two when out of time.
    pub async fn acquire_timeout(&self, limit: Duration) -> Result<Option<Guard>> {
        let patience = Patience::within(limit, self.coord.core().now());
        self.contend("acquire", patience).await
    }

    /// Acquires, runs the work, releases. The work is cancelled when the lock is lost.
    ///
    /// # Errors
    /// Those of [`acquire`](Self::acquire), and `Lost` if the lock was lost before the work had ended: its
    /// result is then discarded. What goes wrong with giving back work that was done under the lock is no error:
    /// that goes on in the background.
    ///
    /// # Cancel safety
    /// Dropping the future drops the work and gives the lock back.
    ///
    /// # Round trips
    /// Those of [`acquire`](Self::acquire), and of [`Guard::release`].
    ///
    /// ```
    /// # async fn run() -> tooz_core::Result<()> {
    /// # let coord = tooz_core::Registry::embedded().builder("memory://docs-run").connect().await?;
    /// let sum = coord.lock("sums").run(|hold| async move { hold.fencing_token().get().min(1) + 1 }).await?;
    /// assert_eq!(sum, 2);
    /// # coord.close().await
    /// # }
    /// # pollster::block_on(run()).unwrap();
    /// ```
    pub async fn run<F, Fut>(&self, work: F) -> Result<Fut::Output>
    where
        F: FnOnce(Hold) -> Fut,
        Fut: Future,
    {
        let guard = self.acquire().await?;
        let done = tokio::select! {
            biased;
            cause = guard.lost() => Err(guard.lost_error(cause)),
            done = work(guard.hold()) => Ok(done),
        };
        match done {
            Ok(done) => released(guard.release().await).map(|()| done),
            Err(lost) => Err(lost),
        }
    }

    /// Who holds and who waits right now. Creates nothing.
    ///
    /// # Errors
    /// Those of [every call](crate::Error#errors-of-every-call).
    ///
    /// # Round trips
    /// One. ZooKeeper: two if anybody is there, and one more for each holder's session that was not met before. Redis: one
    /// more for a lock that was not looked at lately.
    pub async fn queue(&self) -> Result<Queue> {
        let seat = self.seat()?;
        look(&self.coord, seat.clone())
            .instrument(observe::call("queue", &seat))
            .await
            .map_err(|e| self.failed("look at", e))
    }

    /// A live view of who holds and who waits.
    ///
    /// # Errors
    /// As for [`queue`](Self::queue).
    pub async fn watch(&self) -> Result<QueueView> {
        let seat = self.seat()?;
        QueueView::open(&self.coord, seat).await.map_err(|e| self.failed("watch", e))
    }

    /// Breaks the lock: [`Eviction::Notice`] tells its holders to let go and waits until they have, at
    /// most for the time the store needs to tell them and a quarter of a second, and then removes the claims;
    /// [`Eviction::Force`] removes them at once. Reports whom it hit.
    ///
    /// An evicted holder's guard becomes lost ([`Cause::Ousted`](crate::Cause::Ousted)). Once told, the lock passes on
    /// when the guard is dropped, or after that quarter of a second: work that ends within it never meets the next
    /// holder's. Work that goes on does, as all work does after a forced eviction: rely on fencing tokens.
    ///
    /// # Errors
    /// `Unavailable` if the store stays silent.
    ///
    /// # Cancel safety
    /// When the future is dropped, holders may have been told to let go without being removed if they do not.
    ///
    /// # Round trips
    /// Two: a look and the request. With a notice one more look, and one more request for those who do not let go in time.
    pub async fn evict(&self, how: Eviction) -> Result<Vec<ClaimId>> {
        let seat = self.seat()?;
        queue::evict(&self.coord, seat.clone(), how)
            .instrument(observe::call("evict", &seat))
            .await
            .map_err(|e| self.failed("break", e))
    }

    fn seat(&self) -> Result<Seat> {
        let name = self.name.clone().map_err(|e| e.while_doing("lock"))?;
        Ok(Seat::Lock(name))
    }

    async fn contend(&self, deed: &'static str, patience: Patience) -> Result<Option<Guard>> {
        let seat = self.seat()?;
        let contest = Contest {
            core: self.coord.core().clone(),
            lane: self.coord.lane(),
            seat: seat.clone(),
            mode: self.mode,
            value: Bytes::new(),
        };
        let won = contest.run(patience).instrument(observe::call(deed, &seat)).await;
        won.map(|won| won.map(Guard::new)).map_err(|e| self.failed(deed, e))
    }

    fn failed(&self, deed: &str, error: Error) -> Error {
        let name = self.name.as_ref().map_or("", Name::as_str).escape_debug();
        error.while_doing(format_args!("{deed} lock \"{name}\" on {}", self.coord.endpoint()))
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lock({:?}, {:?})", self.name, self.mode)
    }
}
