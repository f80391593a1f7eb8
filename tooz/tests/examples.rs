//! The examples run to their end.
//!
//! `cargo test` builds them together with this test; with `--test examples` alone, build them first.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed assumption is a failed test")]

#[path = "examples/pool.rs"]
mod pool;

use std::path::{Path, PathBuf};
use std::process::Command;

fn program(name: &str) -> PathBuf {
    // Beside this test's own folder, whatever the profile and the target directory.
    let folder = std::env::current_exe().unwrap();
    let folder =
        folder.ancestors().map(|above| above.join("examples")).find(|folder| folder.is_dir()).unwrap();
    let program: PathBuf = Path::new(&folder).join(name);
    assert!(program.exists(), "build {name} first: cargo build -p tooz --examples");
    program
}

fn run(name: &str, url: &str) -> String {
    let mut command = Command::new(program(name));
    let ended = command.env("TOOZ_BACKEND", url).env_remove("TOOZ_MEMBER").output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success(), "{name} on {url}: {text}{}", String::from_utf8_lossy(&ended.stderr));
    text
}

fn on_both_stores(name: &str, says: &str) {
    let folder = tempfile::tempdir().unwrap();
    for url in [format!("memory://{name}"), format!("file://{}/store", folder.path().display())] {
        let text = run(name, &url);
        assert!(text.contains(says), "{url}: {text}");
    }
}

#[test]
fn quickstart_acquires_works_releases_and_disconnects() {
    on_both_stores("quickstart", "worked for 2s\nreleased\ndisconnected\n");
}

#[test]
fn leader_hands_over_to_the_second_candidate() {
    on_both_stores("leader", "candidate-2 leads");
}

#[test]
fn members_shows_who_joined() {
    on_both_stores("members", "watcher has weight 7");
}

#[test]
fn partition_shares_the_jobs_and_takes_them_back() {
    let shares =
        "worker-3: worker-1 (weight 1) has 308, worker-2 (weight 1) has 185, worker-3 (weight 2) has 507";
    on_both_stores("partition", shares);
    on_both_stores(
        "partition",
        "\n  1 share the jobs: 389 to worker-1, 0 away from it\nworker-1: worker-1 (weight 1) has 1000\n",
    );
}

#[test]
fn shared_lock_keeps_the_writer_out() {
    on_both_stores("shared_lock", "a writer beside them: false");
}

#[test]
fn fenced_write_refuses_the_late_writer() {
    on_both_stores("fenced_write", "the register says \"new\"");
}

#[test]
fn blocking_leads_without_async() {
    on_both_stores("blocking", "leading with term");
}
