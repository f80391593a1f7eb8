//! Redis' protocol.

use super::{Kind, Next};
use crate::servers::resp::{Decoded, Value, decode};

pub(super) fn next(bytes: &[u8]) -> Next {
    match decode(bytes) {
        Decoded::Whole(value, length, push) => {
            let command = command(&value);
            let kind = if push || command.as_deref().is_some_and(is_about_channels) {
                Kind::Note
            } else {
                Kind::Call
            };
            Next::Whole { length, kind, command, stream: None }
        }
        Decoded::Part => Next::Part,
        Decoded::Foreign => Next::Foreign,
    }
}

fn command(value: &Value) -> Option<String> {
    match value.list().first()? {
        Value::Text(name) => Some(String::from_utf8_lossy(name).to_ascii_uppercase()),
        _ => None,
    }
}

/// Subscribing is answered by pushes, and in the old version by what merely looks like an answer.
fn is_about_channels(word: &str) -> bool {
    const KINDS: &[&str] = &["SUBSCRIBE", "UNSUBSCRIBE", "MESSAGE"];
    KINDS.contains(&word) || word.strip_prefix(['P', 'S']).is_some_and(|stem| KINDS.contains(&stem))
}
