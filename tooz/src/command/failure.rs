//! What the command says when it fails: one line, a kind for machines, an exit code.

use tooz::{Error, ErrorKind};

use super::exit::Exit;

/// Why the command fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// For programs: one word that never changes.
    pub(crate) kind: &'static str,
    /// For people: one line.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Self {
        Self { exit, kind, message: message.into() }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// The operating system refused something the command itself needs.
    pub(crate) fn system(deed: &str, error: &std::io::Error) -> Self {
        Self::new(Exit::Failed, "system", format!("{deed}: {error}"))
    }

    /// The reader of our output has gone. Quiet, and told as a shell tells it.
    pub(crate) fn reader_gone() -> Self {
        Self::new(Exit::signal(13), "broken_pipe", "")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (exit, kind) = classify(error.kind());
        Self::new(exit, kind, error.to_string())
    }
}

fn classify(kind: ErrorKind) -> (Exit, &'static str) {
    match kind {
        ErrorKind::InvalidName => (Exit::Usage, "invalid_name"),
        ErrorKind::InvalidUrl => (Exit::Usage, "invalid_url"),
        ErrorKind::InvalidOption => (Exit::Usage, "invalid_option"),
        ErrorKind::InvalidValue => (Exit::Usage, "invalid_value"),
        ErrorKind::UnknownScheme => (Exit::Usage, "unknown_scheme"),
        ErrorKind::Unsupported => (Exit::Usage, "unsupported"),
        ErrorKind::Unavailable => (Exit::Unavailable, "unavailable"),
        ErrorKind::SessionLost => (Exit::Unavailable, "session_lost"),
        ErrorKind::Closed => (Exit::Unavailable, "closed"),
        ErrorKind::NoSuchGroup => (Exit::NotFound, "no_such_group"),
        ErrorKind::NotMember => (Exit::NotFound, "not_member"),
        ErrorKind::GroupExists => (Exit::Conflict, "group_exists"),
        ErrorKind::GroupNotEmpty => (Exit::Conflict, "group_not_empty"),
        ErrorKind::AlreadyMember => (Exit::Conflict, "already_member"),
        ErrorKind::Denied => (Exit::Denied, "denied"),
        ErrorKind::Lost => (Exit::Lost, "lost"),
        ErrorKind::Exhausted => (Exit::Failed, "exhausted"),
        ErrorKind::Corrupt => (Exit::Failed, "corrupt"),
        _ => (Exit::Failed, "internal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_text_and_says_its_kind_in_one_word() {
        let failure = Failure::from(Error::new(ErrorKind::NoSuchGroup, "join group \"blue\": no such group"));
        assert_eq!(failure.exit, Exit::NotFound);
        assert_eq!(failure.kind, "no_such_group");
        assert_eq!(failure.message, "join group \"blue\": no such group");
    }
}
