//! The same without async, for plain threads.
//!
//! Every call blocks its thread until it is done; everything else, heartbeats above all, goes on on the
//! engine's thread. Calling it inside an async runtime blocks that runtime's thread, as any blocking call
//! does, but never deadlocks with it: nothing here runs on the caller's runtime, unless that is what
//! [`Engine::Current`](crate::Engine::Current) asks for.
//!
//! ```
//! # fn main() -> tooz_core::Result<()> {
//! let coord = tooz_core::blocking::connect(tooz_core::Registry::embedded().builder("memory://docs-blocking"))?;
//! let guard = coord.lock("nightly").acquire()?;
//! assert!(guard.is_held());
//! guard.release()?;
//! coord.close()
//! # }
//! ```

mod election;
mod group;
mod lock;
mod partition;
mod topic;
mod watched;

use std::time::Duration;

pub use election::{Election, Leadership, Observer};
pub use group::{Group, Membership, View};
pub use lock::{Guard, Lock, QueueView};
pub use partition::{Changes, Partitioned};
pub use topic::{Inbox, Subscription, Topic};
pub use watched::Watched;

use crate::backend::Profile;
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::options::Builder;
use crate::{Name, SessionId, State};

/// Waits on this thread. Within a task it spends nothing of the task's budget: that grows again only when the task
/// yields, and this one does not before it is done.
fn block_on<F: Future>(future: F) -> F::Output {
    pollster::block_on(tokio::task::unconstrained(future))
}

/// Connects; see [`Builder::connect`].
///
/// # Errors
/// As for [`Builder::connect`].
pub fn connect(builder: Builder) -> Result<Coordinator> {
    block_on(builder.connect()).map(Coordinator::from)
}

/// Runs `work` with the coordinator and closes it afterwards, also when the work fails or panics.
///
/// # Errors
/// Those of the work; if it succeeded, those of closing.
pub fn scope<T, E: From<crate::Error>>(
    coord: Coordinator,
    work: impl FnOnce(Coordinator) -> Result<T, E>,
) -> Result<T, E> {
    block_on(crate::scope(coord.inner, |inner| async move { work(Coordinator { inner }) }))
}

/// See [`crate::Coordinator`].
#[derive(Clone, Debug)]
pub struct Coordinator {
    inner: crate::Coordinator,
}

impl From<crate::Coordinator> for Coordinator {
    fn from(inner: crate::Coordinator) -> Self {
        Self { inner: inner.on_engine() }
    }
}

impl Coordinator {
    /// See [`crate::Coordinator::lock`].
    pub fn lock(&self, name: impl AsRef<str>) -> Lock {
        Lock { inner: self.inner.lock(name) }
    }

    /// See [`crate::Coordinator::group`].
    pub fn group(&self, name: impl AsRef<str>) -> Group {
        Group { inner: self.inner.group(name) }
    }

    /// See [`crate::Coordinator::topic`].
    pub fn topic(&self, name: impl AsRef<str>) -> Topic {
        Topic { inner: self.inner.topic(name) }
    }

    /// See [`crate::Coordinator::groups`].
    ///
    /// # Errors
    /// As there.
    pub fn groups(&self) -> Result<Vec<Name>> {
        block_on(self.inner.groups())
    }

    /// See [`crate::Coordinator::member`].
    pub fn member(&self) -> &Name {
        self.inner.member()
    }

    /// See [`crate::Coordinator::endpoint`].
    pub fn endpoint(&self) -> &Endpoint {
        self.inner.endpoint()
    }

    /// See [`crate::Coordinator::profile`].
    pub fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    /// See [`crate::Coordinator::margin`].
    pub fn margin(&self) -> Duration {
        self.inner.margin()
    }

    /// See [`crate::Coordinator::session`].
    pub fn session(&self) -> Option<SessionId> {
        self.inner.session()
    }

    /// The state of the session right now.
    pub fn state(&self) -> State {
        self.inner.state().borrow()
    }

    /// The state of the session, to look at or to wait for; see [`crate::Coordinator::state`].
    pub fn watch_state(&self) -> Watched<State> {
        Watched { inner: self.inner.state() }
    }

    /// See [`crate::Coordinator::round_trip`].
    ///
    /// # Errors
    /// As there.
    pub fn round_trip(&self) -> Result<Duration> {
        block_on(self.inner.round_trip())
    }

    /// See [`crate::Coordinator::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(&self) -> Result<()> {
        block_on(self.inner.close())
    }

    /// The coordinator for async code.
    pub fn as_async(&self) -> &crate::Coordinator {
        &self.inner
    }
}
