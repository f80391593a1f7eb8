//! Every row in seconds: that it runs, hits and passes. Volumes: `conformance/rows all`.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::path::Path;
use std::process::{Command, Output};

fn rows(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rows")).args(words).output().unwrap()
}

/// Runs a row with so small a volume, and says what it printed.
fn passes(row: &str, driver: &str, volume: &str) -> String {
    let output = rows(&[row, "--driver", driver, "--volume", volume, "--span", "2", "--slack-ms", "25000"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains(" 0 violations") && text.contains("passed"), "{text}");
    text
}

#[test]
fn processes_that_contend_exclude_each_other() {
    passes("contended", "redis", "200");
}

#[test]
fn names_of_killed_holders_are_free_in_time() {
    passes("killed", "redis", "50");
}

#[test]
fn guards_that_are_left_without_a_word_are_free_in_time() {
    passes("deserted", "redis", "50");
    passes("deserted", "file", "50");
}

#[test]
fn holders_that_are_stopped_for_too_long_know_it_and_write_nothing() {
    let text = passes("stopped", "redis", "12");
    assert!(!text.contains("writes refused: 0"), "{text}");
}

#[test]
fn lost_answers_lose_no_lock() {
    passes("lost-acquires", "etcd", "12");
    passes("lost-releases", "redis", "30");
}

#[test]
fn locks_exclude_through_every_kind_of_partition() {
    passes("parted", "redis", "12");
}

#[test]
fn a_server_that_keeps_its_data_may_be_killed() {
    passes("restarted", "redis-always", "2");
}

#[test]
fn tokens_stay_in_order_when_the_servers_clock_jumps() {
    let text = passes("jumped", "redis-clock", "4");
    assert!(text.contains(" documented ones") || !text.contains("guards lost: 0,"), "{text}");
}

#[test]
fn locks_exclude_while_the_first_of_three_servers_is_killed() {
    passes("failed-over", "etcd-three", "1");
}

#[test]
fn views_tell_of_nothing_that_did_not_happen() {
    passes("groups", "file", "20");
}

#[test]
fn futures_dropped_at_any_await_leave_nothing_on_any_store() {
    for (driver, volume) in
        [("memory", "2000"), ("file", "500"), ("redis", "600"), ("etcd", "600"), ("zookeeper", "600")]
    {
        let text = passes("dropped", driver, volume);
        assert!(text.contains("calls: 67"), "every call: {text}");
        let passes =
            text.split("passes: ").nth(1).and_then(|rest| rest.split(',').next()?.parse::<u64>().ok());
        assert!(passes >= Some(3), "at once, after a pause, and after other calls: {text}");
    }
}

#[test]
fn much_is_held_by_one_process() {
    passes("hoarded", "redis", "300");
}

/// A run whose fault did not hit often enough proves nothing, and says so.
#[test]
fn a_row_that_hits_too_little_fails_and_keeps_its_history() {
    let output = rows(&["stopped", "--driver", "file", "--volume", "100000", "--cap", "1"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && text.contains("FAILED"), "{text}");
    let history = text.split("history: ").nth(1).unwrap().split(',').next().unwrap();
    assert!(Path::new(history).join("faults").exists(), "{text}");
    let replayed = rows(&["replay", history]);
    assert!(String::from_utf8_lossy(&replayed.stdout).contains(" 0 violations"), "{replayed:?}");
    std::fs::remove_dir_all(history).unwrap();
}

#[test]
fn figures_come_into_a_document_from_the_run_that_took_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (lines, document) = (path("lines"), path("document"));
    std::fs::write(&document, "above\n<!-- figures: begin -->\n<!-- figures: end -->\nbelow\n").unwrap();
    let ran = rows(&["dropped", "--driver", "memory", "--volume", "100", "--json", &lines]);
    assert!(ran.status.success(), "{ran:?}");
    let put = rows(&["table", "--json", &lines, "--into", &document]);
    assert!(put.status.success(), "{put:?}");
    let text = std::fs::read_to_string(&document).unwrap();
    assert!(text.contains("| dropped | memory | ") && text.contains(" of 100 | "), "{text}");
    assert!(text.contains("| passed, ") && text.ends_with("below\n"), "{text}");
}
