//! Following a channel: fetch, wait until it stirs, fetch again.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Id;
use tokio::task::{JoinError, JoinHandle};

use super::progress::{Cursor, Delivery};
use crate::backend::{Batch, Limit, Mark};
use crate::channel::Channel;
use crate::engine::Lane;
use crate::error::{Error, ErrorKind, Result};
use crate::offset::Offset;
use crate::orders::ordered;
use crate::retry;
use crate::session::{Flight, Session, topics};
use crate::shared::Core;

/// What one fetch brings at most, and so what a subscriber that does not read holds: twice this at the
/// worst, when a large message follows many small ones.
const BITE: Limit = Limit { messages: 512, bytes: 1024 * 1024 };

/// A subscriber's place in a channel and what it was not given yet.
///
/// Nothing runs while nobody asks, but for the wait, which costs the store nothing, and the end of a fetch
/// that was begun: a subscriber that does not read holds one batch, however much is published. Both are tasks,
/// because what lives in a subscriber that nobody polls would keep a session that everybody else has let go
/// of.
pub(super) struct Feed {
    core: Arc<Core>,
    lane: Lane,
    channel: Channel,
    cursor: Cursor,
    ready: VecDeque<Delivery>,
    /// `None` when it is time to fetch.
    seen: Option<Seen>,
    doing: Doing,
    pace: retry::Pace,
}

/// What the last fetch saw.
#[derive(Clone, Copy, Debug)]
struct Seen {
    epoch: u64,
    mark: Mark,
    revisit: Option<Duration>,
}

enum Doing {
    Nothing,
    Waiting(Task<()>),
    /// On the runtime it was begun on.
    Fetching(Task<Result<(u64, Batch)>>, Id),
}

impl Feed {
    /// Takes the first look; `begin` says where the subscriber stands by what it brought.
    pub(super) async fn open(
        core: &Arc<Core>,
        lane: Lane,
        channel: Channel,
        begin: impl FnOnce(&Batch) -> Cursor,
        (after, limit): (Option<Offset>, Limit),
    ) -> Result<Self> {
        let (epoch, batch) = first_look(core, lane, &channel, after, limit).await?;
        let cursor = begin(&batch);
        let mut feed = Self {
            core: Arc::clone(core),
            lane,
            channel,
            cursor,
            ready: VecDeque::new(),
            seen: None,
            doing: Doing::Nothing,
            pace: retry::Pace::default(),
        };
        feed.take_in(epoch, batch);
        Ok(feed)
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The next delivery. What is under way when nobody polls any more goes on at the next poll.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        loop {
            if let Some(delivery) = self.ready.pop_front() {
                return Poll::Ready(Ok(delivery));
            }
            match &mut self.doing {
                Doing::Nothing => match self.wait_begun() {
                    Some(wait) => self.doing = Doing::Waiting(wait),
                    None => self.fetch(cx)?,
                },
                Doing::Waiting(wait) => {
                    let ended = ready!(Pin::new(&mut wait.0).poll(cx));
                    (self.doing, self.seen) = (Doing::Nothing, None);
                    ended.map_err(runtime_ended)?;
                }
                // Nobody may drive the runtime that was read on before. A fetch changes nothing.
                Doing::Fetching(_, runtime) if *runtime != self.core.engine().lane(self.lane).id() => {
                    self.doing = Doing::Nothing;
                }
                Doing::Fetching(fetch, _) => {
                    let fetched = ready!(Pin::new(&mut fetch.0).poll(cx));
                    self.doing = Doing::Nothing;
                    let (epoch, batch) = fetched.map_err(runtime_ended)??;
                    self.take_in(epoch, batch);
                }
            }
        }
    }

    fn take_in(&mut self, epoch: u64, batch: Batch) {
        let seen = Seen { epoch, mark: batch.mark, revisit: batch.revisit };
        let last = batch.last;
        let (given, cursor) = self.cursor.advance(batch);
        if !given.is_empty() {
            // Only looks for nothing are slowed down.
            self.pace = retry::Pace::default();
        }
        (self.cursor, self.seen) = (cursor, cursor.is_at(last).then_some(seen));
        self.ready.extend(given);
    }

    /// Waits where there was nothing more to fetch, in the session that said so.
    fn wait_begun(&self) -> Option<Task<()>> {
        let seen = self.seen?;
        let session = self.core.current_session().filter(|session| session.epoch == seen.epoch)?;
        let wait = wait(Arc::clone(&self.core), session, self.channel.clone(), seen);
        Some(Task(self.core.engine().spawn(wait)))
    }

    /// Fetches: in place if the store answers at once, else as a task.
    fn fetch(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let pause = self.pace.pause(self.core.now());
        let (core, channel) = (Arc::clone(&self.core), self.channel.clone());
        let (lane, after) = (self.lane, self.cursor.after());
        let mut fetch = Box::pin(async move {
            if !pause.is_zero() {
                core.sleep(pause).await;
            }
            fetch(&core, lane, &channel, after).await
        });
        match fetch.as_mut().poll(cx) {
            Poll::Ready(fetched) => {
                let (epoch, batch) = fetched?;
                self.take_in(epoch, batch);
            }
            Poll::Pending => {
                let runtime = self.core.engine().lane(lane);
                self.doing = Doing::Fetching(Task(runtime.spawn(ordered(fetch))), runtime.id());
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}", self.channel, self.cursor)
    }
}

/// A task that ends with its owner; a step in it goes on.
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn runtime_ended(cause: JoinError) -> Error {
    Error::new(ErrorKind::Unavailable, "the runtime that it was read on has ended: try again")
        .with_source(cause)
}

async fn wait(core: Arc<Core>, session: Arc<Session>, channel: Channel, seen: Seen) {
    let stirred = async {
        match topics(&*session.backend) {
            Ok(topics) => topics.stirred(&channel, seen.mark).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stirred => {}
        () = core.sleep(seen.revisit.unwrap_or(Duration::MAX)), if seen.revisit.is_some() => {}
        () = core.session_over(session.epoch) => {}
        _ = core.ended() => {}
    }
}

/// One look, for which there is as much time as for any call.
pub(super) async fn first_look(
    core: &Core,
    lane: Lane,
    channel: &Channel,
    after: Option<Offset>,
    limit: Limit,
) -> Result<(u64, Batch)> {
    core.step(lane, "fetch", |session| {
        let epoch = session.epoch;
        let step = fetch_step(session, channel.clone(), after, limit);
        Box::pin(async move { Ok((epoch, step.await?)) })
    })
    .await
}

/// Fetches in whatever session there is, for as long as it takes. Holds no session while it waits for one.
async fn fetch(core: &Core, lane: Lane, channel: &Channel, after: Option<Offset>) -> Result<(u64, Batch)> {
    let mut tries = 0;
    loop {
        let session = core.open_session(None).await?;
        let (epoch, known) = (session.epoch, Arc::downgrade(&session));
        let step = fetch_step(session, channel.clone(), after, BITE);
        let failure = match core.attempt(lane, "fetch", step).await {
            Ok(batch) => return Ok((epoch, batch)),
            Err(failure) => failure,
        };
        let failure = match known.upgrade() {
            Some(session) => core.meant(&session, failure),
            None => core.meant_by_one_before(failure),
        };
        if let Some(session) = known.upgrade() {
            session.heed(&failure);
        }
        if !failure.is_transient() {
            return Err(failure);
        }
        tries += 1;
        tracing::debug!(%failure, "cannot fetch; trying again");
        core.sleep(retry::back_off(tries, core.dice())).await;
    }
}

fn fetch_step(session: Arc<Session>, channel: Channel, after: Option<Offset>, limit: Limit) -> Flight<Batch> {
    Box::pin(async move { topics(&*session.backend)?.fetch(&channel, after, limit).await })
}

/// The limit of a first look at messages.
pub(super) const FIRST_BITE: Limit = BITE;
