//! Exit codes: what a script learns without reading.

/// How the command ends. A child's own code is passed through; ours stay clear of the usual ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// The command line, a URL, an option or a name is wrong. Nothing was done.
    Usage,
    /// The store cannot be reached or does not answer in time.
    Unavailable,
    /// There is no such group or membership.
    NotFound,
    /// The group exists already or still has members, or the member id is taken.
    Conflict,
    /// The store refuses: credentials, permissions, an unsafe directory.
    Denied,
    /// A line of standard input is wrong. Those before it were taken.
    Input,
    /// The store is full, holds something unreadable, or there is a defect.
    Failed,
    /// The supervisor of the child ended before the child; the child was killed.
    Unsupervised,
    /// The time given by `--timeout` is up and the lock is still busy.
    Busy,
    /// The lock was lost, or was about to be: the child's process group was terminated if it could be.
    Lost,
    /// The child cannot be executed.
    NotExecutable,
    /// The child's program does not exist.
    NoProgram,
    /// The child's own exit code.
    Child(u8),
    /// The child, or the command itself, ended by this signal.
    Signal(u8),
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 2,
            Self::Unavailable => 110,
            Self::NotFound => 111,
            Self::Conflict => 112,
            Self::Denied => 113,
            Self::Input => 114,
            Self::Failed => 115,
            Self::Unsupervised => 116,
            Self::Busy => 117,
            Self::Lost => 118,
            Self::NotExecutable => 126,
            Self::NoProgram => 127,
            Self::Child(code) => code,
            Self::Signal(signal) => 128_u8.saturating_add(signal),
        }
    }

    /// The exit of a command or child that a signal ended.
    pub(crate) fn signal(number: i32) -> Self {
        Self::Signal(u8::try_from(number).unwrap_or(0))
    }
}

/// The table of `--help`.
pub(crate) const TABLE: &str = "\
Exit codes:
    0  done
    2  wrong command line, URL, option or name; nothing was done
  110  the store cannot be reached or does not answer in time
  111  no such group, or the membership is over
  112  the group exists or has members, or the member id is taken
  113  the store refuses: credentials, permissions, an unsafe directory
  114  a line of standard input is wrong; those before it were taken
  115  the store is full or unreadable, or a defect of tooz
  116  the child's supervisor was killed; the child was killed too
  117  busy: the lock was not free within --timeout
  118  lost: the child was terminated because the lock was lost or about to be; where it could not be ended,
       as it runs as another user, the message says so (--json: child is alive)
  126  the child's program cannot be executed
  127  the child's program does not exist
128+n  the child (or tooz itself) ended by signal n
  any  other code is the child's own (lock, elect)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_own_and_stands_in_the_help() {
        let all = [
            Exit::Done,
            Exit::Usage,
            Exit::Unavailable,
            Exit::NotFound,
            Exit::Conflict,
            Exit::Denied,
            Exit::Input,
            Exit::Failed,
            Exit::Unsupervised,
            Exit::Busy,
            Exit::Lost,
            Exit::NotExecutable,
            Exit::NoProgram,
        ];
        let mut codes: Vec<u8> = all.iter().map(|exit| exit.code()).collect();
        assert!(codes.iter().all(|code| TABLE.contains(&format!("{code:>5}  "))));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all.len());
    }

    #[test]
    fn signals_are_told_as_shells_tell_them() {
        assert_eq!(Exit::signal(9).code(), 137);
        assert_eq!(Exit::signal(15).code(), 143);
    }
}
