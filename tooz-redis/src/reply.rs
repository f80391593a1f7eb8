//! What scripts answer, read without trust.

use redis::Value;
use tooz_core::{Error, ErrorKind, FencingToken};

/// An answer that is not of the shape its script gives.
pub(crate) fn odd(step: &str, answer: &Value) -> Error {
    let shape = match answer {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::Array(_) => "a list of another shape",
        Value::ServerError(_) => "an error",
        _ => "a text",
    };
    Error::new(ErrorKind::Corrupt, format!("{step}: the script answered {shape}")).effect_unknown()
}

/// A word such as "void".
pub(crate) fn word(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::Okay => Some("OK"),
        _ => None,
    }
}

/// Raw bytes.
pub(crate) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

/// A whole number, also where it is written as text.
pub(crate) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(*number),
        other => word(other)?.split('.').next()?.parse().ok(),
    }
}

/// A number that is no less than zero.
pub(crate) fn count(value: &Value) -> Option<u64> {
    number(value).and_then(|number| u64::try_from(number).ok())
}

/// A list.
pub(crate) fn list(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// A fencing token.
pub(crate) fn token(value: &Value) -> Option<FencingToken> {
    count(value).filter(|number| *number > 0).map(FencingToken::new)
}
