//! Leading a group.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument;

use super::check_value;
use crate::backend::Amended;
use crate::claim::FencingToken;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind, Result};
use crate::lock::{Guard, Hold, Won};
use crate::lost::Cause;
use crate::observe;
use crate::session::locks;

/// Proof that this member leads a group, until it is dropped, resigned or lost.
///
/// # On drop
/// Resigns in the background, as a dropped [`Guard`] is given back.
#[must_use = "dropping the leadership resigns"]
pub struct Leadership {
    guard: Guard,
}

impl Leadership {
    pub(crate) fn new(won: Won) -> Self {
        Self { guard: Guard::new(won) }
    }

    /// The term: grows with every leader of the group. The same number as [`token`](Self::token).
    pub fn term(&self) -> FencingToken {
        self.guard.fencing_token()
    }

    /// The fencing token: pass it to the resource and have it refuse smaller ones.
    pub fn token(&self) -> FencingToken {
        self.guard.fencing_token()
    }

    /// Whether this member still leads; see [`Guard::is_held`].
    pub fn is_held(&self) -> bool {
        self.guard.is_held()
    }

    /// Whether this member leads and will for longer than `span` without any further renewal.
    pub fn valid_for(&self, span: Duration) -> bool {
        self.guard.valid_for(span)
    }

    /// Until when this member leads without any further renewal; see [`Guard::deadline`].
    pub fn deadline(&self) -> Option<Moment> {
        self.guard.deadline()
    }

    /// The time to the deadline; see [`Guard::remaining`].
    pub fn remaining(&self) -> Option<Duration> {
        self.guard.remaining()
    }

    /// Ends when the leadership is lost; see [`Guard::lost`].
    pub async fn lost(&self) -> Cause {
        self.guard.lost().await
    }

    /// Replaces the value that observers see.
    ///
    /// # Errors
    /// `Lost` if this member leads no more; `InvalidValue` if the value has more than 64 KiB; `Unavailable` if the store
    /// stays silent; else those of [every call](crate::Error#errors-of-every-call). An attempt whose answer was lost may, on
    /// Redis, be carried out late, and replace a newer value.
    ///
    /// # Cancel safety
    /// The value may or may not be replaced when the future is dropped.
    ///
    /// # Round trips
    /// One. etcd: two. ZooKeeper: two, and three for the first value of a leader that campaigned without one.
    pub async fn proclaim(&self, value: impl Into<Bytes>) -> Result<()> {
        proclaim(&self.guard, value.into()).await
    }

    /// Resigns and waits until the store has confirmed it; see [`Guard::release`].
    ///
    /// # Errors
    /// `Lost` if the leadership had been lost before, `Unavailable` if the store stays silent.
    ///
    /// # Cancel safety
    /// Resigning goes on when the future is dropped.
    ///
    /// # Round trips
    /// One.
    pub async fn resign(self) -> Result<()> {
        self.guard.release().await
    }

    /// Stops guarding: this member keeps leading until the coordinator is closed or its session ends.
    pub fn detach(self) {
        self.guard.detach();
    }

    /// A look at the leadership for the work done under it.
    pub fn hold(&self) -> Hold {
        self.guard.hold()
    }

    /// The guard behind the leadership.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(crate) fn into_guard(self) -> Guard {
        self.guard
    }
}

/// Replaces the value of the leadership that this guard holds.
pub(crate) async fn proclaim(guard: &Guard, value: Bytes) -> Result<()> {
    check_value(&value)?;
    let won = guard.won();
    if !guard.is_held() {
        return Err(guard.lost_error(won.place.tenure().cause().unwrap_or(Cause::Expired)));
    }
    won.place.set_value(value);
    let seat = won.place.claim().seat;
    let amended = won.core.step(won.lane, "amend", |session| {
        let place = Arc::clone(&won.place);
        Box::pin(async move { locks(&*session.backend)?.amend(&place.claim()).await })
    });
    match amended.instrument(observe::call("proclaim", &seat)).await {
        Ok(Amended::Done) => Ok(()),
        Ok(Amended::Absent) => {
            won.place.lose(Cause::Ousted);
            Err(Error::new(ErrorKind::Lost, format!("proclaim: the {seat} was lost before")))
        }
        Err(failure) => Err(failure.while_doing(format_args!("proclaim as {seat}"))),
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leadership({:?})", self.guard)
    }
}
