//! Many processes on one topic of a real server, whose connections break: one order, no gap, no message twice.
//!
//! Volumes: `conformance/rows published`.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::process::Command;

use conformance::servers::Zookeeper;

fn keeps_one_order_on(driver: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rows"));
    let output = command.args(["published", "--volume", "480", "--driver", driver]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for fact in ["480 of 480", " 0 violations", "delivered: 1920", "connections broken: 6", "again: 24"] {
        assert!(text.contains(fact), "{fact}: {text}");
    }
}

#[test]
fn one_order_on_redis_however_often_connections_break() {
    keeps_one_order_on("redis");
}

#[test]
fn one_order_on_etcd_however_often_connections_break() {
    keeps_one_order_on("etcd");
}

#[test]
fn one_order_on_zookeeper_however_often_connections_break() {
    keeps_one_order_on("zookeeper");
}

/// A publisher that is killed with -9 leaves one message or none.
#[test]
fn publishers_that_are_killed_leave_one_order_on_zookeeper_too() {
    let server = Zookeeper::start();
    let arguments = ["--publishers", "3", "--messages", "400", "--kills", "6", "--reconnects", "2", "--url"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_messages"));
    let output = command.args(arguments).arg(server.url()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(" 0 violations"), "{text}");
}
