//! `tooz break`.

use crate::store::Store;

#[test]
fn breaking_ends_the_holders_child_and_names_the_holder() {
    let store = Store::file();
    let mut holder =
        store.start(&["lock", "a", "--member", "one", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
    holder.out.until("ready");

    let broken = store.run(&["break", "a"]);

    assert_eq!(broken.code, 0, "{broken:?}");
    assert_eq!(broken.out, ["lock \"a\": taken from one"]);
    assert_eq!(holder.code(), 118);
    assert_eq!(holder.out.rest(), Vec::<String>::new());
    assert_eq!(store.run(&["lock", "a", "--timeout", "0", "--", "true"]).code, 0);
}

#[test]
fn breaking_at_once_works_on_a_holder_that_cannot_hear() {
    let store = Store::file();
    let mut holder = store.start(&[
        "lock",
        "a",
        "--member",
        "one",
        "--",
        "sh",
        "-c",
        "echo $TOOZ_FENCING_TOKEN; exec sleep 1000",
    ]);
    let token: u64 = holder.out.next().parse().unwrap();
    holder.signal(rustix::process::Signal::STOP);

    let broken = store.run(&["break", "a", "--now", "--json"]).json();

    assert_eq!(broken["evicted"][0]["member"], "one");
    let next = store.run(&["lock", "a", "--timeout", "5s", "--", "sh", "-c", "echo $TOOZ_FENCING_TOKEN"]);
    assert!(next.out[0].parse::<u64>().unwrap() > token);
    holder.signal(rustix::process::Signal::CONT);
    assert_eq!(holder.code(), 118);
}

#[test]
fn breaking_a_free_lock_says_so() {
    let store = Store::file();
    assert_eq!(store.run(&["break", "a"]).out, ["lock \"a\": nobody held it"]);
    let told = store.run(&["break", "a", "--json"]).json();
    assert_eq!(told["evicted"].as_array().unwrap().len(), 0);
}
