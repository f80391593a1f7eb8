//! A handle on a memory store, for tests that play the server.

use std::sync::Arc;
use std::time::Duration;

use super::shared::Shared;
use super::state::{Fact, Refusal, Snapshot, Step};
use crate::clock::Moment;
use crate::id::SessionId;
use crate::name::Name;

/// A handle on the store `memory://name`: makes happen to it what happens to servers.
///
/// The store lives as long as a coordinator or a handle does. Its clock is that of the first coordinator
/// that opened it; give all coordinators of one store the same kind of clock.
///
/// ```
/// use tooz_core::memory::Store;
///
/// let store = Store::named("docs-store");
/// assert!(store.snapshot().sessions.is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct Store(Arc<Shared>);

/// What becomes of a store's data when it restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// Everything is there again, and every lease starts anew.
    Kept,
    /// Everything is gone, sessions, groups and messages too. Tokens still go on growing.
    Lost,
}

impl Store {
    /// The store of this name: the one that `memory://name` opens.
    pub fn named(name: &str) -> Self {
        Self(Shared::named(name))
    }

    /// The store's name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The store's URL. Characters that mean something in URLs are escaped.
    pub fn url(&self) -> String {
        use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
        format!("memory://{}", utf8_percent_encode(self.name(), NON_ALPHANUMERIC))
    }

    /// Moves the store's time forward: sessions that would not have renewed by then end at once, in the
    /// order of their expiry. The clocks of the coordinators stay, as when a server's clock jumps; they hear
    /// of the end of their sessions at once.
    pub fn advance(&self, span: Duration) {
        self.0.advance(span);
    }

    /// Ends the member's sessions as if their time were up, and tells which.
    pub fn expire(&self, member: &str) -> Vec<SessionId> {
        Name::new(member)
            .map(|member| self.0.step(|state, now| state.expire(now, &member)))
            .unwrap_or_default()
    }

    /// Cuts the member off: none of its steps arrives (they fail as `Unavailable`), none of its waits hears
    /// anything, and so its sessions end when their time is up.
    pub fn cut_off(&self, member: &str) {
        if let Ok(member) = Name::new(member) {
            self.0.cut_off(member, true);
        }
    }

    /// Ends what [`cut_off`](Self::cut_off) began.
    pub fn reconnect(&self, member: &str) {
        if let Ok(member) = Name::new(member) {
            self.0.cut_off(member, false);
        }
    }

    /// Restarts the store, with or without its data.
    pub fn restart(&self, data: Data) {
        self.0.step(|state, now| match data {
            Data::Kept => state.rearm(now),
            Data::Lost => state.wipe(now),
        });
    }

    /// Takes one step as `session`, past its coordinator: for tests that play a client gone wrong.
    ///
    /// # Errors
    /// [`Refusal`] as the coordinator would be told.
    pub fn apply(&self, session: SessionId, step: &Step) -> Result<Fact, Refusal> {
        self.0.step(|state, now| state.apply(now, session, step))
    }

    /// The present moment of the store.
    pub fn now(&self) -> Moment {
        self.0.step(|state, now| {
            state.settle(now);
            state.now()
        })
    }

    /// All that stands in the store now.
    pub fn snapshot(&self) -> Snapshot {
        self.0.step(|state, now| {
            state.settle(now);
            state.snapshot()
        })
    }

    /// One sentence for each session, claim and membership that stands in the store now.
    pub fn leftovers(&self) -> Vec<String> {
        self.snapshot().leftovers()
    }
}
