//! What the janitor is asked to do.

use tokio::sync::oneshot;

use super::gate::Pending;
use crate::backend::Doubt;
use crate::claim::Claim;
use crate::clock::Moment;
use crate::lost::Cause;
use crate::shared::Core;
use crate::signal::Signalled;

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
    pub(super) reliance: Option<Reliance>,
    /// Held until it is done.
    _gate: Pending,
}

impl Withdrawal {
    pub(super) fn new(claim: Claim, doubt: Doubt, epoch: u64, gate: Pending) -> Self {
        Self { claim, doubt, epoch, reliance: None, _gate: gate }
    }
}

/// The holder of a lost claim was told that it holds until then: the work under it may take as long.
#[derive(Debug)]
pub(super) struct Reliance {
    pub(super) until: Moment,
    /// Gone with the last who looks at the claim.
    pub(super) lost: Signalled<Option<Cause>>,
}

impl Reliance {
    /// Ends then, or when the guard is dropped.
    pub(super) async fn over(mut self, core: &Core) {
        let dropped = async { while self.lost.changed().await.is_ok() {} };
        tokio::select! {
            biased;
            () = dropped => {}
            () = core.sleep_until(self.until) => {}
        }
    }
}
