//! `tooz lock` between two terminals.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::store::Store;

#[test]
fn the_child_knows_lock_token_and_member() {
    let store = Store::file();
    let show = "echo $TOOZ_LOCK/$TOOZ_FENCING_TOKEN/$TOOZ_MEMBER";
    let ended = store.run(&["lock", "a b", "--member", "me", "--", "sh", "-c", show]);

    let parts: Vec<&str> = ended.out[0].split('/').collect();
    assert_eq!((parts[0], parts[2]), ("a b", "me"));
    assert!(parts[1].parse::<u64>().unwrap() > 0);
}

#[test]
fn arguments_reach_the_child_as_they_are() {
    let store = Store::file();
    let words = ["lock", "a", "--", "printf", "%s\n", "--timeout", "$HOME", "* ;", "--", "--json"];
    assert_eq!(store.run(&words).out, ["--timeout", "$HOME", "* ;", "--", "--json"]);
}

#[test]
fn the_child_has_our_standard_input() {
    let store = Store::file();
    let mut run = store.start(&["lock", "a", "--", "cat"]);
    run.type_line("through");
    assert_eq!(run.out.next(), "through");
    assert_eq!(run.end().code, 0);
}

#[test]
fn shared_holders_share_and_a_writer_waits() {
    let store = Store::file();
    let mut reader = store.start(&["lock", "a", "--shared", "--", "sh", "-c", "echo ready; read end"]);
    reader.out.until("ready");

    assert_eq!(store.run(&["lock", "a", "--shared", "--timeout", "5s", "--", "true"]).code, 0);
    assert_eq!(store.run(&["lock", "a", "--timeout", "0", "--", "true"]).code, 117);

    reader.type_line("");
    assert_eq!(reader.code(), 0);
}

/// Interleaving 33: two terminals. The second waits and says for whom; after kill -9 of the first it has
/// the lock within 100 ms, with a larger token, and the first one's child is gone before its own begins.
#[test]
fn after_kill_9_of_the_holder_the_next_one_has_the_lock_within_100_ms() {
    let store = Store::file();
    let mut quickest = Duration::MAX;
    let mut last_token = 0;
    for round in 0..5 {
        let show = "echo $TOOZ_FENCING_TOKEN $$; read end";
        let first = store.start(&["lock", "demo", "--member", "first", "--", "sh", "-c", show]);
        let ready = first.out.next();
        let (token, child) = ready.split_once(' ').unwrap();
        let token: u64 = token.parse().unwrap();
        assert!(token > last_token, "round {round}");
        let look =
            format!("kill -0 {child} 2>/dev/null && echo alive || echo gone; echo $TOOZ_FENCING_TOKEN");
        let second = store.start(&["lock", "demo", "--member", "second", "--", "sh", "-c", &look]);
        let line = second.err.until("waiting for");
        assert!(line.contains("waiting for lock \"demo\": held by first since "), "{line}");
        assert!(line.ends_with(", position 1"), "{line}");

        let killed = Instant::now();
        first.signal(Signal::KILL);
        assert_eq!(second.out.next(), "gone");
        quickest = quickest.min(killed.elapsed());

        last_token = second.out.next().parse().unwrap();
        assert!(last_token > token);
        assert_eq!(second.end().code, 0);
    }
    // The machine may be busy; the mechanism may not be slow.
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}

#[test]
fn a_waiter_that_is_interrupted_leaves_the_queue() {
    let store = Store::file();
    let holder = store.start(&["lock", "a", "--", "sh", "-c", "echo ready; read end"]);
    holder.out.until("ready");
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129), (Signal::QUIT, 131)] {
        let mut waiter = store.start(&["lock", "a", "--member", "waiter", "--", "echo", "never"]);
        waiter.err.until("waiting for");
        assert_eq!(store.who("a")["queue"][0]["member"], "waiter");

        waiter.signal(signal);

        assert_eq!(waiter.code(), code);
        assert_eq!(waiter.out.rest(), Vec::<String>::new());
        assert_eq!(store.who("a")["queue"].as_array().unwrap().len(), 0);
    }
}

#[test]
fn waiters_are_served_in_order() {
    let store = Store::file();
    let mut holder = store.start(&["lock", "a", "--", "sh", "-c", "echo ready; read end"]);
    holder.out.until("ready");
    let log = store.folder().join("log");
    let note = format!("echo $TOOZ_MEMBER >> {}", log.display());
    let waiters: Vec<_> = (1..=4)
        .map(|n| {
            let member = format!("w{n}");
            let waiter = store.start(&["lock", "a", "--member", &member, "--", "sh", "-c", &note]);
            let line = waiter.err.until("waiting for");
            assert!(line.ends_with(&format!(", position {n}")), "{line}");
            waiter
        })
        .collect();

    holder.type_line("");
    for waiter in waiters {
        assert_eq!(waiter.end().code, 0);
    }

    assert_eq!(std::fs::read_to_string(log).unwrap(), "w1\nw2\nw3\nw4\n");
}
