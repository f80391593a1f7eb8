//! `tooz group`.

use std::io::Write;

use rustix::process::Signal;
use serde_json::json;

use crate::store::Store;

#[test]
fn groups_are_created_listed_and_deleted() {
    let store = Store::file();
    assert_eq!(store.run(&["group", "create", "b"]).out, ["group \"b\": created"]);
    let told = store.run(&["group", "create", "a", "--json"]).json();
    assert_eq!(told, json!({ "group": "a", "created": true }));
    let told = store.run(&["group", "create", "a", "--if-missing", "--json"]).json();
    assert_eq!(told, json!({ "group": "a", "created": false }));

    assert_eq!(store.run(&["group", "list"]).out, ["a", "b"]);
    assert_eq!(store.run(&["group", "list", "--json"]).json(), json!([{ "group": "a" }, { "group": "b" }]));

    assert_eq!(store.run(&["group", "delete", "a"]).out, ["group \"a\": deleted"]);
    assert_eq!(store.run(&["group", "list"]).out, ["b"]);
}

#[test]
fn members_are_listed_with_capabilities() {
    let store = Store::file();
    store.run(&["group", "create", "g"]);
    let caps = r#"{"weight": 3, "zone": "a"}"#;
    let one = store.start(&["group", "join", "g", "--member", "one", "--capabilities", caps]);
    assert_eq!(one.out.next(), "joined group \"g\" as one");
    let two = store.start(&["group", "join", "g", "--member", "two"]);
    two.out.until("joined");

    let told = store.run(&["group", "members", "g", "--json"]).json();

    let told = told.as_array().unwrap();
    assert_eq!(told.len(), 2);
    assert_eq!(
        (&told[0]["member"], &told[0]["capabilities"]),
        (&"one".into(), &json!({ "weight": 3, "zone": "a" }))
    );
    assert_eq!((&told[1]["member"], &told[1]["capabilities"]), (&"two".into(), &json!(null)));
    assert_eq!(store.run(&["group", "members", "g"]).out, ["one {\"weight\":3,\"zone\":\"a\"}", "two"]);
}

#[test]
fn a_member_stays_until_told_and_leaves_with_code_0() {
    let store = Store::file();
    for signal in [Signal::INT, Signal::TERM] {
        let mut member = store.start(&["group", "join", "g", "--create", "--member", "one", "--json"]);
        assert_eq!(member.out.json()["event"], "joined");

        member.signal(signal);

        assert_eq!(member.out.json()["event"], "left");
        assert_eq!(member.code(), 0);
        assert_eq!(store.run(&["group", "members", "g", "--json"]).json(), json!([]));
    }
}

#[test]
fn a_watcher_sees_joins_leaves_and_a_kill_9_as_they_happen() {
    let store = Store::file();
    store.run(&["group", "create", "g"]);
    let first = store.start(&["group", "join", "g", "--member", "first"]);
    first.out.until("joined");
    let mut watcher = store.start(&["group", "watch", "g"]);
    assert_eq!(watcher.out.next(), "present first");

    let mut one = store.start(&["group", "join", "g", "--member", "one", "--capabilities", "[1]"]);
    assert_eq!(watcher.out.next(), "joined one [1]");
    one.signal(Signal::TERM);
    assert_eq!(watcher.out.next(), "left one");
    assert_eq!(one.code(), 0);

    first.signal(Signal::KILL);
    assert_eq!(watcher.out.next(), "left first");

    assert_eq!(store.run(&["group", "delete", "g"]).code, 0);
    assert_eq!(watcher.out.next(), "group \"g\": deleted");

    watcher.signal(Signal::INT);
    assert_eq!(watcher.code(), 0);
}

#[test]
fn events_are_objects_for_machines() {
    let store = Store::file();
    store.run(&["group", "create", "g"]);
    let watcher = store.start(&["--json", "group", "watch", "g"]);
    watcher.err.until("watching");
    let one = store.start(&["group", "join", "g", "--member", "one", "--capabilities", r#"{"a": 1}"#]);
    let joined = watcher.out.json();
    assert_eq!((&joined["event"], &joined["member"]), (&"joined".into(), &"one".into()));
    assert_eq!(joined["capabilities"], json!({ "a": 1 }));
    one.signal(Signal::KILL);
    assert_eq!(watcher.out.json()["event"], "left");
}

#[test]
fn a_taken_member_id_and_a_group_with_members_are_refused() {
    let store = Store::file();
    let one = store.start(&["group", "join", "g", "--create", "--member", "one"]);
    one.out.until("joined");

    let twin = store.run(&["group", "join", "g", "--member", "one", "--json"]);
    assert_eq!(twin.code, 112);
    assert!(twin.complaint().contains("\"kind\":\"already_member\""), "{twin:?}");

    let delete = store.run(&["group", "delete", "g"]);
    assert_eq!(delete.code, 112);
    assert!(delete.complaint().starts_with("tooz: "), "{delete:?}");
}

#[test]
fn a_reader_that_leaves_ends_the_watcher_quietly() {
    let store = Store::file();
    store.run(&["group", "create", "g"]);
    let mut command = store.command(&["group", "watch", "g"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut watcher = command.spawn().unwrap();
    // Nobody joins either: it ends without anything to print.
    drop(watcher.stdout.take());

    let ended = watcher.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(141));
    assert!(ended.stderr.iter().filter(|byte| **byte == b'\n').count() <= 1, "{ended:?}");
}

#[test]
fn a_watcher_sees_every_new_wording_of_a_member() {
    let store = Store::file();
    store.run(&["group", "create", "g"]);
    let watcher = store.start(&["group", "watch", "g"]);
    watcher.err.until("watching");
    let mut one = store.start(&["group", "join", "g", "--member", "one", "--capabilities", "-"]);
    one.type_line(r#"{"weight": 1}"#);
    assert_eq!(watcher.out.next(), r#"joined one {"weight":1}"#);

    one.type_line(r#"{"weight": 2}"#);
    assert_eq!(watcher.out.next(), r#"updated one {"weight":2}"#);

    // A slip of the pen takes nothing away.
    one.type_line("oops");
    assert!(one.err.until("not updated").contains("line 3 of standard input is no JSON"));

    // The end of the input is not the end of the membership.
    one.input = None;
    one.out.until("updated");
    one.signal(Signal::TERM);
    assert_eq!(one.out.next(), "left group \"g\" as one");
    assert_eq!(watcher.out.next(), "left one");
}

#[test]
fn capabilities_that_cannot_be_taken_change_nothing() {
    let store = Store::file();
    let deep = format!("{}{}", "[".repeat(20), "]".repeat(20));
    let refused = store.run(&["group", "join", "g", "--create", "--capabilities", &deep]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert_eq!(store.run(&["group", "list"]).out, Vec::<String>::new());

    store.run(&["group", "create", "g"]);
    let mut one = store.start(&["group", "join", "g", "--member", "one", "--capabilities", "-"]);
    one.type_line("1");
    one.out.until("joined");
    one.type_line(&deep);
    one.err.until("not updated: line 2 of standard input cannot be taken");
    one.type_line("3");
    one.out.until("updated");
    assert_eq!(store.run(&["group", "members", "g", "--json"]).json()[0]["capabilities"], json!(3));
    one.signal(Signal::TERM);
    assert_eq!(one.code(), 0);
}

#[test]
fn a_wording_that_is_no_text_takes_nothing_away() {
    let store = Store::file();
    let mut one = store.start(&["group", "join", "g", "--create", "--capabilities", "-"]);
    one.type_line("1");
    one.out.until("joined");
    one.input.as_mut().unwrap().write_all(b"\xff\n").unwrap();
    one.err.until("not updated: line 2 of standard input is no text");

    one.type_line("3");

    one.out.until("updated");
    assert_eq!(store.run(&["group", "members", "g", "--json"]).json()[0]["capabilities"], json!(3));
    one.signal(Signal::TERM);
    assert_eq!(one.code(), 0);
}

#[test]
fn a_name_that_turns_text_around_is_shown_escaped() {
    let store = Store::file();
    assert_eq!(store.run(&["group", "create", "a\u{202e}b"]).code, 0);
    assert_eq!(store.run(&["group", "list"]).out, ["a\\u{202e}b"]);
    assert_eq!(store.run(&["group", "list", "--json"]).json(), json!([{ "group": "a\u{202e}b" }]));
}
