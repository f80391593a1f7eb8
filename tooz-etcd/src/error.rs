//! Errors of the client library, as kinds and effects.

use std::error::Error as StdError;
use std::io;

use tooz_core::{Effect, Error, ErrorKind};

/// gRPC codes that etcd uses.
mod code {
    pub(super) const CANCELLED: i32 = 1;
    pub(super) const UNKNOWN: i32 = 2;
    pub(super) const INVALID: i32 = 3;
    pub(super) const DEADLINE: i32 = 4;
    pub(super) const NOT_FOUND: i32 = 5;
    pub(super) const DENIED: i32 = 7;
    pub(super) const EXHAUSTED: i32 = 8;
    pub(super) const PRECONDITION: i32 = 9;
    pub(super) const ABORTED: i32 = 10;
    pub(super) const OUT_OF_RANGE: i32 = 11;
    pub(super) const UNAVAILABLE: i32 = 14;
    pub(super) const UNAUTHENTICATED: i32 = 16;
}

/// What the client library said, as kind and effect.
pub(crate) fn translate(error: etcd_client::Error) -> Error {
    use etcd_client::Error as E;
    let (kind, effect) = match &error {
        E::GRpcStatus(status) => of_status(i32::from(status.code()), status),
        E::InvalidUri(_) | E::InvalidArgs(_) => (ErrorKind::InvalidUrl, Effect::None),
        E::InvalidMetadataValue(_) => (ErrorKind::InvalidUrl, Effect::None),
        // The only cause of it: a keep-alive answered with no time to live.
        E::LeaseKeepAliveError(_) => (ErrorKind::SessionLost, Effect::None),
        E::TransportError(_) if was_refused(&error) => (ErrorKind::Unavailable, Effect::None),
        _ => (ErrorKind::Unavailable, Effect::Unknown),
    };
    let text = match &error {
        E::GRpcStatus(status) => status.message().to_owned(),
        other => other.to_string(),
    };
    let told = Error::new(kind, text).with_source(error);
    if effect == Effect::Unknown { told.effect_unknown() } else { told }
}

fn of_status(status: i32, error: &(dyn StdError + 'static)) -> (ErrorKind, Effect) {
    match status {
        // Of all that etcd calls not found, we only ever ask for leases.
        code::NOT_FOUND => (ErrorKind::SessionLost, Effect::None),
        // With the second code since 3.6.
        code::UNAVAILABLE | code::PRECONDITION if cannot_serve_yet(&error.to_string()) => {
            (ErrorKind::Unavailable, Effect::None)
        }
        code::DENIED | code::UNAUTHENTICATED | code::PRECONDITION => (ErrorKind::Denied, Effect::None),
        // It cannot keep up for the moment; nothing was done.
        code::EXHAUSTED if error.to_string().contains("too many requests") => {
            (ErrorKind::Unavailable, Effect::None)
        }
        code::EXHAUSTED => (ErrorKind::Exhausted, Effect::None),
        code::OUT_OF_RANGE => of_range(&error.to_string()),
        code::INVALID => (of_invalid(&error.to_string()), Effect::None),
        code::UNAVAILABLE | code::UNKNOWN if was_refused(error) => (ErrorKind::Unavailable, Effect::None),
        // Said before anything is done, to whoever insists on a leader.
        code::UNAVAILABLE if says_leaderless(&error.to_string()) => (ErrorKind::Unavailable, Effect::None),
        code::UNAVAILABLE | code::UNKNOWN | code::CANCELLED | code::DEADLINE | code::ABORTED => {
            (ErrorKind::Unavailable, Effect::Unknown)
        }
        _ => (ErrorKind::Internal, Effect::Unknown),
    }
}

/// etcd says with one code that a password is wrong and that a request is too large; only its words differ.
fn of_invalid(words: &str) -> ErrorKind {
    let says = |part: &str| words.contains(part);
    if says("request is too large") {
        ErrorKind::InvalidValue
    } else if says("too many operations") || says("duplicate key") || says("key is not provided") {
        ErrorKind::Internal
    } else {
        ErrorKind::Denied
    }
}

/// With one code etcd refuses a time to live and a revision that is no longer there, and our side an answer.
fn of_range(words: &str) -> (ErrorKind, Effect) {
    if words.contains("lease TTL") {
        (ErrorKind::InvalidOption, Effect::None)
    } else if words.contains("compacted") {
        (ErrorKind::Unavailable, Effect::None)
    } else {
        (ErrorKind::Internal, Effect::Unknown)
    }
}

/// Whether an answer was too large, for us or for the server; asking for less helps.
pub(crate) fn is_too_large(error: &Error) -> bool {
    let words = error.to_string();
    words.contains("message length too large") || words.contains("message larger than max")
}

/// Whether the server has no leader at the moment.
pub(crate) fn says_leaderless(words: &str) -> bool {
    words.contains("etcdserver: no leader")
}

/// Whether the server has no vote yet, or waits for the others to be of its version. It does nothing, and others serve.
fn cannot_serve_yet(words: &str) -> bool {
    words.contains("rpc not supported for learner") || words.contains("etcdserver: not capable")
}

/// Whether there was no connection, so that nothing was sent.
fn was_refused(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(was_not_connected) {
            return true;
        }
        next = error.source();
    }
    false
}

fn was_not_connected(error: &io::Error) -> bool {
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable => true,
        // The library's own timer, which runs only until there is a connection; one that stands for long and dies has
        // the system's error.
        io::ErrorKind::TimedOut => error.raw_os_error().is_none(),
        _ => false,
    }
}

/// The session that speaks has ended.
pub(crate) fn session_ended() -> Error {
    Error::new(ErrorKind::SessionLost, "the session has ended")
}

/// The claim was withdrawn before this attempt of it arrived.
pub(crate) fn void() -> Error {
    Error::new(ErrorKind::Closed, "the claim was withdrawn before")
}

/// The contest changed under every one of our attempts.
pub(crate) fn busy() -> Error {
    Error::new(ErrorKind::Unavailable, "the seat changed hands again and again during the step")
}

/// Whoever kept a lease alive had been deposed before a majority was heard, every time.
pub(crate) fn deposed() -> Error {
    Error::new(ErrorKind::Unavailable, "the servers elect one leader after the other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_was_sent_where_there_was_no_connection() {
        let says = |kind| was_refused(&io::Error::new(kind, "it"));
        assert!(says(io::ErrorKind::ConnectionRefused) && says(io::ErrorKind::TimedOut));
        assert!(!says(io::ErrorKind::ConnectionReset) && !says(io::ErrorKind::BrokenPipe));
        // A connection that stood: ETIMEDOUT.
        assert!(!was_refused(&io::Error::from_raw_os_error(110)));
    }

    #[test]
    fn a_server_that_cannot_keep_up_is_asked_again_and_a_full_one_is_not() {
        let says = |words: &'static str| of_status(code::EXHAUSTED, &io::Error::other(words)).0;
        assert_eq!(says("etcdserver: too many requests"), ErrorKind::Unavailable);
        assert_eq!(says("etcdserver: mvcc: database space exceeded"), ErrorKind::Exhausted);
    }

    /// Since 3.6 with another code than before.
    #[test]
    fn a_server_that_cannot_serve_yet_did_nothing_and_another_may() {
        let told = |code, words: &'static str| of_status(code, &io::Error::other(words));
        for words in ["etcdserver: rpc not supported for learner", "etcdserver: not capable"] {
            for code in [code::UNAVAILABLE, code::PRECONDITION] {
                assert_eq!(told(code, words), (ErrorKind::Unavailable, Effect::None), "{words}");
            }
        }
        let guarded = "etcdserver: authentication is not enabled";
        assert_eq!(told(code::PRECONDITION, guarded), (ErrorKind::Denied, Effect::None));
    }

    #[test]
    fn what_is_out_of_range_is_told_apart() {
        let told = |words: &'static str| of_status(code::OUT_OF_RANGE, &io::Error::other(words));
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        assert_eq!(told("etcdserver: too large lease TTL"), (ErrorKind::InvalidOption, Effect::None));
        assert_eq!(told(compacted), (ErrorKind::Unavailable, Effect::None));
        // Whatever was asked for was done.
        assert_eq!(told("decoded message length too large"), (ErrorKind::Internal, Effect::Unknown));
    }

    #[test]
    fn a_request_that_is_too_large_is_no_matter_of_rights() {
        let kind = |words: &str| of_invalid(words);
        assert_eq!(kind("etcdserver: request is too large"), ErrorKind::InvalidValue);
        assert_eq!(kind("etcdserver: too many operations in txn request"), ErrorKind::Internal);
        assert_eq!(kind("etcdserver: authentication failed, invalid user ID or password"), ErrorKind::Denied);
    }
}
