//! The one task of a session: it ends sessions in time while nobody takes a step.

use std::sync::{Arc, Weak};

use tokio::task::AbortHandle;

use super::shared::Shared;
use crate::id::SessionId;
use crate::orders::ordered;

/// A running ear; dropped, it ends.
#[derive(Debug)]
pub(super) struct Ear(AbortHandle);

impl Ear {
    /// Starts an ear on the present runtime.
    pub(super) fn start(runtime: &tokio::runtime::Handle, shared: &Arc<Shared>, session: SessionId) -> Self {
        Self(runtime.spawn(ordered(listen(Arc::downgrade(shared), session))).abort_handle())
    }

    pub(super) fn stop(&self) {
        self.0.abort();
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sleeps until the next session of the store is due. The time is read from the store's clock again after
/// each sleep: timers stand still while the machine does, and renewals move what was due.
async fn listen(store: Weak<Shared>, session: SessionId) {
    while let Some((next, sooner)) = store.upgrade().and_then(|shared| shared.schedule(session)) {
        tokio::select! {
            () = tokio::time::sleep(next) => {}
            () = sooner.rung() => {}
        }
    }
}
