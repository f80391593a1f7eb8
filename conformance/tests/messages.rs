//! Many processes on one topic of a real server, whose connections break: one order, no gap, no message twice.
//!
//! `TOOZ_ROUNDS` says how many messages each publisher has, and with it how often everything breaks.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::process::{Command, Stdio};
use std::time::Duration;

use conformance::proxy::Proxy;
use conformance::servers::{Etcd, Redis, Zookeeper};

const PROCESSES: u64 = 4;

fn rounds(usual: u64) -> u64 {
    std::env::var("TOOZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Runs the tool through the proxy, whose connections are all cut whenever a further part of what there is to do is done.
fn run(url: &str, proxy: &Proxy) -> String {
    let (messages, breaks) = (rounds(120), rounds(120).div_ceil(100).max(6));
    let mut command = Command::new(env!("CARGO_BIN_EXE_messages"));
    for (name, number) in [
        ("--publishers", PROCESSES),
        ("--messages", messages),
        ("--subscribers", PROCESSES),
        ("--reconnects", breaks),
    ] {
        command.args([name, &number.to_string()]);
    }
    let child = command.args(["--url", url]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (done, end) = std::sync::mpsc::channel();
    let waiting = std::thread::spawn(move || {
        let output = child.wait_with_output().unwrap();
        done.send(()).unwrap();
        output
    });
    let (part, mut broken) = (PROCESSES * messages / breaks, 0);
    let mut next = part;
    while end.recv_timeout(Duration::from_millis(2)).is_err() {
        if broken < breaks && proxy.counts().requests >= next {
            proxy.reset();
            broken += 1;
            next = proxy.counts().requests + part;
        }
    }
    let output = waiting.join().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(broken, breaks, "vacuous: {text}");
    let (published, delivered) = (PROCESSES * messages, PROCESSES * PROCESSES * messages);
    assert!(text.contains(&format!("{published} published, {delivered} delivered, 0 violations")), "{text}");
    text
}

fn show(text: &str) {
    std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).unwrap();
}

#[test]
fn one_order_on_redis_however_often_connections_break() {
    let server = Redis::start();
    let proxy = Proxy::bytes(server.port());
    show(&run(&format!("redis://{}", proxy.address()), &proxy));
}

#[test]
fn one_order_on_etcd_however_often_connections_break() {
    let server = Etcd::start();
    let proxy = Proxy::bytes(server.node().address().rsplit(':').next().unwrap().parse().unwrap());
    show(&run(&format!("etcd://{}", proxy.address()), &proxy));
}

#[test]
fn one_order_on_zookeeper_however_often_connections_break() {
    let server = Zookeeper::start();
    let proxy = Proxy::bytes(server.port());
    show(&run(&format!("zookeeper://{}", proxy.address()), &proxy));
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
