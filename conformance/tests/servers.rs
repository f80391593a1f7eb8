//! The servers that tests start: they come, go and come back as told, and never outlive their owner.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use conformance::servers::redis::Fsync;
use conformance::servers::{Redis, ports};

#[test]
fn redis_keeps_over_a_restart_what_it_was_told_to_keep() {
    let redis = Redis::plan().append_only(Fsync::Always).start();
    assert_eq!(redis.command(&["SET", "key", "value"]).text(), "OK");

    redis.kill();
    assert!(redis.try_command(&["PING"]).is_err());
    redis.restart();
    assert_eq!(redis.command(&["GET", "key"]).text(), "value");

    redis.restart_empty();
    assert_eq!(redis.command(&["GET", "key"]).text(), "(nil)");
    assert_eq!(redis.calls().get("get"), Some(&1));
}

#[test]
fn a_dropped_server_is_gone_with_its_folder() {
    let redis = Redis::start();
    let (port, folder) = (redis.port(), redis.process().folder().path().to_owned());
    assert!(!ports::is_free(port) && folder.exists());

    drop(redis);
    assert!(ports::is_free(port) && !folder.exists());
}
