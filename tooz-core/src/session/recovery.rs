//! The keeper: one task that owns a coordinator's sessions, from the first to the last.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::validity::{self, SHORTEST_TTL};
use super::{Chore, Epoch, Place, Session, heart, oustings};
use crate::State;
use crate::backend::{Liveness, Opened, Opening};
use crate::clock::Moment;
use crate::engine::Lane;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::lost::Cause;
use crate::options::Store;
use crate::shared::Core;
use crate::{observe, retry};

/// How long closing lets claims and memberships be given back one by one, which passes them on soonest. Closing the
/// session then frees the rest at once, however many they are.
const ONE_BY_ONE: Duration = Duration::from_millis(500);

/// What the keeper is told.
pub(crate) enum Command {
    /// Give everything back and end.
    Close,
    /// Nobody has a handle any more: stop renewing and end.
    Orphan,
}

/// A session and its line of newly held claims.
pub(crate) type Fresh = (Session, mpsc::UnboundedReceiver<Weak<Place>>);

/// The owner of a coordinator's sessions.
pub(crate) struct Keeper {
    core: Arc<Core>,
    commands: mpsc::UnboundedReceiver<Command>,
    janitor: JoinHandle<()>,
}

impl Keeper {
    pub(crate) fn new(
        core: Arc<Core>,
        commands: mpsc::UnboundedReceiver<Command>,
        janitor: JoinHandle<()>,
    ) -> Self {
        Self { core, commands, janitor }
    }

    /// Lives through sessions until told to end. The first is published already.
    pub(crate) async fn run(
        mut self,
        mut session: Arc<Session>,
        mut held: mpsc::UnboundedReceiver<Weak<Place>>,
    ) {
        let (mut opened, mut in_a_row) = (self.core.now(), 0);
        let command = loop {
            let cause = tokio::select! {
                biased;
                command = self.commands.recv() => break command,
                cause = heart::beat_until_lost(&self.core, &session) => cause,
                () = oustings::watch(&self.core, Arc::clone(&session), held) => Cause::SessionEnded,
            };
            self.lose(&session, cause);
            let is_young = self.core.now().since(opened) < self.core.settings().ttl / 3;
            in_a_row = if is_young { in_a_row + 1 } else { 0 };
            let predecessor = (session.epoch, session.id);
            let until = self.core.ledger().relied_on(session.epoch);
            retire(&self.core, session, until);
            let reopened = tokio::select! {
                biased;
                command = self.commands.recv() => break command,
                fresh = reopen(&self.core, predecessor, in_a_row) => fresh,
            };
            opened = self.core.now();
            session = Arc::new(reopened.0);
            held = reopened.1;
            self.core.set_epoch(Epoch::Open(Arc::clone(&session)));
            self.core.set_state(State::Connected);
            tracing::info!(session = %session.id, "session opened again");
        };
        match command {
            Some(Command::Close) => {
                let closed = self.close().await;
                self.core.set_closed(closed);
            }
            Some(Command::Orphan) | None => self.orphan().await,
        }
    }

    fn lose(&self, session: &Session, cause: Cause) {
        session.tenure.lose(cause);
        let lost = self.core.ledger().lose_all(session.epoch, cause);
        tracing::warn!(session = %session.id, %cause, claims = lost, "session lost");
        observe::session_lost(cause);
        self.core.set_state(State::Lost(cause));
        self.core.set_epoch(Epoch::Between(cause));
    }

    /// Gives everything back: claims, memberships, the session.
    async fn close(&self) -> Result<()> {
        let core = &self.core;
        core.end(Cause::Closed);
        core.ledger().lose_all(u64::MAX, Cause::Closed);
        for place in core.ledger().places() {
            place.abandon();
        }
        let until = core.now() + core.settings().timeout;
        let given_back = async {
            self.flush().await;
            core.everyone_left().await;
        };
        // Between two sessions there is nobody to give back to, and nobody opens the next any more.
        let closed = match core.current_session() {
            Some(session) => {
                // What is not done by then goes with the session.
                let _ = timeout(ONE_BY_ONE.min(core.settings().timeout), given_back).await;
                self.close_session(session, until).await
            }
            None => Err(Error::new(ErrorKind::Unavailable, "the session was lost before")),
        };
        core.set_epoch(Epoch::Ended(Cause::Closed));
        core.set_state(State::Closed);
        closed.map_err(|cause| {
            let text = format!(
                "close: {} could not be told; what is left there ends with its time to live",
                core.endpoint()
            );
            Error::new(ErrorKind::Unavailable, text).effect_unknown().with_source(cause)
        })
    }

    /// Closes the session, trying again until `until`: one lost request must not leave it to its time to live.
    async fn close_session(&self, session: Arc<Session>, until: Moment) -> Result<()> {
        let core = &self.core;
        let mut tries = 0;
        loop {
            let backend = Arc::clone(&session.backend);
            let step = Box::pin(async move { backend.close().await });
            let failure = match core.attempt(Lane::Engine, "close", step).await {
                Ok(()) => return Ok(()),
                // An earlier attempt was carried out, or the store was faster.
                Err(failure) if failure.kind() == ErrorKind::SessionLost => return Ok(()),
                Err(failure) => failure,
            };
            tries += 1;
            let pause = retry::back_off(tries, core.dice());
            if !failure.is_transient() || core.now() + pause >= until {
                return Err(failure);
            }
            core.sleep(pause).await;
        }
    }

    /// Stops renewing. Withdrawals that were asked for before are still carried out.
    async fn orphan(&self) {
        let core = &self.core;
        core.end(Cause::Orphaned);
        core.ledger().lose_all(u64::MAX, Cause::Orphaned);
        // Bounded; what is left after it ends with its time to live.
        let _ = timeout(core.settings().timeout, self.flush()).await;
        core.set_epoch(Epoch::Ended(Cause::Orphaned));
        core.set_state(State::Closed);
    }

    async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.core.send_chore(Chore::Flush(done));
        // An error means that the janitor is gone: nothing is under way.
        let _ = flushed.await;
    }
}

impl Drop for Keeper {
    /// However it ends, also with its runtime or by a panic of the driver: nothing is relied on any more, and
    /// nobody waits for ever.
    fn drop(&mut self) {
        self.janitor.abort();
        let core = &self.core;
        if !core.has_ended() {
            core.end(Cause::Orphaned);
            core.ledger().lose_all(u64::MAX, Cause::Orphaned);
            core.set_epoch(Epoch::Ended(Cause::Orphaned));
            core.set_state(State::Closed);
        }
        let text = "close: the engine's runtime ended before; what is left ends with its time to live";
        core.set_closed(Err(Error::new(ErrorKind::Unavailable, text)));
    }
}

/// Lets go of a lost session in the background: a polite close frees what the store may still show, once nobody relies
/// on it any more.
fn retire(core: &Arc<Core>, session: Arc<Session>, until: Moment) {
    let patience = core.settings().attempt();
    let clock = Arc::clone(core);
    core.engine().spawn(async move {
        clock.sleep_until(until).await;
        drop(clock);
        // The session is lost already; failing to say so changes nothing.
        let _ = timeout(patience, session.backend.close()).await;
    });
}

/// Opens the next session, trying until it succeeds. After sessions that ended young, so many in a row, not at once: a
/// store that ends each of them must not be asked at the speed of the line.
async fn reopen(core: &Arc<Core>, (epoch, predecessor): (u64, SessionId), in_a_row: u32) -> Fresh {
    if in_a_row > 0 {
        core.sleep(retry::back_off(in_a_row, core.dice())).await;
    }
    let mut tries = 0;
    loop {
        match open(core.store(), epoch + 1, Some(predecessor), core.settings().timeout).await {
            Ok(fresh) => return fresh,
            Err(failure) => {
                tries += 1;
                match tries {
                    1 => tracing::warn!(%failure, "cannot open a new session yet"),
                    _ => tracing::debug!(tries, %failure, "cannot open a new session yet"),
                }
            }
        }
        core.sleep(retry::back_off(tries, core.dice())).await;
    }
}

/// Opens the first session. A store that says nothing is asked again while there is time, one whose connection breaks
/// once it stood is asked once more; one that refuses is believed at once.
pub(crate) async fn open_first(store: &Store) -> Result<Fresh> {
    let (began, attempt) = (Instant::now(), store.settings.attempt());
    let mut broke = false;
    loop {
        let asked = Instant::now();
        let left = store.settings.timeout.saturating_sub(began.elapsed());
        let failure = match open(store, 1, None, left).await {
            Err(failure) if failure.kind() == ErrorKind::Unavailable => failure,
            opened => return opened,
        };
        let is_silent = asked.elapsed() >= attempt;
        let breaks = !is_silent && failure.effect() == Effect::Unknown;
        if !(is_silent || breaks && !broke) || began.elapsed() + attempt > store.settings.timeout {
            return Err(failure);
        }
        broke |= breaks;
    }
}

/// Opens one session within `left` of the call's time. Runs inside the engine's runtime.
async fn open(store: &Store, epoch: u64, predecessor: Option<SessionId>, left: Duration) -> Result<Fresh> {
    let settings = &store.settings;
    let id = store.chance.session_id();
    let opening = Opening {
        member: settings.member.clone(),
        session: id,
        predecessor,
        ttl: settings.ttl,
        membership_ttl: settings.membership_ttl,
        timeout: settings.attempt(),
        clock: Arc::clone(&store.clock),
    };
    let opened = timeout(left, store.driver.open(&store.endpoint, &opening)).await;
    let Opened { backend, proof } = opened.unwrap_or_else(|_| {
        let text = format!("no answer in {:?}", settings.timeout);
        Err(Error::new(ErrorKind::Unavailable, text).effect_unknown())
    })?;
    let backend = store.wrap.as_ref().map_or_else(|| Arc::clone(&backend), |wrap| wrap(Arc::clone(&backend)));
    if let Liveness::Lease(ttl) = backend.profile().liveness
        && let Err(refusal) = check_ttl(ttl, settings.margin)
    {
        // The refusal counts; failing to close leaves the session to its time to live.
        let _ = timeout(settings.attempt(), backend.close()).await;
        return Err(refusal);
    }
    let until = validity::claim_until(proof, settings.margin);
    Ok(Session::new(epoch, id, backend, proof, until))
}

/// Refuses a time to live that leaves no time to act.
pub(crate) fn check_ttl(ttl: Duration, margin: Option<Duration>) -> Result<()> {
    let margin = margin.unwrap_or_else(|| validity::margin(ttl));
    // The first beat, and an answer that takes its time, come before the deadline is told.
    let most = ttl.saturating_sub(
        validity::notice(ttl) + validity::beat_interval(ttl, 1.0) + validity::beat_timeout(ttl),
    );
    if ttl < SHORTEST_TTL || margin >= most {
        let text = format!(
            "a time to live of {ttl:?} with a margin of {margin:?} is too short: the time to live is at least \
             {SHORTEST_TTL:?}, and the margin of this one less than {most:?}"
        );
        return Err(Error::new(ErrorKind::InvalidOption, text));
    }
    Ok(())
}
