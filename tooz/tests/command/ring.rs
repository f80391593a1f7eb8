//! `tooz ring`.

use serde_json::json;

use crate::store::Store;

/// What Python's tooz says of members a, b and c, of which c has a weight of 2.
const OFFLINE: [&str; 7] = ["ring", "--member", "a", "--member", "b=1", "--member", "c=2"];

fn offline<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&OFFLINE[..], more].concat()
}

#[test]
fn a_ring_of_given_members_asks_no_store() {
    let store = Store::file();
    let mut command = store.command(&offline(&["--replicas", "2", "job-17", "job-19"]));
    // Neither a store nor a name of our own plays a part.
    let told = command.env("TOOZ_BACKEND", "redis://nowhere").env("TOOZ_MEMBER", "me").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout), "job-17\tb,c\njob-19\ta,c\n", "{told:?}");

    let told = store.run(&offline(&["--ignore", "b", "--json", "job-17"])).json();
    assert_eq!(told, json!([{ "key": "job-17", "owners": ["c"] }]));
    let told = store.run(&["ring", "--member", "a", "--ignore", "a", "key"]);
    assert_eq!((told.code, told.out), (0, vec!["key\t".to_owned()]));
}

#[test]
fn the_owners_in_a_group_are_those_of_a_ring_of_its_members() {
    let store = Store::file();
    let one = store.start(&[
        "group",
        "join",
        "g",
        "--create",
        "--member",
        "one",
        "--capabilities",
        r#"{"weight": 3}"#,
    ]);
    one.out.until("joined");
    let two = store.start(&["group", "join", "g", "--member", "two"]);
    two.out.until("joined");
    let keys: Vec<String> = (0..100).map(|key| format!("job-{key}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();

    let live = store.run(&[&["ring", "--partitions", "8", "g"], &keys[..]].concat());
    let told = ["ring", "--partitions", "8", "--member", "one=3", "--member", "two"];
    let offline = store.run(&[&told[..], &keys[..]].concat());

    assert_eq!((live.code, live.out.len()), (0, 100));
    assert_eq!(live.out, offline.out);
    for member in ["one", "two"] {
        assert!(live.out.iter().any(|line| line.ends_with(&format!("\t{member}"))), "{member} owns nothing");
    }
}

#[test]
fn what_cannot_be_a_ring_is_said() {
    let store = Store::file();
    assert_eq!(store.run(&["ring", "missing", "key"]).code, 111);
    for wrong in [
        ["ring", "g"].as_slice(),
        &["ring"],
        &["ring", "--member", "a"],
        &["ring", "--member", "a=much", "key"],
        &["ring", "--member", "a", "--partitions", "0", "key"],
        &["who", "name", "--member", "a", "--member", "b"],
    ] {
        assert_eq!(store.run(wrong).code, 2, "{wrong:?}");
    }
}
