//! A store that dies or falls silent while the command is at work.

use conformance::servers::Redis;
use rustix::process::Signal;

use crate::run::Run;
use crate::store::Store;

/// A store whose server a test may kill, and which is waited for one second.
fn mortal() -> (Redis, Store) {
    let server = Redis::start();
    let store = Store::at(format!("{}?timeout=1", server.url()));
    (server, store)
}

#[test]
fn a_child_that_ended_by_itself_gives_its_own_code_though_the_store_is_gone() {
    for (words, script, code) in [
        (["lock", "a"], "exit 7", 7),
        (["lock", "a"], "exit 0", 0),
        (["lock", "a"], "kill -9 $$", 137),
        (["elect", "g"], "exit 7", 7),
    ] {
        let (server, store) = mortal();
        let script = format!("echo ready; read end; {script}");
        let mut run = store.start(&[words.as_slice(), &["--", "sh", "-c", &script]].concat());
        run.out.until("ready");

        server.kill();
        run.type_line("");

        assert_eq!(run.code(), code, "{words:?} {script}");
        run.err.until("the child has ended, but: ");
    }
}

#[test]
fn an_interrupted_waiter_leaves_at_a_second_signal_though_the_store_is_silent() {
    let server = Redis::start();
    let store = Store::at(format!("{}?timeout=60", server.url()));
    let holder = store.start(&["lock", "a", "--", "sh", "-c", "echo ready; read end"]);
    holder.out.until("ready");
    let mut waiter = store.start(&["lock", "a", "--", "true"]);
    waiter.err.until("waiting for");

    server.process().freeze();
    waiter.signal(Signal::INT);
    waiter.signal(Signal::TERM);

    assert!([130, 143].contains(&waiter.code()));
    server.process().thaw();
}

/// Waits until the command hears INT itself.
fn listens(run: &Run) {
    let status = format!("/proc/{}/status", run.pid().as_raw_pid());
    let is_caught = |line: &str| {
        let mask = line.strip_prefix("SigCgt:").map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
        mask.is_some_and(|mask| mask & (1 << (Signal::INT.as_raw() - 1)) != 0)
    };
    while !std::fs::read_to_string(&status).unwrap().lines().any(is_caught) {
        std::thread::yield_now();
    }
}

#[test]
fn who_only_reads_or_writes_ends_at_once_when_told_though_the_store_is_silent() {
    let server = Redis::start();
    let store = Store::at(format!("{}?timeout=60", server.url()));
    store.run(&["group", "create", "g"]);
    let commands: [&[&str]; 5] = [
        &["topic", "subscribe", "news"],
        &["inbox"],
        &["group", "watch", "g"],
        &["leader", "g", "--watch"],
        &["topic", "publish", "news"],
    ];
    let mut at_work: Vec<_> = commands.iter().map(|words| store.start(words)).collect();
    for run in at_work.iter().take(3) {
        run.err.until("g");
    }
    at_work[3].out.until("vacant");
    at_work[4].type_line("one");
    at_work[4].out.next();

    server.process().freeze();
    // These do not even get to know their store.
    at_work.extend(commands.iter().map(|words| store.start(words)));
    at_work.iter().skip(5).for_each(listens);

    for mut run in at_work {
        run.signal(Signal::INT);
        assert_eq!(run.code(), 0);
    }
    server.process().thaw();
}

#[test]
fn a_silent_store_is_waited_for_as_long_as_the_timeout_says() {
    let server = Redis::start();
    let store = Store::at(format!("{}?timeout=60", server.url()));
    server.process().freeze();
    for words in [
        ["lock", "a", "--", "true"].as_slice(),
        &["topic", "subscribe", "news"],
        &["inbox"],
        &["group", "watch", "g"],
        &["group", "join", "g"],
        &["leader", "g", "--watch"],
        &["who", "a"],
    ] {
        let ended = store.run(&[&["--timeout", "100ms"], words].concat());
        assert_eq!(ended.code, 110, "{words:?}");
        assert!(ended.err.iter().any(|line| line.contains("within --timeout 100ms")), "{ended:?}");
    }
    server.process().thaw();
    assert_eq!(store.run(&["who", "a", "--timeout", "0"]).code, 2);
}

/// Busy is what a script passes over: nobody knows whether it is.
#[test]
fn a_waiter_whose_store_died_does_not_say_that_the_lock_is_busy() {
    for words in [["lock", "a"], ["elect", "g"]] {
        let (server, store) = mortal();
        let holder = store.start(&[words.as_slice(), &["--", "sh", "-c", "echo ready; sleep 1000"]].concat());
        holder.out.until("ready");
        let rest = ["--ttl", "1s", "--timeout", "4s", "--", "true"];
        let mut waiter = store.start(&[words.as_slice(), &rest].concat());
        waiter.err.until("waiting for");

        server.kill();

        assert_eq!(waiter.code(), 110, "{words:?}");
        waiter.err.until("the store does not answer");
    }
}

#[test]
fn a_member_that_cannot_leave_says_so_when_its_timeout_is_up() {
    let server = Redis::start();
    let store = Store::at(format!("{}?timeout=60", server.url()));
    let mut member = store.start(&["group", "join", "g", "--create", "--timeout", "1s"]);
    member.out.until("joined");

    server.process().freeze();
    member.signal(Signal::INT);

    assert_eq!(member.code(), 110);
    member.err.until("within --timeout 1s");
    server.process().thaw();
}

#[test]
fn a_publish_whose_answer_never_came_says_that_it_may_be_there() {
    let server = Redis::start();
    let store = Store::at(format!("{}?timeout=60", server.url()));
    for json in [false, true] {
        let words = ["topic", "publish", "news", "--timeout", "1s", "--json"];
        let mut publisher = store.start(if json { &words } else { &words[..5] });
        publisher.type_line("one");
        publisher.out.next();

        server.process().freeze();
        publisher.type_line("two");

        assert_eq!(publisher.code(), 110);
        if json {
            assert_eq!(publisher.err.json()["error"]["effect"], "unknown");
        } else {
            publisher.err.until("; it may have been published all the same");
        }
        server.process().thaw();
    }
}

#[test]
fn a_store_that_was_not_even_reached_has_certainly_not_changed() {
    let server = Redis::start();
    let store = Store::at(format!("{}?timeout=1", server.url()));
    server.process().freeze();
    for words in [
        ["topic", "publish", "news", "--data", "x"].as_slice(),
        &["topic", "publish", "news", "--data", "x", "--timeout", "100ms"],
        &["group", "create", "g"],
    ] {
        let ended = store.run(&[words, &["--json"]].concat());
        let told: serde_json::Value = serde_json::from_str(ended.complaint()).unwrap();
        assert_eq!((ended.code, &told["error"]["effect"]), (110, &serde_json::Value::Null), "{told}");
    }
    server.process().thaw();
}

#[test]
fn a_lost_lock_says_why() {
    let (server, store) = mortal();
    let start =
        || store.start(&["lock", "a", "--ttl", "2s", "--json", "--", "sh", "-c", "echo ready; sleep 1000"]);
    let mut broken = start();
    broken.out.until("ready");
    store.run(&["break", "a"]);
    assert_eq!((broken.code(), &broken.err.json()["error"]["cause"]), (118, &"ousted".into()));

    let mut lapsed = start();
    lapsed.out.until("ready");
    server.kill();
    assert_eq!((lapsed.code(), &lapsed.err.json()["error"]["cause"]), (118, &"expired".into()));
}

#[test]
fn the_shortest_lease_is_kept_as_well_as_any() {
    let (_server, store) = mortal();
    assert_eq!(store.run(&["lock", "a", "--ttl", "200ms", "--", "sleep", "1"]).code, 0);
}
