//! The command over a store that leases, shared by processes: the child is gone before the lock passes on.

use std::time::{Duration, SystemTime};

use conformance::servers::Redis;
use rustix::process::Signal;

use crate::run::{Ended, Run};
use crate::store::bare;

/// A child that ignores TERM and tells every 10 ms that it is alive.
const STUBBORN: &str = "trap '' TERM; while :; do date +%s%N; sleep 0.01; done";

/// A server of one test's own, and the command over it.
struct Leased {
    server: Redis,
    ttl: &'static str,
}

impl Leased {
    fn with_ttl(ttl: &'static str) -> Self {
        Self { server: Redis::start(), ttl }
    }

    fn start(&self, words: &[&str]) -> Run {
        let mut command = bare(words);
        let url = format!("{}?lock_timeout={}&timeout=3", self.server.url(), self.ttl);
        Run::start(command.env("TOOZ_BACKEND", url))
    }

    fn run(&self, words: &[&str]) -> Ended {
        self.start(words).end()
    }
}

/// The wall clock, as `date` writes it: one clock for all processes of this machine.
fn moment(line: &str) -> u128 {
    line.parse().unwrap_or_else(|e| panic!("{line:?} is no time: {e}"))
}

fn wall_clock() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos()
}

/// When the child last told that it was alive. The end of the stream means that its whole group is gone.
fn last_sign_of_life(run: &Run) -> u128 {
    moment(run.out.rest().last().unwrap())
}

/// Strikes a command whose stubborn child runs while a second command waits: the first child's last sign of life
/// must come before the second child's first.
fn assert_the_child_is_gone_first(store: &Leased, strike: impl FnOnce(&Run)) -> Run {
    let first = store.start(&["lock", "a", "--", "sh", "-c", STUBBORN]);
    moment(&first.out.next());
    let second = store.start(&["lock", "a", "--", "sh", "-c", "date +%s%N"]);
    second.err.until("waiting for");

    strike(&first);

    let next = moment(&second.out.next());
    // A stopped command holds its output open; a killed one hears nothing any more.
    let _ = rustix::process::kill_process(first.pid(), Signal::CONT);
    let last = last_sign_of_life(&first);
    assert!(last < next, "alive {} ns into the second's time", last - next);
    assert_eq!(second.end().code, 0);
    first
}

/// The kernel frees nothing here: the lock passes on when its time to live is over.
#[test]
fn a_killed_commands_child_is_gone_before_the_lease_passes_on() {
    let store = Leased::with_ttl("2s");
    assert_the_child_is_gone_first(&store, |first| first.signal(Signal::KILL));
}

/// A stopped command renews nothing; its supervisor knows the deadline.
#[test]
fn a_stopped_commands_child_is_gone_before_the_lease_passes_on() {
    let store = Leased::with_ttl("2s");
    let mut first = assert_the_child_is_gone_first(&store, |first| first.signal(Signal::STOP));
    assert_eq!(first.code(), 118);
}

/// Whoever is told to let go ends its child first, and only then the next one starts.
#[test]
fn a_broken_commands_child_is_gone_before_the_lock_passes_on() {
    let store = Leased::with_ttl("10s");
    let mut first = assert_the_child_is_gone_first(&store, |_| {
        assert_eq!(store.run(&["break", "a"]).code, 0);
    });
    assert_eq!(first.code(), 118);
}

/// Signals are passed on to the child, however many; renewals go on beside them.
#[test]
fn signals_that_never_pause_cost_no_renewal() {
    let store = Leased::with_ttl("2s");
    let script = "trap : USR1; echo ready; end=$(($(date +%s) + 5)); \
                  while [ $(date +%s) -lt $end ]; do sleep 1; done; echo over; read end; exit 7";
    let mut run = store.start(&["lock", "a", "--", "sh", "-c", script]);
    run.out.until("ready");
    while run.out.soon(Duration::from_millis(20)).is_none() {
        run.signal(Signal::USR1);
    }
    run.type_line("");
    assert_eq!(run.code(), 7);
}

/// A command whose store is silent gives up in time; the store keeps nobody's promise for it.
#[test]
fn a_silent_store_ends_the_child_by_the_deadline() {
    let store = Leased::with_ttl("2s");
    let mut first = store.start(&["lock", "a", "--", "sh", "-c", STUBBORN]);
    first.out.next();

    let before = wall_clock();
    store.server.process().freeze();

    let after = last_sign_of_life(&first).saturating_sub(before);
    assert!(after < 2_000_000_000, "alive {after} ns after the last renewal that can have been answered");
    assert_eq!(first.code(), 118);
    store.server.process().thaw();
}

#[test]
fn a_broken_lock_ends_the_child_and_the_next_gets_a_larger_token() {
    let store = Leased::with_ttl("10s");
    let mut first = store.start(&["lock", "a", "--", "sh", "-c", "echo $TOOZ_FENCING_TOKEN; sleep 1000"]);
    let token: u64 = first.out.next().parse().unwrap();

    assert_eq!(store.run(&["break", "a"]).code, 0);

    assert_eq!(first.code(), 118);
    let next = store.run(&["lock", "a", "--timeout", "5s", "--", "sh", "-c", "echo $TOOZ_FENCING_TOKEN"]);
    assert!(next.out[0].parse::<u64>().unwrap() > token);
}

#[test]
fn groups_and_leaders_are_shared_between_commands() {
    let store = Leased::with_ttl("10s");
    assert_eq!(store.run(&["group", "create", "workers"]).code, 0);
    let member = store.start(&["group", "join", "workers", "--member", "w1"]);
    let watch = store.start(&["group", "watch", "workers"]);
    watch.out.until("w1");
    let leader =
        store.start(&["elect", "workers", "--value", "here", "--member", "w1", "--", "sleep", "1000"]);

    let seen = store.start(&["leader", "workers", "--watch"]);
    seen.out.until("w1");
    leader.signal(Signal::TERM);
    member.signal(Signal::TERM);

    watch.out.until("left");
    drop((leader, member));
}

#[test]
fn a_wrong_url_and_a_silent_port_are_told_apart() {
    let server = Redis::start();
    let mut command = bare(&["who", "a"]);
    let path = format!("{}/5", server.url().trim_end_matches('/'));
    let refused = Run::start(command.env("TOOZ_BACKEND", path)).end();
    assert_eq!(refused.code, 2);
    assert!(refused.complaint().contains("?db=5"), "{refused:?}");

    let url = server.url();
    drop(server);
    let gone = Run::start(bare(&["who", "a"]).env("TOOZ_BACKEND", format!("{url}?timeout=1"))).end();
    assert_eq!(gone.code, 110, "{gone:?}");
}
