//! `tooz elect` and `tooz leader`.

use rustix::process::Signal;
use serde_json::Value;

use crate::store::Store;

#[test]
fn the_leaders_child_knows_group_term_and_member() {
    let store = Store::file();
    let show = "echo $TOOZ_GROUP/$TOOZ_FENCING_TOKEN/$TOOZ_MEMBER/$TOOZ_LOCK";
    let ended = store.run(&["elect", "g", "--member", "me", "--", "sh", "-c", show]);
    let parts: Vec<&str> = ended.out[0].split('/').collect();
    assert_eq!((parts[0], parts[2], parts[3]), ("g", "me", ""));
    assert!(parts[1].parse::<u64>().unwrap() > 0);
}

#[test]
fn leader_shows_member_value_and_term_or_vacancy() {
    let store = Store::file();
    assert_eq!(store.run(&["leader", "g"]).out, ["group \"g\": vacant"]);
    assert_eq!(store.run(&["leader", "g", "--json"]).json()["leader"], Value::Null);
    let words =
        ["elect", "g", "--member", "me", "--value", "here:1", "--", "sh", "-c", "echo ready; read end"];
    let holder = store.start(&words);
    holder.out.until("ready");

    let told = store.run(&["leader", "g", "--json"]).json();

    assert_eq!((&told["group"], &told["leader"]["member"]), (&"g".into(), &"me".into()));
    assert_eq!(told["leader"]["value"], "here:1");
    assert!(told["leader"]["term"].as_u64().unwrap() > 0);
    let human = store.run(&["leader", "g"]);
    assert!(human.out[0].starts_with("group \"g\": led by me (term "), "{human:?}");
}

#[test]
fn a_watcher_sees_leaders_come_and_go_and_a_kill_9() {
    let store = Store::file();
    let mut watcher = store.start(&["leader", "g", "--watch", "--json"]);
    assert_eq!(watcher.out.json()["leader"], Value::Null);
    let mut terms = vec![];
    for kill in [false, true] {
        let mut leader =
            store.start(&["elect", "g", "--member", "me", "--", "sh", "-c", "echo ready; read end"]);
        leader.out.until("ready");
        let seen = watcher.out.json();
        assert_eq!(seen["leader"]["member"], "me");
        terms.push(seen["leader"]["term"].as_u64().unwrap());

        if kill {
            leader.signal(Signal::KILL)
        } else {
            leader.type_line("")
        }

        assert_eq!(watcher.out.json()["leader"], Value::Null);
    }
    assert!(terms[0] < terms[1]);

    watcher.signal(Signal::TERM);
    assert_eq!(watcher.code(), 0);
}
