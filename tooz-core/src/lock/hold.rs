//! What the work under a lock sees of its guard.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::claim::FencingToken;
use crate::lost::Cause;
use crate::session::Place;
use crate::shared::Core;

/// A look at a guard: its token and whether it is still held. Keeps nothing held. Cheap to clone.
#[derive(Clone)]
pub struct Hold {
    core: Arc<Core>,
    place: Weak<Place>,
    token: FencingToken,
}

impl Hold {
    pub(crate) fn new(core: Arc<Core>, place: Weak<Place>, token: FencingToken) -> Self {
        Self { core, place, token }
    }

    /// The grant's token: pass it to the resource.
    pub fn fencing_token(&self) -> FencingToken {
        self.token
    }

    /// Whether the lock is still held. Once `false`, always `false`.
    pub fn is_held(&self) -> bool {
        self.place.upgrade().is_some_and(|place| place.is_held(self.core.now()))
    }

    /// Whether the lock is held and will be for longer than `span` without any further renewal.
    pub fn valid_for(&self, span: Duration) -> bool {
        let now = self.core.now();
        let until = self.place.upgrade().and_then(|place| place.remaining(now));
        until.is_some_and(|until| until.is_beyond(now, span))
    }

    /// Ends when the lock is lost, or given back ([`Cause::Closed`]).
    pub async fn lost(&self) -> Cause {
        let Some(place) = self.place.upgrade() else { return Cause::Closed };
        if place.is_foreign_process() {
            return Cause::Forked;
        }
        place.is_held(self.core.now());
        let mut lost = place.tenure().subscribe();
        // Waiting must not keep the claim.
        drop(place);
        let cause = lost.wait_for(Option::is_some).await.ok().flatten().unwrap_or(Cause::Closed);
        match self.place.upgrade() {
            // Over already: what is told here is told no earlier than by the guard.
            Some(place) => place.lost().await,
            None => cause,
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hold(token {}, held: {})", self.token, self.is_held())
    }
}
