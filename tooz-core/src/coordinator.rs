//! The coordinator: one member's connection to a store, and the door to everything else.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::Instrument;

use crate::backend::Profile;
use crate::clock::Moment;
use crate::endpoint::Endpoint;
use crate::engine::Lane;
use crate::error::Result;
use crate::group::Group;
use crate::id::SessionId;
use crate::lock::Lock;
use crate::lost::Cause;
use crate::name::Name;
use crate::observe;
use crate::session::{Command, ended, groups, validity};
use crate::shared::Core;
use crate::topic::Topic;
use crate::watched::Watched;

/// One member's connection to a store. Cheap to clone; all clones share one session and one heartbeat,
/// whatever they hold.
///
/// # Errors
/// What every call on a coordinator and on what it gives may fail with stands [there](crate::Error#errors-of-every-call).
///
/// # On drop
/// When the last clone is dropped, together with every [`Lock`], [`Group`], [`Election`](crate::Election) and
/// [`Topic`] taken from it, the session is *orphaned*: it is no longer renewed, guards
/// that still exist become lost at once ([`Cause::Orphaned`]), and the store frees the rest when its time
/// to live is over (a store kept by the kernel: at once). Guards, memberships and views do **not** keep the
/// session alive. [`close`](Self::close) gives everything back instead; [`scope`](crate::scope) does so on
/// every way out.
///
/// # Round trips
/// What sections of this name count is a good day: the connection stands, the name has been used before, nobody changes
/// the same thing meanwhile, and nothing has to be sent again.
///
/// ```
/// # async fn run() -> tooz_core::Result<()> {
/// let coord = tooz_core::Registry::embedded().builder("memory://docs-coord").connect().await?;
/// let guard = coord.lock("nightly").acquire().await?;
/// assert!(guard.is_held());
/// guard.release().await?;
/// coord.close().await
/// # }
/// # pollster::block_on(run()).unwrap();
/// ```
#[derive(Clone)]
pub struct Coordinator {
    handle: Arc<Handle>,
    lane: Lane,
}

/// Whether the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does, and the store answers.
    Connected,
    /// The store does not answer; the session is trusted until then.
    Suspended {
        /// When the session is given up if no answer comes.
        until: Moment,
    },
    /// It was lost; the next one is being opened.
    Lost(Cause),
    /// It was closed or orphaned, for good.
    Closed,
}

/// Its last drop orphans the session.
struct Handle {
    core: Arc<Core>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Fails when the keeper has ended already: the coordinator was closed.
        let _ = self.commands.send(Command::Orphan);
    }
}

impl Coordinator {
    pub(crate) fn new(core: Arc<Core>, commands: mpsc::UnboundedSender<Command>) -> Self {
        Self { handle: Arc::new(Handle { core, commands }), lane: Lane::Caller }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.handle.core
    }

    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    /// The same coordinator for callers that block their thread.
    pub(crate) fn on_engine(mut self) -> Self {
        self.lane = Lane::Engine;
        self
    }

    /// The lock of this name. Nothing is sent yet; a bad name is reported by the first call, as `InvalidName`.
    pub fn lock(&self, name: impl AsRef<str>) -> Lock {
        Lock::new(self.clone(), name.as_ref())
    }

    /// The group of this name. Nothing is sent yet; a bad name is reported by the first call, as `InvalidName`.
    pub fn group(&self, name: impl AsRef<str>) -> Group {
        Group::new(self.clone(), name.as_ref())
    }

    /// The topic of this name. Nothing is sent yet; a bad name is reported by the first call, as `InvalidName`.
    pub fn topic(&self, name: impl AsRef<str>) -> Topic {
        Topic::new(self.clone(), name.as_ref())
    }

    /// The names of all groups, sorted.
    ///
    /// # Errors
    /// Those of [every call](crate::Error#errors-of-every-call).
    ///
    /// # Round trips
    /// One.
    pub async fn groups(&self) -> Result<Vec<Name>> {
        let list = self.core().step(self.lane, "list", |session| {
            Box::pin(async move { groups(&*session.backend)?.list().await })
        });
        let mut names = list
            .instrument(observe::call("list groups", self.endpoint()))
            .await
            .map_err(|e| e.while_doing("list groups"))?;
        names.sort();
        Ok(names)
    }

    /// Who this coordinator is.
    pub fn member(&self) -> &Name {
        &self.core().settings().member
    }

    /// Where the store is. Shows itself without passwords.
    pub fn endpoint(&self) -> &Endpoint {
        self.core().endpoint()
    }

    /// What the store offers.
    pub fn profile(&self) -> &Profile {
        self.core().profile()
    }

    /// How long before the store a guard gives up, for the granted time to live.
    pub fn margin(&self) -> Duration {
        self.core().settings().margin.unwrap_or_else(|| match self.profile().liveness {
            crate::backend::Liveness::Lease(ttl) => validity::margin(ttl),
            crate::backend::Liveness::Kernel => Duration::ZERO,
        })
    }

    /// The id of the session there is right now: this member's incarnation.
    pub fn session(&self) -> Option<SessionId> {
        self.core().current_session().map(|session| session.id)
    }

    /// Whether the session stands, to look at or to wait for.
    pub fn state(&self) -> Watched<State> {
        Watched::new(self.core().state())
    }

    /// How long one small request takes: a look at a lock's queue.
    ///
    /// # Errors
    /// Those of [every call](crate::Error#errors-of-every-call); `Unsupported` if the store has no locks.
    pub async fn round_trip(&self) -> Result<Duration> {
        let before = self.core().now();
        self.lock("tooz/round-trip").queue().await?;
        Ok(self.core().now().since(before))
    }

    /// Gives everything back: locks, leaderships, memberships, the session. Guards become lost
    /// ([`Cause::Closed`]); calls under way and later ones fail with `Closed`. Closing twice is fine: each call is
    /// told how closing went.
    ///
    /// # Errors
    /// `Unavailable` if the store could not be told in time, or there is no session to give back through
    /// (also when the runtime of [`Engine::Current`](crate::Engine::Current) has ended): what is left in the
    /// store ends with its time to live. The coordinator is closed all the same. `Closed` in a fork of the process that
    /// connected: the session is that one's.
    ///
    /// # Cancel safety
    /// Closing goes on when the future is dropped.
    pub async fn close(&self) -> Result<()> {
        if self.core().engine().is_foreign_process() {
            return Err(ended(Cause::Forked)); // its session is the other process's to close
        }
        self.begin_close();
        self.core().closed().await
    }

    /// Closes in the background: what a drop can do.
    pub(crate) fn begin_close(&self) {
        // Fails when it was closed already.
        let _ = self.handle.commands.send(Command::Close);
    }
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Coordinator({} at {})", self.member(), self.endpoint())
    }
}
