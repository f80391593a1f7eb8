//! A store that dies or falls silent while the command is at work.

use conformance::servers::Redis;
use rustix::process::Signal;

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
