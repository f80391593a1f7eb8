//! The line against real servers. What users get to read, and what was measured, is shown by `--nocapture`.

#![allow(clippy::print_stdout)] // figures and sentences for whoever runs the tests by hand

mod cluster;
mod deadlines;
mod faults;
mod plain;
mod sentinel;
mod subscriber;
mod tls;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use redis::Value;
use tooz_core::backend::Opening;
use tooz_core::{BootClock, Endpoint, Name, Result, SessionId};

use super::{Call, Line, Script};
use crate::config::Config;

/// Long enough for a busy machine, short enough for a test that waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Writes a value and reads it back.
static ECHO: LazyLock<Script> = LazyLock::new(|| {
    Script::new("echo", "redis.call('set', KEYS[1], ARGV[1]) return redis.call('get', KEYS[1])")
});

/// Adds to a list, so that a call that was carried out twice shows.
static COUNT: LazyLock<Script> =
    LazyLock::new(|| Script::new("count", "return redis.call('rpush', KEYS[1], ARGV[1])"));

pub(super) fn opening() -> Opening {
    Opening {
        member: Name::new("worker-1").unwrap(),
        session: SessionId::random(),
        predecessor: None,
        ttl: Duration::from_secs(2),
        membership_ttl: Duration::from_secs(2),
        timeout: PATIENCE,
        clock: Arc::new(BootClock),
    }
}

pub(super) async fn open(url: &str) -> Result<Line> {
    open_within(url, PATIENCE).await
}

pub(super) async fn open_within(url: &str, timeout: Duration) -> Result<Line> {
    let config = Config::read(&Endpoint::parse(url)?)?;
    Line::open(config, &Opening { timeout, ..opening() }).await
}

/// The error of a line that must not open.
pub(super) async fn refusal(url: &str) -> tooz_core::Error {
    match open(url).await {
        Ok(_) => panic!("{url} is opened"),
        Err(error) => error,
    }
}

pub(super) fn echo(key: &str, value: &str) -> Call {
    call(&ECHO, key, value)
}

pub(super) fn count(key: &str) -> Call {
    call(&COUNT, key, "x")
}

pub(super) fn call(script: &'static Script, key: &str, value: &str) -> Call {
    Call { script, keys: vec![key.as_bytes().to_vec()], args: vec![value.as_bytes().to_vec()] }
}

pub(super) fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

/// Waits for a state, at most half a minute.
pub(super) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(30), "not in 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
