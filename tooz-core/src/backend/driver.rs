//! Opening a session with a store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Backend, Profile, Proof};
use crate::clock::Clock;
use crate::endpoint::Endpoint;
use crate::error::Result;
use crate::id::SessionId;
use crate::name::Name;

/// Opens sessions with stores of one kind.
#[async_trait]
pub trait Driver: Send + Sync {
    /// The driver's name: `file`, `redis` …
    fn name(&self) -> &'static str;

    /// The URL schemes it speaks, the main one first.
    fn schemes(&self) -> &'static [&'static str];

    /// The URL options it knows besides the [common ones](crate::endpoint::COMMON_OPTIONS).
    fn options(&self) -> &'static [OptionSpec];

    /// What the store offers where nothing special is configured.
    fn profile(&self) -> Profile;

    /// Opens one session. Runs inside the engine's runtime; the session's ear may be spawned there.
    ///
    /// Called again for every new session after a loss, each time with a new [`Opening::session`].
    async fn open(&self, endpoint: &Endpoint, opening: &Opening) -> Result<Opened>;
}

/// What core tells a driver about the session it wants.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Who the session is for.
    pub member: Name,
    /// The session's id, new for every session: the member's incarnation.
    pub session: SessionId,
    /// The session before this one, now lost: what it left behind may be replaced by a guarded step.
    pub predecessor: Option<SessionId>,
    /// Requested time to live of claims. The store may grant another.
    pub ttl: Duration,
    /// Requested time to live of memberships.
    pub membership_ttl: Duration,
    /// How long one attempt of a step may take.
    pub timeout: Duration,
    /// Where [`Proof::Lease`] takes its moments from.
    pub clock: Arc<dyn Clock>,
}

/// An opened session.
pub struct Opened {
    /// The session's steps and waits.
    pub backend: Arc<dyn Backend>,
    /// What opening it proved.
    pub proof: Proof,
}

/// One URL option a driver knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// As written in the URL.
    pub name: &'static str,
    /// Which values it takes.
    pub kind: OptionKind,
    /// One sentence for the error message that lists the known options.
    pub help: &'static str,
}

/// Which values a URL option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// `true`, `false`, `1`, `0`, `yes`, `no`.
    Flag,
    /// Seconds (`30`, `0.5`) or a span with a unit (`500ms`, `2m`), above zero.
    Span,
    /// A whole number, zero or more.
    Count,
    /// Any text.
    Text,
    /// Any text, and the option may be given several times.
    Texts,
    /// Any text, never shown.
    Secret,
}
