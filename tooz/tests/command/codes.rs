//! Exit codes.

use crate::store::Store;

#[test]
fn a_childs_own_code_is_passed_through() {
    let store = Store::file();
    assert_eq!(store.run(&["lock", "a", "--", "true"]).code, 0);
    assert_eq!(store.run(&["lock", "a", "--", "sh", "-c", "exit 7"]).code, 7);
    assert_eq!(store.run(&["lock", "a", "--", "sh", "-c", "exit 117"]).code, 117);
    assert_eq!(store.run(&["elect", "g", "--", "sh", "-c", "exit 9"]).code, 9);
}

#[test]
fn a_child_that_dies_of_a_signal_gives_128_and_its_number() {
    let store = Store::file();
    assert_eq!(store.run(&["lock", "a", "--", "sh", "-c", "kill -9 $$"]).code, 137);
    assert_eq!(store.run(&["lock", "a", "--", "sh", "-c", "kill -TERM $$"]).code, 143);
}

#[test]
fn a_child_that_cannot_be_started_gives_127_or_126_and_leaves_the_lock_free() {
    let store = Store::file();
    let missing = store.run(&["lock", "a", "--", "/no/such/program"]);
    assert_eq!(missing.code, 127);
    assert!(missing.complaint().contains("\"/no/such/program\""), "{missing:?}");

    assert_eq!(store.run(&["lock", "a", "--", "/"]).code, 126);

    assert_eq!(store.who("a")["held"], false);
}

#[test]
fn a_busy_lock_gives_117_when_the_time_is_up() {
    let store = Store::file();
    let mut holder = store.start(&["lock", "a", "--member", "one", "--", "sh", "-c", "echo ready; read end"]);
    holder.out.until("ready");

    let late = store.run(&["lock", "a", "--timeout", "200ms", "--", "echo", "never"]);
    assert_eq!(late.code, 117);
    assert_eq!(late.out, Vec::<String>::new());
    assert!(late.err.last().unwrap().contains("lock \"a\" was not free within --timeout 200ms"), "{late:?}");

    // Zero: not a moment.
    assert_eq!(store.run(&["lock", "a", "--timeout", "0", "--", "echo", "never"]).code, 117);

    holder.type_line("");
    assert_eq!(holder.code(), 0);
    assert_eq!(store.run(&["lock", "a", "--timeout", "0", "--", "true"]).code, 0);
}

#[test]
fn a_busy_leadership_gives_117_too() {
    let store = Store::file();
    let holder = store.start(&["elect", "g", "--", "sh", "-c", "echo ready; read end"]);
    holder.out.until("ready");
    assert_eq!(store.run(&["elect", "g", "--timeout", "100ms", "--", "true"]).code, 117);
}

#[test]
fn groups_tell_missing_from_taken() {
    let store = Store::file();
    assert_eq!(store.run(&["group", "members", "g"]).code, 111);
    let missing = store.run(&["group", "delete", "g"]);
    assert_eq!((missing.code, missing.complaint()), (111, "tooz: delete group \"g\": no such group"));
    assert_eq!(store.run(&["group", "join", "g"]).code, 111);
    assert_eq!(store.run(&["group", "create", "g"]).code, 0);
    assert_eq!(store.run(&["group", "create", "g"]).code, 112);
    assert_eq!(store.run(&["group", "create", "g", "--if-missing"]).code, 0);
}
