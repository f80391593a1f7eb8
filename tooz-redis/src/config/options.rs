//! The URL options the driver knows.

use tooz_core::backend::{OptionKind, OptionSpec};
use tooz_core::{Endpoint, Error, ErrorKind, Result};

/// The options besides the common ones.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    spec("db", OptionKind::Count, "number of the database"),
    spec("namespace", OptionKind::Text, "what every key begins with, \"_tooz\" by default as in Python"),
    spec("foreign", OptionKind::Flag, "whether Python clients use these locks too, true by default"),
    spec("wait_replicas", OptionKind::Count, "how many replicas must have a grant before it counts"),
    spec("allow_plaintext_auth", OptionKind::Flag, "send the password over a network without TLS"),
    spec("sentinel", OptionKind::Text, "what the sentinels call the primary; the URL's hosts are sentinels"),
    spec("sentinel_fallback", OptionKind::Texts, "another sentinel, HOST:PORT; may be repeated"),
    spec("sentinel_username", OptionKind::Text, "user at the sentinels"),
    spec("sentinel_password", OptionKind::Secret, "password at the sentinels"),
    spec("sentinel_ssl", OptionKind::Flag, "TLS to the sentinels"),
    spec("ssl", OptionKind::Flag, "TLS to the servers, as with rediss://"),
    spec("ssl_ca_certs", OptionKind::Text, "file of the authorities to trust instead of the system's, PEM"),
    spec("ssl_certfile", OptionKind::Text, "file of our certificate, PEM"),
    spec("ssl_keyfile", OptionKind::Text, "file of our certificate's key, PEM"),
    spec("ssl_cert_reqs", OptionKind::Text, "only \"required\": certificates are always checked"),
    spec("ssl_check_hostname", OptionKind::Flag, "only true: host names are always checked"),
    spec("socket_timeout", OptionKind::Span, "longest wait for an answer, if shorter than the rest"),
    spec(
        "socket_connect_timeout",
        OptionKind::Span,
        "longest wait for a connection, if shorter than the rest",
    ),
    spec("health_check_interval", OptionKind::Span, "how often a silent connection for news is tested"),
    spec(
        "socket_keepalive",
        OptionKind::Flag,
        "accepted for Python's sake: dead connections are always noticed",
    ),
    spec("retry_on_timeout", OptionKind::Flag, "accepted for Python's sake: what may be repeated always is"),
    spec("encoding", OptionKind::Text, "only \"utf-8\": names are always UTF-8"),
];

const fn spec(name: &'static str, kind: OptionKind, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind, help }
}

/// Refuses what would switch checks off, and what would name other keys than Python's.
pub(super) fn refuse_insecure(endpoint: &Endpoint) -> Result<()> {
    if let Some(value) = endpoint.text("ssl_cert_reqs")
        && value != "required"
    {
        return Err(refused(format!(
            "ssl_cert_reqs={value:?} would accept any server: certificates are always checked; name a private \
             authority by ssl_ca_certs=FILE"
        )));
    }
    if endpoint.text("ssl_check_hostname").is_some() && !endpoint.flag("ssl_check_hostname")? {
        return Err(refused(
            "ssl_check_hostname=false would accept another server's certificate: host names are always checked",
        ));
    }
    match endpoint.text("encoding") {
        Some(value) if !["utf8", "utf-8"].contains(&value.to_ascii_lowercase().as_str()) => {
            Err(refused(format!("encoding={value:?} is not supported: names are always UTF-8")))
        }
        _ => Ok(()),
    }
}

fn refused(text: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidOption, format!("URL option {text}"))
}
