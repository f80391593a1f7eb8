//! Members of ours beside members that speak Python, on one Redis server.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test
#![allow(clippy::print_stdout)] // figures are part of the result

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use conformance::history::now;
use conformance::peers::{Peer, Witness};
use conformance::proxy::Proxy;
use conformance::servers::Redis;
use conformance::{eventually, within};
use serde_json::{Value, json};
use tooz_core::{Capabilities, Coordinator, Registry};
use tooz_redis::RedisDriver;

/// A server with one member of ours; times to live are short where a test waits for one to end.
struct Place {
    redis: Redis,
    options: &'static str,
}

impl Place {
    fn new() -> Self {
        Self { redis: Redis::start(), options: "" }
    }

    fn short_lived() -> Self {
        Self { redis: Redis::start(), options: "?lock_timeout=3&membership_timeout=3" }
    }

    fn url(&self) -> String {
        format!("{}{}", self.redis.url(), self.options)
    }

    async fn ours(&self, member: &str) -> Coordinator {
        let registry = Registry::new().with(RedisDriver::new());
        registry.builder(self.url()).member(member).connect().await.unwrap()
    }

    fn python(&self, member: &str) -> Peer {
        Peer::tooz(&self.url(), member)
    }

    fn rust(&self, member: &str) -> Peer {
        Peer::rust(env!("CARGO_BIN_EXE_peer"), &self.url(), member)
    }
}

/// Waits until a question is answered as wanted.
async fn comes_to(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, async || if is_so() { Ok(()) } else { Err("not yet".to_owned()) }).await;
}

async fn names(coord: &Coordinator, group: &str) -> Vec<String> {
    let roster = coord.group(group).members().await.unwrap();
    let mut names: Vec<_> = roster.names().map(str::to_owned).collect();
    names.sort();
    names
}

async fn comes_to_have(coord: &Coordinator, group: &str, wanted: &[&str]) {
    eventually("see the members", async || {
        let names = names(coord, group).await;
        if names == wanted { Ok(()) } else { Err(format!("{names:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_lock_excludes_both_ways() {
    let place = Place::new();
    let (ours, python) = (place.ours("ours").await, place.python("python"));
    let plain = Peer::redis(&place.redis.url());
    for name in ["nightly", "ночь", "a b/c{d}"] {
        let lock = ours.lock(name);
        let key = format!("_tooz_{name}_lock");
        let guard = lock.try_acquire().await.unwrap().unwrap();
        assert!(!python.try_acquire(name) && !plain.try_acquire(&key));
        guard.release().await.unwrap();

        assert!(python.try_acquire(name));
        assert!(lock.try_acquire().await.unwrap().is_none());
        assert!(python.release(name));
        assert!(plain.try_acquire(&key));
        assert!(lock.try_acquire().await.unwrap().is_none());
        assert!(plain.release(&key));
        lock.try_acquire().await.unwrap().unwrap().release().await.unwrap();
    }
}

#[tokio::test]
async fn a_released_lock_goes_to_who_waits_in_the_other_language() {
    let place = Place::new();
    let (ours, python) = (place.ours("ours").await, place.python("python"));
    let guard = ours.lock("nightly").acquire().await.unwrap();
    let mut waiting = python.begin("acquire", json!({ "name": "nightly" }));
    assert!(!waiting.is_answered());
    guard.release().await.unwrap();
    assert_eq!(waiting.answered().await.result, Ok(json!(true)));

    let held = tokio::spawn(async move { ours.lock("nightly").acquire().await.map(|guard| (guard, ours)) });
    comes_to("wait in line", || {
        place.redis.command(&["KEYS", "{_tooz_nightly_lock}:queue"]).list().len() == 1
    })
    .await;
    assert!(!held.is_finished() && python.release("nightly"));
    let (guard, ours) = within("take over", held).await.unwrap().unwrap();
    assert!(guard.is_held());
    guard.release().await.unwrap();
    ours.close().await.unwrap();
}

/// How long after Python's releases a waiter of ours had the lock, shortest first.
async fn follow_python(ours: &Coordinator, python: &Peer, rounds: u64) -> Vec<Duration> {
    let mut delays = Vec::new();
    for round in 0..rounds {
        assert!(python.acquire("nightly"));
        let lock = ours.lock("nightly");
        let held = tokio::spawn(async move { lock.acquire().await.map(|guard| (guard, now())) });
        eventually("wait in line", async || {
            let waiting =
                ours.lock("nightly").queue().await.map_err(|error| error.to_string())?.waiting.len();
            if waiting == 1 { Ok(()) } else { Err(format!("{waiting} wait")) }
        })
        .await;
        // At no special moment of any timer.
        tokio::time::sleep(Duration::from_millis(13 * round)).await;
        let released = python.begin("release", json!({ "name": "nightly" })).answered().await;
        let (guard, granted) = within("take over", held).await.unwrap().unwrap();
        delays.push(Duration::from_nanos(granted.saturating_sub(released.begun)));
        guard.release().await.unwrap();
    }
    delays.sort();
    delays
}

/// Python publishes nothing when it releases.
#[tokio::test]
async fn a_waiter_follows_a_python_release_within_150_ms() {
    let place = Place::new();
    let (ours, python) = (place.ours("ours").await, place.python("python"));
    let delays = follow_python(&ours, &python, 20).await;
    println!("python release to our grant: {:?} median, {:?} longest", delays[10], delays[19]);
    // One in ten may be the machine's.
    assert!(delays[17] < Duration::from_millis(150), "{delays:?}");
}

#[tokio::test]
async fn a_waiter_follows_a_python_release_after_its_lines_broke() {
    let place = Place::new();
    let python = place.python("python");
    let proxy = Proxy::redis(place.redis.port());
    let registry = Registry::new().with(RedisDriver::new());
    let ours =
        registry.builder(format!("redis://{}", proxy.address())).member("ours").connect().await.unwrap();
    follow_python(&ours, &python, 1).await;

    let before = proxy.counts();
    proxy.reset();
    eventually("connect again", async || {
        let again = proxy.counts().since(&before).connections;
        ours.round_trip().await.map_err(|error| error.to_string())?;
        if again >= 2 { Ok(()) } else { Err(format!("{again} connections")) }
    })
    .await;
    let delays = follow_python(&ours, &python, 5).await;
    println!("the same after a reset: {delays:?}");
    assert!(delays[4] < Duration::from_millis(150), "{delays:?}");
}

#[test]
fn two_and_two_processes_never_overlap_in_2000_mixed_cycles() {
    const EACH: usize = 500;
    let place = Place::new();
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::new(folder.path()).unwrap();
    let peers = [place.rust("r1"), place.rust("r2"), place.python("p1"), place.python("p2")];
    let asked = peers.each_ref().map(|peer| peer.begin_cycles("contended", EACH, &witness));
    let answers = asked.map(|asked| asked.wait_at_most(Duration::from_secs(400)));
    for answer in &answers {
        assert_eq!(answer.result, Ok(json!(EACH)));
    }
    assert_eq!(witness.visits().unwrap(), 4 * EACH as u64);

    // They did contend: nobody had ended before the last began, and Python got its turns meanwhile.
    let begun = answers.iter().map(|answer| answer.begun).max().unwrap();
    let (first, last) =
        (answers.iter().map(|answer| answer.ended).min(), answers.iter().map(|answer| answer.ended).max());
    assert!(begun < first.unwrap(), "{answers:?}");
    println!("4 × {EACH} cycles in {:?}", Duration::from_nanos(last.unwrap() - begun));
}

/// Python polls and leaves no trace while it waits.
#[tokio::test]
async fn python_gets_turns_while_we_loop() {
    let place = Place::new();
    let python = place.python("python");
    let turns = Arc::new(AtomicU32::new(0));
    let stop = tokio::sync::watch::Sender::new(false);
    // They find that Python uses this lock too: from then on it is thought of.
    assert!(python.acquire("contended"));
    let mut looping = Vec::new();
    for member in ["ours", "other"] {
        let (coord, turns, stop) = (place.ours(member).await, Arc::clone(&turns), stop.clone());
        looping.push(tokio::spawn(async move {
            while !*stop.borrow() {
                let guard = coord.lock("contended").acquire().await.unwrap();
                turns.fetch_add(1, Ordering::Relaxed);
                guard.release().await.unwrap();
            }
        }));
    }
    let more_turns = async |count: u32| {
        let wanted = turns.load(Ordering::Relaxed) + count;
        eventually("go on in turns", async || {
            let turns = turns.load(Ordering::Relaxed);
            if turns >= wanted { Ok(()) } else { Err(format!("{turns} turns")) }
        })
        .await;
    };
    let waiting = || place.redis.command(&["ZCARD", "{_tooz_contended_lock}:queue"]).number();
    comes_to("have both wait behind Python", || waiting() == Some(2)).await;
    assert!(python.release("contended"));
    let mut waits = Vec::new();
    for _ in 0..8 {
        more_turns(50).await;
        let answer = python.begin("acquire", json!({ "name": "contended" })).answered().await;
        assert_eq!(answer.result, Ok(json!(true)));
        waits.push(Duration::from_nanos(answer.ended - answer.begun));
        let released = python.begin("release", json!({ "name": "contended" })).answered().await;
        assert_eq!(released.result, Ok(json!(true)));
    }
    more_turns(50).await;
    stop.send_replace(true);
    for task in looping {
        within("end the loop", task).await.unwrap();
    }
    waits.sort();
    println!("python waits for its turn: {waits:?}, ours had {turns:?} turns");
    // It is owed a moment each second, and misses some when the machine is busy: it looks ten times a second.
    assert!(waits[7] < Duration::from_secs(30), "{waits:?}");
}

#[tokio::test]
async fn readers_of_ours_keep_python_out_and_python_keeps_readers_out() {
    let place = Place::new();
    let (ours, other, python) = (place.ours("ours").await, place.ours("other").await, place.python("python"));
    let first = ours.lock("paper").shared().acquire().await.unwrap();
    let second = other.lock("paper").shared().acquire().await.unwrap();
    assert!(!python.try_acquire("paper"));
    first.release().await.unwrap();
    assert!(!python.try_acquire("paper"));
    second.release().await.unwrap();

    assert!(python.try_acquire("paper"));
    assert!(ours.lock("paper").shared().try_acquire().await.unwrap().is_none());
    assert!(python.release("paper"));
    ours.lock("paper").shared().try_acquire().await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn capabilities_mean_the_same_to_both() {
    let place = Place::new();
    let (ours, python) = (place.ours("ours").await, place.python("python"));
    ours.group("snakes").create().await.unwrap();
    assert_eq!(python.groups(), ["snakes"]);
    let nested = json!({ "weight": 3, "färbe": ["grün", { "tief": [1, 2.5, true, null] }] });
    for capabilities in [Value::Null, json!({}), nested] {
        let membership = ours.group("snakes").join(&capabilities).await.unwrap();
        assert_eq!(python.capabilities("snakes", "ours"), capabilities);
        membership.leave().await.unwrap();

        python.join("snakes", &capabilities);
        let roster = ours.group("snakes").members().await.unwrap();
        let seen = roster.get("python").unwrap().capabilities();
        assert_eq!(seen.read::<Value>().unwrap(), capabilities);
        assert_eq!(seen.as_bytes(), Capabilities::of(&capabilities).unwrap().as_bytes());
        python.leave("snakes");
    }
}

#[tokio::test]
async fn extension_types_are_carried_untouched() {
    let place = Place::new();
    let (ours, python) = (place.ours("ours").await, place.python("python"));
    ours.group("snakes").create().await.unwrap();
    let id = "01234567-89ab-cdef-0123-456789abcdef";
    python.join("snakes", &json!({ "id": { "$uuid": id } }));
    let roster = ours.group("snakes").members().await.unwrap();
    let seen = roster.get("python").unwrap().capabilities();
    assert!(seen.as_bytes().windows(32).any(|part| part == id.replace('-', "").as_bytes()), "{seen:?}");

    // Handed on by us as it came, it is the same to Python again.
    let same = Capabilities::from_msgpack(seen.as_bytes().clone()).unwrap();
    ours.group("snakes").join_with(same).await.unwrap().detach();
    assert_eq!(python.capabilities("snakes", "ours"), json!({ "id": { "$uuid": id } }));
}

#[tokio::test]
async fn members_come_go_and_die_before_the_eyes_of_both() {
    let place = Place::short_lived();
    let (ours, python) = (place.ours("ours").await, place.python("python"));
    python.create("snakes");
    assert_eq!(ours.groups().await.unwrap(), ["snakes"]);
    python.join("snakes", &Value::Null);
    let me = ours.group("snakes").join(&()).await.unwrap();
    assert_eq!(names(&ours, "snakes").await, ["ours", "python"]);
    assert_eq!(python.members("snakes"), ["ours", "python"]);

    let (rust, boa) = (place.rust("rust"), place.python("boa"));
    rust.join("snakes", &json!({}));
    boa.join("snakes", &json!({}));
    assert_eq!(names(&ours, "snakes").await, ["boa", "ours", "python", "rust"]);
    assert_eq!(python.members("snakes"), names(&ours, "snakes").await);
    rust.kill();
    boa.kill();
    comes_to_have(&ours, "snakes", &["ours", "python"]).await;
    comes_to("see them gone in Python too", || python.members("snakes") == ["ours", "python"]).await;

    python.leave("snakes");
    assert_eq!(names(&ours, "snakes").await, ["ours"]);
    me.leave().await.unwrap();
    assert!(python.members("snakes").is_empty());
}

#[tokio::test]
async fn views_follow_what_python_members_do_silently() {
    let place = Place::short_lived();
    let (ours, python) = (place.ours("ours").await, place.python("python"));
    ours.group("snakes").create().await.unwrap();
    let mut view = ours.group("snakes").watch().await.unwrap();
    python.join("snakes", &json!({ "weight": 1 }));
    within("see it join", async {
        while !view.borrow().contains("python") {
            view.changed().await.unwrap();
        }
    })
    .await;
    python.leave("snakes");
    within("see it leave", async {
        while view.borrow().contains("python") {
            view.changed().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn one_leads_in_either_language_and_the_other_follows() {
    let place = Place::short_lived();
    let (ours, python) = (place.ours("ours").await, place.python("python"));
    ours.group("snakes").create().await.unwrap();
    python.join("snakes", &Value::Null);
    let act = |act: &str| python.ask(act, json!({ "group": "snakes" })) == json!(true);
    let election = ours.group("snakes").election();
    let term = election.campaign("host:1").await.unwrap();
    act("campaign");
    assert!(!act("run"));

    term.resign().await.unwrap();
    assert!(act("run"));
    assert!(election.try_campaign("host:1").await.unwrap().is_none());
    // Python keeps to itself who it is.
    let leader = election.leader().await.unwrap().unwrap();
    assert_eq!((leader.member, leader.value), (None, None));

    let next = tokio::spawn(async move { election.campaign("host:1").await });
    python.kill();
    let term = within("follow the killed leader", next).await.unwrap().unwrap();
    assert!(term.is_held());
    let boa = place.python("boa");
    boa.join("snakes", &Value::Null);
    boa.ask("campaign", json!({ "group": "snakes" }));
    assert_eq!(boa.ask("run", json!({ "group": "snakes" })), json!(false));
}

#[tokio::test]
async fn the_lock_of_a_killed_holder_goes_to_the_other_language() {
    let place = Place::short_lived();
    let (ours, python) = (place.ours("ours").await, place.python("python"));
    let (rust, boa) = (place.rust("rust"), place.python("boa"));
    assert!(rust.acquire("nightly") && boa.acquire("daily"));
    let waiting = python.begin("acquire", json!({ "name": "nightly" }));
    let lock = ours.lock("daily");
    let held = tokio::spawn(async move { lock.acquire().await });
    let killed = now();
    rust.kill();
    boa.kill();
    let answer = waiting.answered().await;
    assert_eq!(answer.result, Ok(json!(true)));
    let guard = within("take over", held).await.unwrap().unwrap();
    assert!(guard.is_held());
    let spent = Duration::from_nanos(answer.ended.max(now()) - killed);
    // The time to live, and one poll of Python's.
    assert!(spent < Duration::from_millis(3_000 + 250), "{spent:?}");
}

#[tokio::test]
async fn what_python_breaks_is_lost_to_us_and_leaves_no_queue() {
    let place = Place::short_lived();
    let (ours, python) = (place.ours("ours").await, place.python("python"));
    let guard = ours.lock("nightly").acquire().await.unwrap();
    let lock = ours.lock("nightly");
    let next = tokio::spawn(async move { lock.acquire().await });
    eventually("wait in line", async || {
        let waiting = ours.lock("nightly").queue().await.map_err(|error| error.to_string())?.waiting.len();
        if waiting == 1 { Ok(()) } else { Err(format!("{waiting} wait")) }
    })
    .await;
    assert_eq!(python.ask("break_lock", json!({ "name": "nightly" })), json!(true));
    within("hear of the broken lock", guard.lost()).await;
    assert!(!guard.is_held());
    let next = within("follow", next).await.unwrap().unwrap();
    assert!(next.fencing_token() > guard.fencing_token());
}
