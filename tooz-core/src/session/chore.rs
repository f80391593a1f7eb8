//! What the janitor is asked to do.

use tokio::sync::oneshot;

use super::gate::Pending;
use crate::backend::Doubt;
use crate::claim::Claim;

/// One thing for the janitor to do.
#[derive(Debug)]
pub(crate) enum Chore {
    /// Withdraw a claim that nobody holds on to any more.
    Withdraw(Withdrawal),
    /// Say when everything asked for before is done.
    Flush(oneshot::Sender<()>),
}

/// A claim for the janitor to withdraw.
#[derive(Debug)]
pub(crate) struct Withdrawal {
    pub(crate) claim: Claim,
    pub(crate) doubt: Doubt,
    /// The number of the session it was made under.
    pub(crate) epoch: u64,
    /// Held until it is done.
    _gate: Pending,
}

impl Withdrawal {
    pub(super) fn new(claim: Claim, doubt: Doubt, epoch: u64, gate: Pending) -> Self {
        Self { claim, doubt, epoch, _gate: gate }
    }
}
