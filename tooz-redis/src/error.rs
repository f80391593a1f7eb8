//! What the server and the client crate say, as kind, effect and text.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use redis::{RedisError, ServerError};
use tooz_core::{Error, ErrorKind};

use crate::refusal::Refusal;

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
        Some(code) if !Refusal::read(code, cause.detail()).began() => error,
        _ => error.effect_unknown(),
    };
    error.with_source(cause)
}

/// The error of an error reply inside a pipeline.
pub(crate) fn refused(reply: &ServerError) -> Error {
    let refusal = Refusal::read(reply.code(), reply.details());
    let error = Error::new(refusal.kind(), refusal.text());
    if refusal.began() { error.effect_unknown() } else { error }
}

/// Whether the server says that another is primary, having changed nothing.
pub(crate) fn is_turned_away(code: Option<&str>, detail: Option<&str>) -> bool {
    code.is_some_and(|code| Refusal::read(code, detail).is_turned_away())
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
        let refusal = Refusal::read(code, cause.detail());
        return (refusal.kind(), refusal.text());
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

#[cfg(test)]
mod tests {
    use tooz_core::Effect;

    use super::*;

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
