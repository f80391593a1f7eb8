//! Following who leads.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;

use super::Leader;
use crate::backend::Queue;
use crate::claim::Seat;
use crate::coordinator::Coordinator;
use crate::engine::Lane;
use crate::error::Result;
use crate::lock::stirred;
use crate::session::{Session, locks};
use crate::shared::Core;
use crate::watcher::{Look, Subject, Watcher};

/// Who leads, as seen at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Nobody.
    Vacant,
    /// This leader.
    Held(Leader),
}

impl Observation {
    /// Whether it is another leader, another term or another value. Age alone is no news.
    fn differs_from(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Vacant, Self::Vacant) => false,
            (Self::Held(now), Self::Held(before)) => {
                (&now.member, &now.value, now.term) != (&before.member, &before.value, before.term)
            }
            _ => true,
        }
    }
}

impl Look for Sighting {
    fn is_news_after(&self, earlier: &Self) -> bool {
        self.seen.differs_from(&earlier.seen)
    }

    fn revisit(&self) -> Option<Duration> {
        self.queue.revisit
    }
}

/// One look at the seat.
struct Sighting {
    queue: Queue,
    seen: Observation,
}

/// Follows the leadership of a group; resumes by itself after a lost session.
///
/// Every item is what the store showed at some moment: a leader of a very short term may be passed over,
/// but terms never go back and the last item is the present. The stream ends with the coordinator. While the store is
/// out of reach or refuses to be looked at, nothing is told and the look that was answered last counts; lasting refusals
/// are logged as a warning.
pub struct Observer {
    watcher: Watcher<Sighting>,
    told: Option<Observation>,
    waiting: Option<NextLook>,
}

/// A watcher that waits for news: comes back with whether there will be more.
type NextLook = Pin<Box<dyn Future<Output = (Watcher<Sighting>, bool)> + Send>>;

impl Observer {
    pub(crate) async fn open(coord: &Coordinator, seat: Seat) -> Result<Self> {
        let watcher = Watcher::open(coord.core(), Led(seat)).await?;
        Ok(Self { watcher, told: None, waiting: None })
    }

    /// What the last look that was answered showed.
    pub fn borrow(&self) -> Observation {
        self.watcher.latest().seen.clone()
    }

    /// The next observation: at first the present one, then changes. `None` when the coordinator has
    /// ended.
    ///
    /// # Cancel safety
    /// May be dropped and called again; the last state is never missed.
    pub async fn next(&mut self) -> Option<Observation> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Observation>> {
        loop {
            let now = self.borrow();
            if self.told.as_ref().is_none_or(|told| now.differs_from(told)) {
                self.told = Some(now.clone());
                return Poll::Ready(Some(now));
            }
            let waiting = self.waiting.get_or_insert_with(|| {
                let mut watcher = self.watcher.clone();
                Box::pin(async move {
                    let goes_on = watcher.changed().await.is_ok();
                    (watcher, goes_on)
                })
            });
            let (watcher, goes_on) = std::task::ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            self.watcher = watcher;
            if !goes_on {
                return Poll::Ready(None);
            }
        }
    }
}

impl Stream for Observer {
    type Item = Observation;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Observation>> {
        self.poll(cx)
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Observer({:?})", self.borrow())
    }
}

/// A leadership as a subject to watch.
struct Led(Seat);

impl Subject for Led {
    type Look = Sighting;

    fn name(&self) -> String {
        self.0.to_string()
    }

    async fn look(&self, core: &Core, session: &Arc<Session>) -> Result<Sighting> {
        let (seat, session) = (self.0.clone(), Arc::clone(session));
        let step = Box::pin(async move { locks(&*session.backend)?.queue(&seat).await });
        let queue = core.attempt(Lane::Engine, "queue", step).await?;
        let seen = Leader::of(&queue).map_or(Observation::Vacant, Observation::Held);
        Ok(Sighting { queue, seen })
    }

    async fn stirred(&self, session: &Session, look: &Sighting) {
        stirred(session, &self.0, &look.queue).await;
    }
}
