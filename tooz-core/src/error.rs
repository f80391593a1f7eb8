//! What can go wrong, for programs ([`ErrorKind`], [`Effect`]) and for people (the text).

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// An error: a kind for programs, a text for people, a source for the curious.
///
/// Contention, vacancy and emptiness are values, never errors. Errors never contain a password.
///
/// # Errors of every call
/// The documentation of a call names the kinds that are its own. Each call that asks a store may besides fail with
/// * [`InvalidName`](ErrorKind::InvalidName) if a lock, group or topic, or the store, cannot have the name;
/// * [`Unavailable`](ErrorKind::Unavailable) if the store stays silent for the [timeout](crate::Builder::timeout), or
///   [`SessionLost`](ErrorKind::SessionLost) if that was a session's end;
/// * [`Closed`](ErrorKind::Closed) if the coordinator has ended;
/// * [`Unsupported`](ErrorKind::Unsupported) if the store has no locks (elections are locks), no groups or no topics;
/// * [`Denied`](ErrorKind::Denied), [`Exhausted`](ErrorKind::Exhausted) and [`Corrupt`](ErrorKind::Corrupt) if the store
///   refuses, is full, or holds what cannot be read;
/// * [`Internal`](ErrorKind::Internal), which is a defect.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    effect: Effect,
    text: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What kind of thing went wrong. Match on this, never on the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A name is empty or longer than 255 bytes, or the store cannot carry it.
    InvalidName,
    /// The URL cannot be read, or lacks what the store needs.
    InvalidUrl,
    /// An option is unknown, ill-typed or contradicts another.
    InvalidOption,
    /// No compiled-in driver speaks the URL's scheme.
    UnknownScheme,
    /// The store cannot do this, or a [`Requirement`](crate::Requirement) is not met.
    Unsupported,
    /// The store cannot be reached or does not answer.
    Unavailable,
    /// The store refuses: credentials, permissions, an unsafe directory.
    Denied,
    /// The store is full or over a quota.
    Exhausted,
    /// The session ended before the call did.
    SessionLost,
    /// The lock or leadership was lost before it was given back.
    Lost,
    /// The coordinator is closed.
    Closed,
    /// The group does not exist.
    NoSuchGroup,
    /// The group exists already.
    GroupExists,
    /// The group still has members.
    GroupNotEmpty,
    /// Another live session is a member of the group under this member id.
    AlreadyMember,
    /// The member is not in the group.
    NotMember,
    /// Capabilities, a value or a message are larger or deeper than allowed, or no valid msgpack; a text is
    /// no offset.
    InvalidValue,
    /// The store holds something under our names that we cannot read.
    Corrupt,
    /// A defect of this library or of a driver.
    Internal,
}

/// Whether the failed request may have changed the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The store is as it was.
    None,
    /// The request may have been carried out: its answer never came.
    Unknown,
}

impl Error {
    /// An error that changed nothing in the store.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, effect: Effect::None, text: text.into(), source: None }
    }

    /// The same error, with the request's effect on the store unknown.
    #[must_use]
    pub fn effect_unknown(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }

    /// The same error with what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The same error, saying first what was being done: `join group "blue" on redis: no such group`.
    #[must_use]
    pub fn while_doing(mut self, deed: impl fmt::Display) -> Self {
        self.text = format!("{deed}: {}", self.text);
        self
    }

    /// The same error as one of another kind.
    pub(crate) fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the store may have been changed.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether the same call may succeed when tried again without any change by the caller.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::SessionLost)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (effect {:?}): {}", self.kind, self.effect, self.text)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// A result with this library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_says_who_did_what_and_keeps_kind_effect_and_source() {
        let error = Error::new(ErrorKind::Unavailable, "no answer in 5s")
            .effect_unknown()
            .with_source(std::io::Error::other("reset"))
            .while_doing("acquire lock \"a\" on redis");

        assert_eq!(error.to_string(), "acquire lock \"a\" on redis: no answer in 5s");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown));
        assert_eq!(error.source().unwrap().to_string(), "reset");
    }
}
