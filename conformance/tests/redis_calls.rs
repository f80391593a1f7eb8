//! What a user's calls cost on Redis: requests and round trips as a proxy counts them, and what the server did. And that
//! calls which nobody polls any more cost others nothing.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test
#![allow(clippy::print_stdout)] // figures are part of the result

use std::collections::BTreeMap;
use std::time::Duration;

use conformance::proxy::{Counts, Proxy, Way};
use conformance::servers::Redis;
use conformance::{eventually, within};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tooz_core::{Coordinator, Guard, Registry};
use tooz_redis::RedisDriver;

/// Long enough that no beat falls into what is counted.
const LONG: Duration = Duration::from_secs(600);
/// One way through the proxy, so that requests sent without waiting are seen to be one trip.
const DELAY: Duration = Duration::from_millis(10);

/// A server and a line to it that counts.
struct Place {
    redis: Redis,
    proxy: Proxy,
}

impl Place {
    fn new() -> Self {
        let redis = Redis::start();
        let proxy = Proxy::redis(redis.port());
        Self { redis, proxy }
    }

    async fn connect(&self, member: &str, ttl: Duration) -> Coordinator {
        let registry = Registry::new().with(RedisDriver::new());
        let url = format!("redis://{}", self.proxy.address());
        registry.builder(url).member(member).ttl(ttl).connect().await.unwrap()
    }

    /// How many writes the server has carried out.
    fn writes(&self) -> u64 {
        let info = self.redis.command(&["INFO", "persistence"]).text();
        let field = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
        field.unwrap().parse().unwrap()
    }

    /// What the server has done, without our own looks at it.
    fn operations(&self) -> BTreeMap<String, u64> {
        let mut calls = self.redis.calls();
        calls.remove("info");
        calls
    }
}

/// One request, one round trip, one script, nothing else.
fn one_script(passed: &Counts) {
    assert_eq!((passed.requests, passed.trips, passed.command("EVALSHA")), (1, 1, 1), "{passed:?}");
    assert_eq!(passed.connections, 0, "{passed:?}");
}

/// Acquires and releases once, so that connections are open and scripts are known.
async fn warm_up(coord: &Coordinator) {
    let guard = coord.lock("warm-up").acquire().await.unwrap();
    assert!(coord.lock("warm-up").try_acquire().await.unwrap().is_none());
    guard.release().await.unwrap();
}

#[tokio::test]
async fn acquire_release_and_failed_try_are_one_script_each() {
    let place = Place::new();
    place.proxy.delay(DELAY);
    let (a, b) = (place.connect("a", LONG).await, place.connect("b", LONG).await);
    warm_up(&a).await;
    warm_up(&b).await;
    for shared in [false, true] {
        let lock =
            |coord: &Coordinator| if shared { coord.lock("nightly").shared() } else { coord.lock("nightly") };
        let before = place.proxy.counts();
        let guard = lock(&a).acquire().await.unwrap();
        let acquired = place.proxy.counts().since(&before);
        one_script(&acquired);

        let (before, writes) = (place.proxy.counts(), place.writes());
        assert!(b.lock("nightly").try_acquire().await.unwrap().is_none());
        let tried = place.proxy.counts().since(&before);
        one_script(&tried);
        assert_eq!(place.writes(), writes, "a failed try wrote");

        let before = place.proxy.counts();
        guard.release().await.unwrap();
        let released = place.proxy.counts().since(&before);
        one_script(&released);
        let told = |counts: &Counts| format!("{} bytes up, {} down", counts.bytes_up, counts.bytes_down);
        println!(
            "shared {shared}: acquire {}; failed try {}; release {}",
            told(&acquired),
            told(&tried),
            told(&released)
        );
    }
}

#[tokio::test]
async fn a_server_that_forgot_its_scripts_costs_one_more_round_trip_once() {
    let place = Place::new();
    place.proxy.delay(DELAY);
    let coord = place.connect("a", LONG).await;
    warm_up(&coord).await;
    place.redis.command(&["SCRIPT", "FLUSH"]);
    let before = place.proxy.counts();
    let guard = coord.lock("nightly").acquire().await.unwrap();
    let passed = place.proxy.counts().since(&before);
    assert_eq!((passed.requests, passed.trips), (2, 2), "{passed:?}");
    guard.release().await.unwrap();

    let before = place.proxy.counts();
    let _guard = coord.lock("nightly").acquire().await.unwrap();
    one_script(&place.proxy.counts().since(&before));
}

#[tokio::test]
async fn a_beat_for_1000_locks_and_100_memberships_is_one_round_trip() {
    let place = Place::new();
    let coord = place.connect("a", Duration::from_secs(9)).await;
    let mut held = Vec::new();
    for number in 0..1_000 {
        held.push(coord.lock(format!("lock-{number}")).acquire().await.unwrap());
    }
    let mut joined = Vec::new();
    for number in 0..100 {
        let group = coord.group(format!("group-{number}"));
        group.create().await.unwrap();
        joined.push(group.join(&()).await.unwrap());
    }
    place.proxy.delay(Duration::from_millis(50));

    // A look may begin in the middle of a beat, and on a busy machine end in the middle of the next.
    let mut beats = Vec::new();
    let is_one_trip = |beat: &Counts| {
        // The line for news is asked now and then whether it still hears, on its own.
        let pings = beat.command("PING");
        beat.trips - pings == 1 && beat.command("EVALSHA") == beat.requests - pings
    };
    while !beats.last().is_some_and(is_one_trip) {
        assert!(beats.len() < 6, "{beats:?}");
        let before = place.proxy.counts();
        eventually("beat", async || {
            let passed = place.proxy.counts().since(&before);
            // The session, 1,000 locks in chunks, 100 memberships: all answered.
            let whole = passed.command("EVALSHA") > 100 && passed.requests == passed.replies;
            if whole { Ok(()) } else { Err(format!("{passed:?}")) }
        })
        .await;
        beats.push(place.proxy.counts().since(&before));
    }
    println!("a beat: {:?}", beats.last());
    assert!(held.iter().all(Guard::is_held));
}

#[tokio::test]
async fn a_hand_over_costs_the_same_for_1_100_and_10000_waiters() {
    let mut costs = Vec::new();
    for waiters in [1, 100, 10_000] {
        costs.push((waiters, hand_over(waiters).await));
    }
    for (waiters, cost) in &costs {
        println!("{waiters} waiters: {cost:?}");
    }
    let (_, least) = costs.first().unwrap();
    for (waiters, cost) in &costs {
        assert_eq!(cost.requests, 1.0, "{waiters} waiters: a release is all that is sent");
        assert_eq!(cost.pushes, 1.0, "{waiters} waiters: one is told");
        assert!(cost.operations <= least.operations + 1.0, "{costs:?}");
    }
}

/// On a very busy machine a line may be taken for dead, and then all who wait ask again: such figures are of something
/// else, and taken once more.
const TRIES: u32 = 5;

/// What one hand-over costs.
#[derive(Clone, Debug)]
struct Cost {
    requests: f64,
    pushes: f64,
    operations: f64,
    #[expect(dead_code, reason = "printed")]
    by_command: BTreeMap<String, f64>,
}

async fn hand_over(waiters: u32) -> Cost {
    let mut costs = Vec::new();
    for _ in 0..TRIES {
        if let Some(cost) = try_hand_over(waiters).await {
            if cost.requests <= 1.0 {
                return cost;
            }
            costs.push(cost);
        }
    }
    panic!("in none of {TRIES} tries with {waiters} waiters was a release all that is sent: {costs:?}");
}

/// So many wait; some releases in a row, each followed by the next one's grant. `None` if the line broke.
async fn try_hand_over(waiters: u32) -> Option<Cost> {
    let place = Place::new();
    let coord = place.connect("a", LONG).await;
    warm_up(&coord).await;
    let (granted, mut grants) = mpsc::unbounded_channel();
    let first = coord.lock("contended").acquire().await.unwrap();
    let waits: Vec<_> = (0..waiters)
        .map(|_| {
            let (lock, granted) = (coord.lock("contended"), granted.clone());
            tokio::spawn(async move {
                let guard = lock.acquire().await.unwrap();
                let _ = granted.send(guard); // nobody asks for it at the end of the test
            })
        })
        .collect();
    let queued = || place.redis.command(&["ZCARD", "{_tooz_contended_lock}:queue"]).number();
    eventually("have all wait", async || {
        let queued = queued();
        if queued == Some(i64::from(waiters)) { Ok(()) } else { Err(format!("{queued:?} wait")) }
    })
    .await;

    let rounds = waiters.min(50);
    let (counts, operations) = (place.proxy.counts(), place.operations());
    let mut guard = first;
    for _ in 0..rounds {
        guard.release().await.unwrap();
        guard = within("the next grant", grants.recv()).await.unwrap();
    }
    let (passed, after) = (place.proxy.counts().since(&counts), place.operations());
    let each = |count: u64| count as f64 / f64::from(rounds);
    let grown = |name: &String, count: u64| each(count - operations.get(name).copied().unwrap_or(0));
    let by_command: BTreeMap<_, _> = after
        .iter()
        .map(|(name, count)| (name.clone(), grown(name, *count)))
        .filter(|(_, count)| *count > 0.0)
        .collect();
    waits.iter().for_each(tokio::task::JoinHandle::abort);
    (passed.connections == 0).then(|| Cost {
        // The line for news is asked now and then whether it still hears.
        requests: each(passed.requests - passed.command("PING")),
        pushes: each(passed.pushes),
        operations: by_command.values().sum(),
        by_command,
    })
}

#[tokio::test]
async fn who_waits_sends_nothing() {
    const SILENCE: Duration = Duration::from_millis(1_500);
    let place = Place::new();
    let (a, b) = (place.connect("a", LONG).await, place.connect("b", LONG).await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    let lock = b.lock("nightly");
    let waiting = tokio::spawn(async move { lock.acquire().await });
    eventually("wait in line", async || {
        let waiting = a.lock("nightly").queue().await.map_err(|error| error.to_string())?.waiting.len();
        if waiting == 1 { Ok(()) } else { Err(format!("{waiting} wait")) }
    })
    .await;
    let before = place.proxy.counts();
    tokio::time::sleep(SILENCE).await; // only time shows that nothing is sent
    let passed = place.proxy.counts().since(&before);
    assert_eq!(passed.requests, passed.command("PING"), "{passed:?}");
    guard.release().await.unwrap();
    let guard = within("the grant", waiting).await.unwrap().unwrap();
    assert!(guard.is_held());
}

/// Looks at what nobody has looked at before, one for each thing that is followed.
fn looks_at(coord: &Coordinator, name: &str) -> Vec<BoxFuture<'static, tooz_core::Result<()>>> {
    let (lock, election) = (coord.lock(name), coord.group(name).election());
    let (group, topic) = (coord.group(name), coord.topic(name));
    vec![
        Box::pin(async move { lock.queue().await.map(drop) }),
        Box::pin(async move { election.leader().await.map(drop) }),
        Box::pin(async move { group.members().await.map(drop) }),
        Box::pin(async move { topic.last().await.map(drop) }),
    ]
}

/// Looks that were polled once, while no answer came.
fn left(coord: &Coordinator, name: &str) -> Vec<BoxFuture<'static, tooz_core::Result<()>>> {
    let mut looks = looks_at(coord, name);
    for look in &mut looks {
        assert!(look.now_or_never().is_none());
    }
    looks
}

#[tokio::test]
async fn looks_that_nobody_polls_keep_no_other_waiting() {
    let place = Place::new();
    let coord = place.connect("a", LONG).await;
    warm_up(&coord).await;
    for name in ["first", "second", "third"] {
        coord.group(name).create().await.unwrap();
    }

    place.proxy.cut(Way::Down);
    let _left = left(&coord, "first");
    place.proxy.join();
    for look in looks_at(&coord, "second") {
        within("a look at a new name", look).await.unwrap();
    }

    // Nor do those of a runtime that stands still.
    place.proxy.cut(Way::Down);
    let begun = {
        let coord = coord.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let left = runtime.block_on(async {
                let left = left(&coord, "elsewhere");
                tokio::task::yield_now().await; // what they began there has a turn, and no more
                left
            });
            (runtime, left)
        })
    };
    let (runtime, _left_too) = begun.join().unwrap();
    place.proxy.join();
    for look in looks_at(&coord, "third") {
        within("a look at a new name", look).await.unwrap();
    }
    runtime.shutdown_background();
}
