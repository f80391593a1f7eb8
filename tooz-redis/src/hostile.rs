//! Every decoder of this crate, for the tests of hostile input and for fuzzers. No part of the interface.
//! What scripts answer is given as it comes over the wire.

use std::str::from_utf8;
use std::time::Duration;

use redis::{Value, parse_redis_value};
use tooz_core::Endpoint;
use tooz_core::backend::Mark;
use tooz_core::hostile::Decoder;

use crate::config::Config;
use crate::keys;
use crate::news::News;
use crate::record::Record;
use crate::ticket::Ticket;
use crate::{groups, look, message, reply, server};

/// Their names and what to call.
pub const DECODERS: &[(&str, Decoder)] = &[
    ("redis-answer", answer),
    ("redis-field", field),
    ("redis-info", info),
    ("redis-news", news),
    ("redis-record", record),
    ("redis-ticket", ticket),
    ("redis-url", url),
];

/// So many lists in each other are more than any script answers.
const DEEPEST: usize = 16;

/// What scripts answer: to a look at a seat, a group or a channel.
fn answer(bytes: &[u8]) {
    if bytes.iter().filter(|byte| b"*%~|>".contains(byte)).count() > DEEPEST {
        return;
    }
    let Ok(value) = parse_redis_value(bytes) else { return };
    let _ = look::read(&value, Mark(0), Some(Duration::from_secs(1)));
    let _ = groups::read(&value);
    let _ = (message::read(&value, true), message::read(&value, false));
    let _ = (reply::token(&value), reply::number(&value), reply::odd("hostile", &value).to_string());
    if let Value::Array(items) = &value {
        let [life, number, at, ..] = items.as_slice() else { return };
        let _ = message::offset(life, number, at);
    }
}

/// A member by its field in a group.
fn field(bytes: &[u8]) {
    assert!(keys::member_of(bytes).is_none_or(|member| keys::field(&member) == bytes));
}

fn info(bytes: &[u8]) {
    server::hostile(&String::from_utf8_lossy(bytes));
}

fn news(bytes: &[u8]) {
    let _ = News::read(bytes);
}

fn record(bytes: &[u8]) {
    let _ = Record::decode(bytes);
}

fn ticket(bytes: &[u8]) {
    assert!(Ticket::decode(bytes).is_none_or(|ticket| Ticket::decode(&ticket.encode()) == Some(ticket)));
}

fn url(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let _ = Endpoint::parse(text).and_then(|endpoint| Config::read(&endpoint));
}
