//! What the ledger knows of a membership.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::backend::Enrolment;
use crate::name::Name;
use crate::signal::{Signal, Signalled};

/// How a membership stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipState {
    /// The store shows it.
    Joined,
    /// It was lost with its session, or removed by somebody else, and is coming back.
    Rejoining,
    /// It is over: given up, or the group is gone, or another member took the id.
    Left,
}

/// A membership on the books: written by the one task that attends it, read by the heart.
#[derive(Debug)]
pub(crate) struct Enrolled {
    group: Name,
    standing: Mutex<Option<(u64, Enrolment)>>,
    state: Signal<MembershipState>,
    /// The user has let go: its end is only a matter of time.
    leaving: AtomicBool,
    nudge: Notify,
}

impl Enrolled {
    pub(crate) fn new(group: Name) -> Self {
        let state = Signal::new(MembershipState::Rejoining);
        Self {
            group,
            standing: Mutex::new(None),
            state,
            leaving: AtomicBool::new(false),
            nudge: Notify::new(),
        }
    }

    pub(crate) fn group(&self) -> &Name {
        &self.group
    }

    /// What stands in the store under this session, if anything.
    pub(crate) fn standing_under(&self, epoch: u64) -> Option<Enrolment> {
        let standing = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.as_ref().filter(|(under, _)| *under == epoch).map(|(_, enrolment)| enrolment.clone())
    }

    pub(crate) fn set_standing(&self, standing: Option<(u64, Enrolment)>) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    pub(crate) fn state(&self) -> Signalled<MembershipState> {
        self.state.subscribe()
    }

    pub(crate) fn set_state(&self, state: MembershipState) {
        match state {
            MembershipState::Left => self.state.end_with(state),
            MembershipState::Joined | MembershipState::Rejoining => self.state.set(state),
        }
    }

    pub(crate) fn begin_leaving(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// Ends when it is off the books.
    pub(crate) async fn left(&self) {
        // The sender is `self`, which outlives this call.
        let _ = self.state.subscribe().wait_for(|state| *state == MembershipState::Left).await;
    }

    /// A beat found the membership gone.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    pub(crate) async fn nudged(&self) {
        self.nudge.notified().await;
    }
}
