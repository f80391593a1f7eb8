//! Following a subject of the store: look, wait until it stirs, look again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind, Result};
use crate::retry;
use crate::session::{Session, ended};
use crate::shared::Core;

/// Something in the store that can be looked at and waited for.
pub(crate) trait Subject: Send + Sync + 'static {
    type Look: Look;

    /// What it is, to people.
    fn name(&self) -> String;

    /// One attempt to look, through this session.
    fn look(&self, core: &Core, session: &Arc<Session>) -> impl Future<Output = Result<Self::Look>> + Send;

    /// Ends when it may have changed since this look, which was taken through the same session.
    fn stirred(&self, session: &Session, look: &Self::Look) -> impl Future<Output = ()> + Send;
}

/// What was seen.
pub(crate) trait Look: Send + Sync + 'static {
    /// Whether somebody who saw `earlier` would see a difference.
    fn is_news_after(&self, earlier: &Self) -> bool;

    /// After which time to look again although nothing stirred, if the store asks for it.
    fn revisit(&self) -> Option<Duration>;
}

/// The latest look at a subject, kept fresh by one task on the engine until the last clone is dropped.
#[derive(Debug)]
pub(crate) struct Watcher<L> {
    latest: watch::Receiver<Arc<L>>,
    core: Arc<Core>,
    _task: Arc<Task>,
}

impl<L: Look> Watcher<L> {
    /// Takes the first look and follows the subject from there.
    pub(crate) async fn open(core: &Arc<Core>, subject: impl Subject<Look = L>) -> Result<Self> {
        let (first, looked) = oneshot::channel();
        let follower = Follower {
            core: Arc::clone(core),
            subject,
            failures: 0,
            refusals: 0,
            pace: retry::Pace::default(),
        };
        let task = Arc::new(Task(core.engine().spawn(follower.run(first))));
        let latest = looked
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Unavailable, "the engine's runtime ended")))?;
        Ok(Self { latest, core: Arc::clone(core), _task: task })
    }

    /// The latest look.
    pub(crate) fn latest(&self) -> Arc<L> {
        Arc::clone(&self.latest.borrow())
    }

    /// Ends when there is a look that this watcher has not seen, and marks it as seen.
    pub(crate) async fn changed(&mut self) -> Result<()> {
        match self.latest.changed().await {
            Ok(()) => Ok(()),
            // The task ends with the coordinator; before, only by a defect or with its runtime.
            Err(_) => Err(self.core.ending().map_or_else(
                || Error::new(ErrorKind::Unavailable, "the task that watches has ended: watch again"),
                ended,
            )),
        }
    }
}

impl<L> Clone for Watcher<L> {
    fn clone(&self) -> Self {
        Self { latest: self.latest.clone(), core: Arc::clone(&self.core), _task: Arc::clone(&self._task) }
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// So often in a row is no passing change of rights: an operator should hear of it.
const WORTH_A_WARNING: u32 = 4;

type First<L> = oneshot::Sender<Result<watch::Receiver<Arc<L>>>>;

struct Follower<S> {
    core: Arc<Core>,
    subject: S,
    failures: u32,
    refusals: u32,
    pace: retry::Pace,
}

impl<S: Subject> Follower<S> {
    /// Looks again after every stir and in every new session, until the coordinator ends. Events are never
    /// trusted: each only leads to another look.
    async fn run(mut self, first: First<S::Look>) {
        let until = self.core.now() + self.core.settings().timeout;
        let (session, look) = loop {
            match self.look_once(Some(until)).await {
                Ok(looked) => break looked,
                Err(failure) if !failure.is_transient() || self.core.now() >= until => {
                    // Whoever asked may have given up waiting.
                    let _ = first.send(Err(failure));
                    return;
                }
                Err(_) => self.pause().await,
            }
        };
        let mut last = Arc::new(look);
        let (news, latest) = watch::channel(Arc::clone(&last));
        if first.send(Ok(latest)).is_err() {
            return;
        }
        let mut session = session;
        loop {
            let core = &self.core;
            let revisit = last.revisit();
            tokio::select! {
                biased;
                () = self.subject.stirred(&session, &last) => {}
                () = core.sleep(revisit.unwrap_or(Duration::MAX)), if revisit.is_some() => {}
                () = core.session_over(session.epoch) => {}
                _ = core.ended() => return,
            }
            let pause = self.pace.pause(core.now());
            if !pause.is_zero() {
                core.sleep(pause).await;
            }
            let look = loop {
                match self.look_once(None).await {
                    Ok(looked) => break looked,
                    Err(failure) if failure.kind() == ErrorKind::Closed => return,
                    Err(failure) => {
                        self.report(&failure);
                        self.pause().await;
                    }
                }
            };
            session = look.0;
            let look = Arc::new(look.1);
            if look.is_news_after(&last) {
                news.send_replace(Arc::clone(&look));
            }
            last = look;
        }
    }

    async fn look_once(&mut self, until: Option<crate::clock::Moment>) -> Result<(Arc<Session>, S::Look)> {
        let session = self.core.open_session(until).await?;
        let look = self.subject.look(&self.core, &session).await;
        let look = look.map_err(|e| self.core.meant(&session, e)).inspect_err(|e| session.heed(e))?;
        (self.failures, self.refusals) = (0, 0);
        Ok((session, look))
    }

    /// Whoever watches goes on with what was seen last, and hears nothing of it.
    fn report(&mut self, failure: &Error) {
        self.refusals += u32::from(!failure.is_transient());
        let subject = self.subject.name();
        match self.refusals {
            WORTH_A_WARNING if !failure.is_transient() => {
                tracing::warn!(subject, %failure, "cannot look; what was seen last is all there is");
            }
            _ => tracing::debug!(subject, %failure, "cannot look; trying again"),
        }
    }

    async fn pause(&mut self) {
        self.failures += 1;
        self.core.sleep(retry::back_off(self.failures, self.core.dice())).await;
    }
}
