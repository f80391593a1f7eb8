//! Short runs of the tools: many processes on one lock or topic, and acquires dropped at random awaits.

use std::process::Command;

#[allow(clippy::unwrap_used)] // a failed assumption here is a failed test
fn run(tool: &str, arguments: &[&str]) -> String {
    let output = Command::new(tool).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// How many were killed while they had something left to do.
fn killed_at_work(text: &str) -> u64 {
    let before = text.split(" killed at work").next().and_then(|text| text.rsplit_once(" of "));
    before.and_then(|(text, _)| text.rsplit([' ', '\n']).next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn processes_that_contend_exclude_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/root", folder.path().display());
    let text = run(env!("CARGO_BIN_EXE_contend"), &["--url", &url, "--processes", "4", "--cycles", "400"]);
    assert!(text.contains(" 0 violations") && text.contains("plain flock"), "{text}");
}

#[test]
fn processes_that_are_killed_leave_the_lock_to_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/root", folder.path().display());
    let arguments = ["--url", &url, "--processes", "4", "--cycles", "800", "--kills", "8"];
    let text = run(env!("CARGO_BIN_EXE_contend"), &arguments);
    assert!(text.contains(" 0 violations"), "{text}");
    assert!(killed_at_work(&text) > 0, "vacuous: {text}");
}

#[test]
fn dropped_acquires_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = format!("file://{}/root", folder.path().display());
    for url in [file.as_str(), "memory://drops"] {
        let text = run(env!("CARGO_BIN_EXE_drops"), &["--url", url, "--count", "500"]);
        assert!(text.contains("left behind: 0 claims, 0 open files"), "{text}");
        assert!(!text.contains("granted: 0,") && !text.contains("cut: 0,"), "vacuous: {text}");
    }
}

#[test]
fn processes_read_one_order_without_gaps_however_often_they_reconnect() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/root", folder.path().display());
    let arguments = ["--url", &url, "--publishers", "4", "--messages", "5000", "--subscribers", "4"];
    let text = run(env!("CARGO_BIN_EXE_messages"), &[&arguments[..], &["--reconnects", "50"]].concat());
    assert!(text.contains("20000 published, 80000 delivered, 0 violations"), "{text}");
}

#[test]
fn publishers_that_are_killed_leave_one_order_too() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/root", folder.path().display());
    let arguments = ["--url", &url, "--publishers", "3", "--messages", "1500", "--kills", "6"];
    let text = run(env!("CARGO_BIN_EXE_messages"), &arguments);
    assert!(text.contains(" 0 violations"), "{text}");
    assert!(killed_at_work(&text) > 0, "vacuous: {text}");
}
