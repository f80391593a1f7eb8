//! What the command says when it fails: one line, a kind for machines, an exit code.

use std::fmt::Display;

use tooz::{Cause, Effect, Error, ErrorKind, Seat};

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
    /// For programs: further facts, each a word.
    pub(crate) facts: Vec<(&'static str, &'static str)>,
    effect: Effect,
}

impl Failure {
    pub(crate) fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Self {
        Self { exit, kind, message: message.into(), facts: vec![], effect: Effect::None }
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// A line of standard input cannot be taken. Where it is the first, nothing was done.
    pub(crate) fn input(number: u64, what: impl Display) -> Self {
        let message = format!("line {number} of standard input {what}");
        match number {
            1 => Self::usage(message),
            _ => Self::new(Exit::Input, "input", format!("{message}; those before it were taken")),
        }
    }

    /// What was held is held no more, or would not have been for long.
    pub(crate) fn lost(seat: &Seat, cause: Option<Cause>, what: &str) -> Self {
        let (how, cause) = match cause {
            Some(cause) => (format!("was lost ({cause})"), cause),
            None => ("was about to be lost (no renewal came through in time)".to_owned(), Cause::Expired),
        };
        let mut failure = Self::new(Exit::Lost, "lost", format!("{seat} {how}: {what}"));
        failure.facts.push(("cause", word(cause)));
        failure
    }

    /// The same failure of something that the store may have done all the same.
    pub(crate) fn effect_unknown(mut self) -> Self {
        self.effect = Effect::Unknown;
        self
    }

    /// The same failure of something that came before any change.
    pub(crate) fn without_effect(mut self) -> Self {
        self.effect = Effect::None;
        self
    }

    /// Says, once, of a change that failed if it may be there all the same.
    pub(crate) fn perhaps(mut self, done: &str) -> Self {
        if self.effect == Effect::Unknown {
            self.effect = Effect::None; // said
            self.message.push_str("; it may have been ");
            self.message.push_str(done);
            self.message.push_str(" all the same");
            self.facts.push(("effect", "unknown"));
        }
        self
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
        Self { effect: error.effect(), ..Self::new(exit, kind, error.to_string()) }
    }
}

fn word(cause: Cause) -> &'static str {
    match cause {
        Cause::Expired => "expired",
        Cause::Ousted => "ousted",
        Cause::SessionEnded => "session_ended",
        Cause::Closed => "closed",
        Cause::Orphaned => "orphaned",
        Cause::Forked => "forked",
        _ => "other",
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

    #[test]
    fn a_change_that_may_be_there_all_the_same_says_so() {
        let silent = Error::new(ErrorKind::Unavailable, "no answer");
        assert_eq!(Failure::from(silent.clone()).perhaps("published").message, "no answer");
        let failure = Failure::from(silent.effect_unknown()).perhaps("published");
        assert_eq!(failure.message, "no answer; it may have been published all the same");
        assert_eq!(failure.facts, [("effect", "unknown")]);
    }
}
