//! Sessions: opened, kept alive, proved, lost, followed by the next.
//!
//! One task, the [`keeper`](recovery), owns a coordinator's sessions. Everyone else reads what it
//! publishes: the current [`Epoch`] and the public [`State`](crate::State).

mod chore;
mod gate;
mod heart;
mod janitor;
mod ledger;
mod left;
mod oustings;
mod place;
mod recovery;
mod stage;
mod steps;
mod tenure;
pub(crate) mod validity;

use std::sync::{Arc, Weak};

use tokio::sync::mpsc;

pub(crate) use chore::{Chore, Withdrawal};
pub(crate) use gate::Gate;
pub(crate) use janitor::Janitor;
pub(crate) use ledger::Ledger;
pub(crate) use oustings::LET_GO;
pub(crate) use place::Place;
pub(crate) use recovery::{Command, Keeper, check_ttl, open_first};
pub(crate) use stage::Stage;
pub(crate) use steps::{Flight, ended};
pub(crate) use tenure::Tenure;
use validity::Deadline;

use crate::backend::{Backend, GroupSteps, LockSteps, Proof, TopicSteps};
use crate::error::{Error, ErrorKind, Result};
use crate::id::SessionId;
use crate::lost::Cause;
use crate::signal::Signal;

/// One session with the store.
pub(crate) struct Session {
    /// Counts a coordinator's sessions from 1.
    pub(crate) epoch: u64,
    pub(crate) id: SessionId,
    pub(crate) backend: Arc<dyn Backend>,
    /// Valid as long as the session is proved to live.
    pub(crate) tenure: Tenure,
    /// The newest proof: changes with every acknowledged renewal.
    pub(crate) proof: Signal<Proof>,
    /// Roused when something is held.
    pub(crate) watch: heart::Watch,
    /// Claims newly held, for the watch on oustings.
    pub(crate) held: mpsc::UnboundedSender<Weak<Place>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("epoch", &self.epoch).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(
        epoch: u64,
        id: SessionId,
        backend: Arc<dyn Backend>,
        proof: Proof,
        until: Deadline,
    ) -> (Self, mpsc::UnboundedReceiver<Weak<Place>>) {
        let tenure = Tenure::new();
        tenure.begin(until);
        let (held, newly_held) = mpsc::unbounded_channel();
        let proof = Signal::new(proof);
        (Self { epoch, id, backend, tenure, proof, watch: heart::Watch::default(), held }, newly_held)
    }

    /// A step may be the first to tell of the session's end: the keeper hears of it at once.
    pub(crate) fn heed(&self, failure: &Error) {
        if failure.kind() == ErrorKind::SessionLost {
            self.tenure.lose(Cause::SessionEnded);
        }
    }
}

/// The lock steps of a store that is known to have them.
pub(crate) fn locks(backend: &dyn Backend) -> Result<&dyn LockSteps> {
    backend.locks().ok_or_else(|| unsupported(backend, "locks"))
}

/// The group steps of a store that is known to have them.
pub(crate) fn groups(backend: &dyn Backend) -> Result<&dyn GroupSteps> {
    backend.groups().ok_or_else(|| unsupported(backend, "groups"))
}

/// The topic steps of a store that is known to have them.
pub(crate) fn topics(backend: &dyn Backend) -> Result<&dyn TopicSteps> {
    backend.topics().ok_or_else(|| unsupported(backend, "topics"))
}

fn unsupported(backend: &dyn Backend, what: &str) -> Error {
    let store = backend.profile().store;
    Error::new(ErrorKind::Unsupported, format!("the {store} store has no {what}: use one that has"))
}

/// Which session there is right now.
#[derive(Clone, Debug)]
pub(crate) enum Epoch {
    /// This one.
    Open(Arc<Session>),
    /// None: the last was lost, the next is being opened.
    Between(Cause),
    /// None ever again.
    Ended(Cause),
}
