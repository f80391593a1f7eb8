//! What a driver's author writes: how the suite gets at a store of that kind.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tooz_core::backend::Driver;
use tooz_core::{BootClock, Clock, Name, SessionId};

/// Access to one fresh store of the kind under test.
///
/// The suite makes a new harness for every case and drops it afterwards, so that no case sees another's
/// traces. Only [`driver`](Harness::driver), [`url`](Harness::url), [`expire`](Harness::expire) and
/// [`leftovers`](Harness::leftovers) have to be written.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// The driver under test.
    fn driver(&self) -> Arc<dyn Driver>;

    /// A URL of this harness's own, empty store: the same at every call.
    fn url(&self) -> String;

    /// Ends a session in the store while its owner lives on, as when it was not renewed for its time to
    /// live. Called only where the profile declares [`Liveness::Lease`](tooz_core::backend::Liveness).
    async fn expire(&self, member: &Name, session: SessionId);

    /// Everything that stands in the store although every session is closed: claims, places in queues,
    /// memberships, sessions, marks; one line each. Existing groups, messages and what keeps tokens growing may
    /// stay.
    async fn leftovers(&self) -> Vec<String>;

    /// Makes the store notice that the session's process was killed. Everything of it in this process was
    /// dropped before without being closed.
    ///
    /// Unless overridden: [`expire`](Harness::expire) where sessions are leases; nothing where the kernel
    /// tells the store.
    async fn crash(&self, member: &Name, session: SessionId, kernel: bool) {
        if !kernel {
            self.expire(member, session).await;
        }
    }

    /// Cuts this member's sessions off the store, as a broken cable would, and says whether it did.
    /// Unless overridden the suite does it, just above the driver.
    async fn suspend(&self, _member: &Name) -> bool {
        false
    }

    /// Ends what [`suspend`](Harness::suspend) began, and says whether it did.
    async fn resume(&self, _member: &Name) -> bool {
        false
    }

    /// Why a case does not apply to this driver, if so. Printed and counted; never a way around a promise
    /// that the profile declares.
    fn exempt(&self, _case: &str) -> Option<&'static str> {
        None
    }

    /// The clock that sessions measure with.
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(BootClock)
    }

    /// The time to live to ask for, where the URL says nothing.
    fn ttl(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// The same for the sessions of `steps_*` cases, which nobody renews: longer than the longest of them takes.
    fn steps_ttl(&self) -> Duration {
        self.ttl()
    }

    /// Whether cases run on tokio's paused clock: for stores inside this process that are woken by nothing
    /// but tokio. Time then jumps to the next timer whenever every task waits.
    fn paused(&self) -> bool {
        false
    }
}
