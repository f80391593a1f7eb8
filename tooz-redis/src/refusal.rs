//! What an error reply of the server means. Pure.

use tooz_core::ErrorKind;

/// The first word of an error reply, and what it means. A reply is an answer: nothing was done, except
/// where a script had [begun](Refusal::began).
const REPLIES: &[(&str, ErrorKind)] = &[
    ("NOAUTH", ErrorKind::Denied),
    ("WRONGPASS", ErrorKind::Denied),
    ("NOPERM", ErrorKind::Denied),
    ("DENIED", ErrorKind::Denied),
    ("OOM", ErrorKind::Exhausted),
    ("MISCONF", ErrorKind::Exhausted),
    ("WRONGTYPE", ErrorKind::Corrupt),
    ("LOADING", ErrorKind::Unavailable),
    ("BUSY", ErrorKind::Unavailable),
    ("READONLY", ErrorKind::Unavailable),
    ("NOREPLICAS", ErrorKind::Unavailable),
    ("MASTERDOWN", ErrorKind::Unavailable),
    ("CLUSTERDOWN", ErrorKind::Unavailable),
    ("TRYAGAIN", ErrorKind::Unavailable),
    ("MOVED", ErrorKind::Unavailable),
    ("ASK", ErrorKind::Unavailable),
    ("NOSCRIPT", ErrorKind::Unavailable),
    ("UNKILLABLE", ErrorKind::Unavailable),
    ("NOPROTO", ErrorKind::Unsupported),
    ("CROSSSLOT", ErrorKind::Internal),
    ("EXECABORT", ErrorKind::Internal),
];

/// What the plain `ERR` says where its beginning tells, in lower case.
const PLAIN: &[(&str, ErrorKind)] = &[
    ("max number of clients", ErrorKind::Unavailable),
    ("unknown command", ErrorKind::Unsupported),
    ("unknown subcommand", ErrorKind::Unsupported),
    ("this instance has cluster support disabled", ErrorKind::InvalidUrl),
    ("db index is out of range", ErrorKind::InvalidOption),
    ("select is not allowed", ErrorKind::InvalidOption),
    ("auth <password> called without any password", ErrorKind::Denied),
    ("invalid password", ErrorKind::Denied),
    ("operation not permitted", ErrorKind::Denied),
    ("the user executing the script", ErrorKind::Denied),
    ("acl failure in script", ErrorKind::Denied),
];

/// What a server before Redis 7.0 says, with the code `ERR`, before whatever went wrong inside a script.
const IN_SCRIPT: &str = "Error running script (call to ";

/// An error reply: its code, what it says, and whether that was said inside a script.
pub(crate) struct Refusal<'a> {
    code: &'a str,
    said: &'a str,
    in_script: bool,
}

impl<'a> Refusal<'a> {
    /// Reads one, of old and new servers alike.
    pub(crate) fn read(code: &'a str, detail: Option<&'a str>) -> Self {
        let detail = detail.unwrap_or_default();
        if let Some(call) = detail.strip_prefix(IN_SCRIPT) {
            let (_, fault) = call.split_once("): ").unwrap_or_default();
            let (inner, said) = inner_code(unplaced(fault)).unwrap_or((code, unplaced(fault)));
            return Self { code: inner, said: said.trim_end(), in_script: true };
        }
        match detail.split_once(" script: ") {
            Some((said, _)) => Self { code, said, in_script: true },
            None => Self { code, said: detail, in_script: false },
        }
    }

    /// The kind of error that it is.
    pub(crate) fn kind(&self) -> ErrorKind {
        if let Some((_, kind)) = REPLIES.iter().find(|(known, _)| *known == self.code) {
            return *kind;
        }
        let said = self.said.to_ascii_lowercase();
        let plain = PLAIN.iter().find(|(beginning, _)| said.starts_with(beginning));
        // What is left is a script of ours that met something it cannot read.
        plain.map_or(ErrorKind::Corrupt, |(_, kind)| *kind)
    }

    /// What a person is told.
    pub(crate) fn text(&self) -> String {
        match self.said.trim_end_matches('.') {
            "" => format!("redis says {}", self.code),
            said => format!("redis says {}: {said}{}", self.code, missing(said)),
        }
    }

    /// Whether the reply came out of a script that may have written before it failed. The server itself makes
    /// sure of the opposite where it is full, read-only or short of replicas: it refuses the first write.
    pub(crate) fn began(&self) -> bool {
        let refuses_first_write = ["OOM", "READONLY", "MISCONF", "NOREPLICAS"].contains(&self.code);
        self.in_script && !refuses_first_write
    }

    /// Whether the server says that another is primary, having changed nothing.
    pub(crate) fn is_turned_away(&self) -> bool {
        matches!(self.code, "READONLY" | "MASTERDOWN")
    }
}

/// Without the places in a script that stand before what went wrong there: `@user_script:4: @user_script: 4: …`.
fn unplaced(fault: &str) -> &str {
    let place = fault.strip_prefix('@').unwrap_or(fault).strip_prefix("user_script:");
    let rest = place.and_then(|place| place.trim_start().split_once(": "));
    match rest {
        Some((line, rest)) if line.bytes().all(|byte| byte.is_ascii_digit()) => unplaced(rest),
        _ => fault,
    }
}

/// The code of a command that failed inside a script, which has a minus sign where the server refused to begin it.
fn inner_code(fault: &str) -> Option<(&str, &str)> {
    let (code, said) = fault.strip_prefix('-').unwrap_or(fault).split_once(' ')?;
    (code.len() > 2 && code.bytes().all(|byte| byte.is_ascii_uppercase())).then_some((code, said))
}

/// What a user lacks who may not touch a key or a channel: the server does not say which.
fn missing(said: &str) -> &'static str {
    let refused = said.contains("permission") || said.contains("can't access");
    if refused && said.contains("keys") {
        " (with NS for the namespace, the user needs ~NS_* ~{NS_* ~{*}:tooz:NS_* ~tooz-rs:NS:*)"
    } else if refused && said.contains("channels") {
        " (with NS for the namespace, the user needs &tooz-rs:NS:*)"
    } else if said.contains("can't run this command") {
        " (the commands that a user needs are listed in the driver's documentation)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use redis::RedisError;
    use tooz_core::Effect;

    use super::*;
    use crate::error::{unanswered, unreached};

    fn reply(code: &str, detail: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
    }

    #[test]
    fn every_error_reply_has_its_kind_and_changed_nothing() {
        for (code, kind) in REPLIES {
            let error = unanswered(reply(code, "because."));
            assert_eq!((error.kind(), error.effect()), (*kind, Effect::None), "{code}");
            assert_eq!(error.to_string(), format!("redis says {code}: because"));
            assert_eq!(unreached("h:1", reply(code, "because")).kind(), *kind);
        }
        for (said, kind) in PLAIN {
            assert_eq!(unanswered(reply("ERR", &format!("{said} …"))).kind(), *kind, "{said}");
        }
        assert_eq!(unanswered(reply("TOOZ", "record of version 9")).kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_script_that_fails_half_way_may_have_written() {
        let midway = |code| unanswered(reply(code, "said so script: 1f2e, on @user_script:3."));
        assert_eq!(midway("WRONGTYPE").effect(), Effect::Unknown);
        assert_eq!(midway("NOPERM").effect(), Effect::Unknown);
        assert_eq!(midway("OOM").effect(), Effect::None);
        assert_eq!(midway("READONLY").effect(), Effect::None);
        assert_eq!(midway("WRONGTYPE").to_string(), "redis says WRONGTYPE: said so");
    }

    /// Before Redis 7.0 everything that happens in a script is an `ERR`, and the code stands somewhere in the text.
    #[test]
    fn errors_inside_scripts_of_old_servers_mean_what_they_mean_on_new_ones() {
        use Effect::{None, Unknown};
        use ErrorKind::{Corrupt, Denied, Exhausted, Unavailable};
        let call =
            "Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): @user_script:4: ";
        for (fault, code, kind, effect) in [
            (
                "@user_script: 4: -READONLY You can't write against a read only replica. ",
                "READONLY",
                Unavailable,
                None,
            ),
            (
                "@user_script: 4: -OOM command not allowed when used memory > 'maxmemory'. ",
                "OOM",
                Exhausted,
                None,
            ),
            (
                "@user_script: 4: -MISCONF Errors writing to the AOF file: No space left on device ",
                "MISCONF",
                Exhausted,
                None,
            ),
            (
                "@user_script: 4: The user executing the script can't run this command or subcommand ",
                "ERR",
                Denied,
                Unknown,
            ),
            (
                "@user_script: 4: The user executing the script can't access at least one of the keys mentioned in the \
                 command arguments ",
                "ERR",
                Denied,
                Unknown,
            ),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value ",
                "WRONGTYPE",
                Corrupt,
                Unknown,
            ),
            ("ERR value is not an integer or out of range ", "ERR", Corrupt, Unknown),
            ("user_script:4: the seat was written by a newer version (2) ", "ERR", Corrupt, Unknown),
        ] {
            let error = unanswered(reply("ERR", &format!("{call}{fault}")));
            assert_eq!((error.kind(), error.effect()), (kind, effect), "{fault}");
            let text = error.to_string();
            assert!(text.starts_with(&format!("redis says {code}: ")), "{text}");
            assert!(!text.contains("user_script") && !text.contains("call to"), "{text}");
        }
        let cut_short = unanswered(reply("ERR", "Error running script (call to f_6b1b"));
        assert_eq!((cut_short.kind(), cut_short.effect()), (Corrupt, Unknown));
    }

    #[test]
    fn an_old_server_that_turns_a_script_away_is_left_for_the_primary() {
        let replica = "Error running script (call to f_1028): @user_script:4: @user_script: 4: -READONLY You can't \
                       write against a read only replica.";
        assert!(Refusal::read("ERR", Some(replica)).is_turned_away());
        assert!(Refusal::read("READONLY", Some("You can't write")).is_turned_away());
        let mentioned = "Error running script (call to f_1028): @user_script:4: user_script:4: not READONLY";
        assert!(!Refusal::read("ERR", Some(mentioned)).is_turned_away());
    }
}
