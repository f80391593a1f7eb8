//! Looking at a seat's holders and waiters, and breaking it.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Eviction, Queue};
use crate::claim::Seat;
use crate::coordinator::Coordinator;
use crate::engine::Lane;
use crate::error::{Error, Result};
use crate::id::ClaimId;
use crate::session::{Flight, LET_GO, Session, locks};
use crate::shared::Core;
use crate::watcher::{Look, Subject, Watcher};

/// One look.
pub(crate) async fn look(coord: &Coordinator, seat: Seat) -> Result<Queue> {
    coord.core().step(coord.lane(), "queue", move |session| queue_step(session, seat.clone())).await
}

fn queue_step(session: Arc<Session>, seat: Seat) -> Flight<Queue> {
    Box::pin(async move { locks(&*session.backend)?.queue(&seat).await })
}

/// Takes a seat away from its holders; see [`Lock::evict`](super::Lock::evict).
pub(crate) async fn evict(coord: &Coordinator, seat: Seat, how: Eviction) -> Result<Vec<ClaimId>> {
    let told = coord.profile().locks.map(|locks| locks.notice).unwrap_or_default();
    // Named, so that an attempt whose answer is lost, sent again, does not hit whoever came to hold by the first.
    let holders = look(coord, seat.clone()).await?.holders;
    if holders.is_empty() {
        return Ok(Vec::new());
    }
    // Where one of them has no id, whoever holds is meant.
    let meant: Option<Vec<ClaimId>> = holders.iter().map(|holder| holder.claim).collect();
    let meant = meant.unwrap_or_default();
    let mut hit = evict_step(coord, &seat, how, meant.clone()).await?;
    if how == Eviction::Force {
        return Ok(hit);
    }
    // Also those who could not be told: a member of another language hears nothing of a notice.
    let stays = |queue: &Queue| {
        queue.holders.iter().any(|now| holders.iter().any(|holder| holder.claim == now.claim))
    };
    let gone = async {
        let mut view = QueueView::open(coord, seat.clone()).await?;
        while stays(&view.borrow()) {
            view.changed().await?;
        }
        Ok::<_, Error>(())
    };
    tokio::select! {
        biased;
        gone = gone => gone?,
        () = coord.core().sleep(told + LET_GO) => {
            let removed = evict_step(coord, &seat, Eviction::Force, meant).await?;
            hit.extend(removed.into_iter().filter(|id| !hit.contains(id)).collect::<Vec<_>>());
        }
    }
    Ok(hit)
}

async fn evict_step(
    coord: &Coordinator,
    seat: &Seat,
    how: Eviction,
    only: Vec<ClaimId>,
) -> Result<Vec<ClaimId>> {
    let mut attempts = 0;
    let hit = coord.core().step(coord.lane(), "evict", |session| {
        attempts += 1;
        let (seat, only) = (seat.clone(), only.clone());
        Box::pin(async move { locks(&*session.backend)?.evict(&seat, how, &only).await })
    });
    let hit = hit.await?;
    // An earlier attempt whose answer was lost may be what removed them.
    Ok(if hit.is_empty() && attempts > 1 { only } else { hit })
}

/// A live view of who holds and who waits for a lock. Resumes by itself after a lost session.
#[derive(Clone, Debug)]
pub struct QueueView {
    watcher: Watcher<Queue>,
}

impl QueueView {
    pub(crate) async fn open(coord: &Coordinator, seat: Seat) -> Result<Self> {
        Ok(Self { watcher: Watcher::open(coord.core(), Seated(seat)).await? })
    }

    /// The last look that was answered; see [`View`](crate::View) for what that means while none is.
    pub fn borrow(&self) -> Arc<Queue> {
        self.watcher.latest()
    }

    /// Ends when there is a newer look than the last one this was called for.
    ///
    /// # Errors
    /// `Closed` when the coordinator has ended.
    ///
    /// # Cancel safety
    /// May be dropped and called again; a change is never missed.
    pub async fn changed(&mut self) -> Result<()> {
        self.watcher.changed().await
    }
}

/// A seat as a subject to watch.
#[derive(Clone, Debug)]
struct Seated(Seat);

impl Subject for Seated {
    type Look = Queue;

    fn name(&self) -> String {
        self.0.to_string()
    }

    async fn look(&self, core: &Core, session: &Arc<Session>) -> Result<Queue> {
        core.attempt(Lane::Engine, "queue", queue_step(Arc::clone(session), self.0.clone())).await
    }

    async fn stirred(&self, session: &Session, look: &Queue) {
        stirred(session, &self.0, look).await;
    }
}

/// Ends when the seat may have changed since this look.
pub(crate) async fn stirred(session: &Session, seat: &Seat, look: &Queue) {
    match session.backend.locks() {
        Some(locks) => locks.stirred(seat, look.mark).await,
        None => std::future::pending().await,
    }
}

impl Look for Queue {
    fn is_news_after(&self, earlier: &Self) -> bool {
        (&self.holders, &self.waiting) != (&earlier.holders, &earlier.waiting)
    }

    fn revisit(&self) -> Option<Duration> {
        self.revisit
    }
}
