//! What the server and the client crate say, as kind, effect and text.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, ServerError};
use tooz_core::{Error, ErrorKind};

/// The first word of an error reply, and what it means. A reply is an answer: nothing was done, except
/// where a script had begun ([`began`]).
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

/// The error of an attempt to connect: nothing was asked yet.
pub(crate) fn unreached(place: impl std::fmt::Display, cause: RedisError) -> Error {
    let (kind, said) = meaning(&cause);
    Error::new(kind, format!("connect to redis at {place}: {said}")).with_source(cause)
}

/// The error of a request that was sent.
pub(crate) fn unanswered(cause: RedisError) -> Error {
    let (kind, said) = meaning(&cause);
    let error = Error::new(kind, said);
    // Only an error reply is an answer; anything else may have happened after the request was carried out.
    let error = match cause.code() {
        Some(code) if !began(code, cause.detail()) => error,
        _ => error.effect_unknown(),
    };
    error.with_source(cause)
}

/// The error of an error reply inside a pipeline.
pub(crate) fn refused(reply: &ServerError) -> Error {
    let error =
        Error::new(reply_kind(reply.code(), reply.details()), reply_text(reply.code(), reply.details()));
    match began(reply.code(), reply.details()) {
        true => error.effect_unknown(),
        false => error,
    }
}

/// The error of a request that was not answered in time.
pub(crate) fn silent(patience: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, format!("redis did not answer in {:?}", rounded(patience)))
        .effect_unknown()
}

/// The error of a connection that was not there in time: nothing was sent.
pub(crate) fn unconnected(place: impl std::fmt::Display, patience: Duration) -> Error {
    let text = format!("connect to redis at {place}: no answer in {:?}", rounded(patience));
    Error::new(ErrorKind::Unavailable, text)
}

fn rounded(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from(span.as_micros().div_ceil(1000)).unwrap_or(u64::MAX))
}

/// One error for servers that all failed: what every one refuses is a refusal, the rest may pass.
pub(crate) fn all_failed(complaints: &[Error]) -> Error {
    let first = complaints.first().map_or(ErrorKind::Unavailable, Error::kind);
    let agreed = complaints.iter().all(|error| error.kind() == first);
    let said: Vec<_> = complaints.iter().map(Error::to_string).collect();
    Error::new(if agreed { first } else { ErrorKind::Unavailable }, said.join("; "))
}

fn meaning(cause: &RedisError) -> (ErrorKind, String) {
    use redis::ErrorKind as Client;
    if let Some(code) = cause.code() {
        return (reply_kind(code, cause.detail()), reply_text(code, cause.detail()));
    }
    if let Some(distrust) = distrust(cause) {
        return (ErrorKind::Denied, format!("TLS: {distrust}"));
    }
    match cause.kind() {
        Client::AuthenticationFailed => {
            let said = cause.detail().unwrap_or("user or password refused");
            (ErrorKind::Denied, format!("authentication failed: {said}"))
        }
        Client::RESP3NotSupported => {
            let text = "the server does not speak RESP3: Redis 6 or newer is needed";
            (ErrorKind::Unsupported, text.to_owned())
        }
        Client::Parse => {
            let text = "the answer is no Redis protocol: is this a Redis port?";
            (ErrorKind::Unavailable, text.to_owned())
        }
        Client::UnexpectedReturnType => (ErrorKind::Corrupt, cause.to_string()),
        Client::InvalidClientConfig | Client::EmptySentinelList => (ErrorKind::InvalidUrl, cause.to_string()),
        _ => (ErrorKind::Unavailable, cause.to_string()),
    }
}

/// Why the server or we do not believe the other's certificate.
fn distrust(cause: &RedisError) -> Option<&rustls::Error> {
    use rustls::AlertDescription as Alert;
    type Any = Arc<dyn StdError + Send + Sync>;
    let inner = cause.source()?.downcast_ref::<Any>()?.downcast_ref::<std::io::Error>()?;
    let tls = inner.get_ref()?.downcast_ref::<rustls::Error>()?;
    let distrusted = match tls {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => true,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::CertificateRequired
                | Alert::UnknownCA
                | Alert::AccessDenied
        ),
        _ => false,
    };
    distrusted.then_some(tls)
}

fn reply_kind(code: &str, detail: Option<&str>) -> ErrorKind {
    if let Some((_, kind)) = REPLIES.iter().find(|(known, _)| *known == code) {
        return *kind;
    }
    let said = detail.unwrap_or_default().to_ascii_lowercase();
    let plain = PLAIN.iter().find(|(beginning, _)| said.starts_with(beginning));
    // What is left is a script of ours that met something it cannot read.
    plain.map_or(ErrorKind::Corrupt, |(_, kind)| *kind)
}

fn reply_text(code: &str, detail: Option<&str>) -> String {
    let detail = detail.unwrap_or_default();
    let said = detail.split(" script: ").next().unwrap_or(detail).trim_end_matches('.');
    match said {
        "" => format!("redis says {code}"),
        said => format!("redis says {code}: {said}{}", missing(said)),
    }
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

/// Whether the reply came out of a script that may have written before it failed. The server itself makes
/// sure of the opposite where it is full, read-only or short of replicas: it refuses the first write.
fn began(code: &str, detail: Option<&str>) -> bool {
    let refuses_first_write = ["OOM", "READONLY", "MISCONF", "NOREPLICAS"].contains(&code);
    detail.is_some_and(|detail| detail.contains(" script: ")) && !refuses_first_write
}

#[cfg(test)]
mod tests {
    use tooz_core::Effect;

    use super::*;

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

    #[test]
    fn a_broken_connection_leaves_the_effect_unknown_once_the_request_was_sent() {
        let reset = || RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
        let sent = unanswered(reset());
        assert_eq!((sent.kind(), sent.effect()), (ErrorKind::Unavailable, Effect::Unknown));
        let unsent = unreached("h:1", reset());
        assert_eq!((unsent.kind(), unsent.effect()), (ErrorKind::Unavailable, Effect::None));
        assert_eq!(silent(Duration::from_secs(1)).effect(), Effect::Unknown);
        assert_eq!(unconnected("h:1", Duration::from_secs(1)).effect(), Effect::None);
    }

    #[test]
    fn servers_that_fail_differently_may_all_be_back() {
        let denied = || Error::new(ErrorKind::Denied, "no");
        let away = || Error::new(ErrorKind::Unavailable, "away");
        assert_eq!(all_failed(&[denied(), denied()]).kind(), ErrorKind::Denied);
        assert_eq!(all_failed(&[denied(), away()]).kind(), ErrorKind::Unavailable);
        assert_eq!(all_failed(&[denied(), away()]).to_string(), "no; away");
    }

    #[test]
    fn the_client_crates_own_errors_are_told_apart() {
        use redis::ErrorKind as Client;
        let kind_of = |kind: Client| unanswered(RedisError::from((kind, "said"))).kind();
        assert_eq!(kind_of(Client::AuthenticationFailed), ErrorKind::Denied);
        assert_eq!(kind_of(Client::RESP3NotSupported), ErrorKind::Unsupported);
        assert_eq!(kind_of(Client::Parse), ErrorKind::Unavailable);
        assert_eq!(kind_of(Client::UnexpectedReturnType), ErrorKind::Corrupt);
        assert_eq!(kind_of(Client::InvalidClientConfig), ErrorKind::InvalidUrl);
        assert_eq!(kind_of(Client::ClusterConnectionNotFound), ErrorKind::Unavailable);
    }
}
