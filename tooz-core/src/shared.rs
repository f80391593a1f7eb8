//! What the parts of a coordinator share.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::backend::Profile;
use crate::chance::Chance;
use crate::clock::Moment;
use crate::coordinator::State;
use crate::endpoint::Endpoint;
use crate::engine::Running;
use crate::error::Result;
use crate::lost::Cause;
use crate::options::{Settings, Store};
use crate::session::{Chore, Epoch, Ledger, Session, ended};
use crate::signal::{Signal, Signalled};
use crate::topic::Upkeep;

/// The shared room of one coordinator. Whoever holds it keeps the engine running, not the session: that
/// lives as long as there are coordinator handles.
#[derive(Debug)]
pub(crate) struct Core {
    store: Store,
    engine: Running,
    profile: Profile,
    ledger: Ledger,
    chores: mpsc::UnboundedSender<Chore>,
    epoch: Signal<Epoch>,
    state: Signal<State>,
    ending: Signal<Option<Cause>>,
    closed: Signal<Option<Result<()>>>,
    members: Signal<usize>,
    topic_upkeep: Upkeep,
}

impl Core {
    pub(crate) fn new(
        store: Store,
        engine: Running,
        chores: mpsc::UnboundedSender<Chore>,
        first: &Arc<Session>,
    ) -> Self {
        Self {
            store,
            engine,
            profile: first.backend.profile().clone(),
            ledger: Ledger::default(),
            chores,
            epoch: Signal::new(Epoch::Open(Arc::clone(first))),
            state: Signal::new(State::Connected),
            ending: Signal::new(None),
            closed: Signal::new(None),
            members: Signal::new(0),
            topic_upkeep: Upkeep::default(),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.store.settings
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.store.endpoint
    }

    pub(crate) fn engine(&self) -> &Running {
        &self.engine
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn now(&self) -> Moment {
        self.store.clock.now()
    }

    /// Where ids come from.
    pub(crate) fn chance(&self) -> &Chance {
        &self.store.chance
    }

    /// A throw of dice in 0..1.
    pub(crate) fn dice(&self) -> f64 {
        self.store.chance.dice()
    }

    pub(crate) fn sleep(&self, span: Duration) -> Sleep {
        self.engine.sleep(span)
    }

    /// Sleeps until then by the clock: timers stand still while the machine does.
    pub(crate) async fn sleep_until(&self, moment: Moment) {
        loop {
            let left = moment.since(self.now());
            if left.is_zero() {
                return;
            }
            self.sleep(left).await;
        }
    }

    pub(crate) fn chores(&self) -> &mpsc::UnboundedSender<Chore> {
        &self.chores
    }

    pub(crate) fn send_chore(&self, chore: Chore) {
        // Fails only when the janitor has ended, and the session with it.
        let _ = self.chores.send(chore);
    }

    pub(crate) fn state(&self) -> Signalled<State> {
        self.state.subscribe()
    }

    pub(crate) fn set_state(&self, state: State) {
        if state == State::Closed {
            return self.state.end_with(state);
        }
        self.state.modify(|now| {
            let changed = *now != state;
            *now = state;
            changed
        });
    }

    pub(crate) fn epochs(&self) -> Signalled<Epoch> {
        self.epoch.subscribe()
    }

    pub(crate) fn set_epoch(&self, epoch: Epoch) {
        self.epoch.set(epoch);
    }

    /// The session there is right now, if any.
    pub(crate) fn current_session(&self) -> Option<Arc<Session>> {
        match self.epoch.get() {
            Epoch::Open(session) => Some(session),
            Epoch::Between(_) | Epoch::Ended(_) => None,
        }
    }

    /// Whether there is no session any more and never will be.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.epoch.get(), Epoch::Ended(_))
    }

    /// The session there is, also while the coordinator is closing and when `until` is past; waits for one
    /// until then.
    pub(crate) async fn any_session(&self, until: Moment) -> Option<Arc<Session>> {
        let mut epochs = self.epochs();
        let open = epochs.wait_for(|epoch| !matches!(epoch, Epoch::Between(_)));
        tokio::select! {
            biased;
            epoch = open => match epoch {
                Ok(Epoch::Open(session)) => Some(session),
                _ => None,
            },
            () = self.sleep(until.since(self.now())) => None,
        }
    }

    /// From now on nothing new is begun. The first cause stays.
    pub(crate) fn end(&self, cause: Cause) {
        self.ending.modify(|ending| {
            let first = ending.is_none();
            ending.get_or_insert(cause);
            first
        });
    }

    /// Why nothing new may be begun any more, if so. A fork has none of the tasks that would carry it out.
    pub(crate) fn ending(&self) -> Option<Cause> {
        if self.engine.is_foreign_process() { Some(Cause::Forked) } else { self.ending.get() }
    }

    /// Ends when nothing new may be begun any more.
    pub(crate) async fn ended(&self) -> Cause {
        let mut ending = self.ending.subscribe();
        match ending.wait_for(Option::is_some).await {
            Ok(Some(cause)) => cause,
            // The sender is `self`, which outlives this call.
            Ok(None) | Err(_) => Cause::Closed,
        }
    }

    /// How closing went. The first word stays.
    pub(crate) fn set_closed(&self, closed: Result<()>) {
        self.closed.end_with(Some(closed));
    }

    /// Ends when closing has, with how it went.
    pub(crate) async fn closed(&self) -> Result<()> {
        let closed = self.closed.subscribe().wait_for(Option::is_some).await;
        // Somebody says how it went, and the sender is `self`.
        closed.ok().flatten().unwrap_or_else(|| Err(ended(Cause::Closed)))
    }

    /// When this coordinator trimmed which channel.
    pub(crate) fn topic_upkeep(&self) -> &Upkeep {
        &self.topic_upkeep
    }

    /// One more task attends a membership, until the returned value is dropped.
    pub(crate) fn attending(self: &Arc<Self>) -> Attending {
        self.members.modify(|members| {
            *members += 1;
            true
        });
        Attending(Arc::clone(self))
    }

    /// Ends when no task attends a membership any more.
    pub(crate) async fn everyone_left(&self) {
        // The sender is `self`: waiting cannot fail.
        let _ = self.members.subscribe().wait_for(|members| *members == 0).await;
    }
}

/// Counts as one task that attends a membership.
#[derive(Debug)]
pub(crate) struct Attending(Arc<Core>);

impl Drop for Attending {
    fn drop(&mut self) {
        self.0.members.modify(|members| {
            *members -= 1;
            true
        });
    }
}
