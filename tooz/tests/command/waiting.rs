//! What a waiter tells.

use serde_json::Value;

use crate::store::Store;

#[test]
fn machines_read_for_whom_one_waits() {
    let store = Store::file();
    let holder = store.start(&["lock", "a", "--member", "one", "--", "sh", "-c", "echo ready; read end"]);
    holder.out.until("ready");

    let waiter = store.start(&["--json", "lock", "a", "--", "true"]);

    let note: Value = serde_json::from_str(&waiter.err.until("waiting")).unwrap();
    assert_eq!(
        (&note["name"], &note["holders"][0], &note["position"]),
        (&"a".into(), &"one".into(), &1.into())
    );
}

#[test]
fn a_candidate_is_told_who_leads() {
    let store = Store::file();
    let holder = store.start(&["elect", "g", "--member", "one", "--", "sh", "-c", "echo ready; read end"]);
    holder.out.until("ready");

    let waiter = store.start(&["elect", "g", "--", "true"]);

    let line = waiter.err.until("waiting");
    assert!(line.contains("waiting for leadership of \"g\": held by one since"), "{line}");
}

#[test]
fn who_names_holder_token_age_and_queue() {
    let store = Store::file();
    let holder = store.start(&[
        "lock",
        "a",
        "--member",
        "one",
        "--",
        "sh",
        "-c",
        "echo $TOOZ_FENCING_TOKEN; read end",
    ]);
    let token: u64 = holder.out.next().parse().unwrap();
    let waiter = store.start(&["lock", "a", "--shared", "--member", "two", "--", "true"]);
    waiter.err.until("waiting");

    let told = store.who("a");

    assert_eq!((&told["lock"], &told["held"], &told["holder"]), (&"a".into(), &true.into(), &"one".into()));
    assert_eq!(told["token"], token);
    assert!(told["age"].as_f64().unwrap() < 60.0);
    assert_eq!(told["holders"][0]["mode"], "exclusive");
    assert_eq!(told["queue"][0]["member"], "two");
    assert_eq!(told["queue"][0]["position"], 1);
    assert_eq!(told["queue"][0]["mode"], "shared");
    let human = store.run(&["who", "a"]);
    assert!(human.out[0].starts_with(&format!("lock \"a\": held by one (token {token}, for ")), "{human:?}");
    assert_eq!(human.out[1], "  1. two waits (shared)");
}

#[test]
fn a_free_lock_is_a_value() {
    let store = Store::file();
    assert_eq!(store.run(&["who", "a"]).out, ["lock \"a\": free"]);
    let told = store.who("a");
    assert_eq!((&told["held"], &told["holder"], &told["token"]), (&false.into(), &Value::Null, &Value::Null));
}
