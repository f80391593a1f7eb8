//! The members that speak Python do what they are told, over every store they share with ours.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use conformance::peers::{Peer, Witness};
use conformance::servers::{Etcd, Redis, Zookeeper, until};
use serde_json::{Value, json};

/// Locks exclude, groups show, elections elect: what the tests of drivers build on.
fn exclude_each_other(url: &str) {
    let (adder, boa) = (Peer::tooz(url, "adder"), Peer::tooz(url, "boa"));
    assert!(adder.acquire("nightly"));
    assert!(!boa.try_acquire("nightly"));
    let mut waiting = boa.begin("acquire", json!({ "name": "nightly" }));
    assert!(!waiting.is_answered());
    assert!(adder.release("nightly"));
    assert_eq!(waiting.wait().result, Ok(json!(true)));
    assert!(boa.release("nightly"));

    adder.create("snakes");
    let nested =
        json!({ "weight": 3, "färbe": ["grün", { "id": { "$uuid": "0123456789abcdef0123456789abcdef" } }] });
    for capabilities in [&Value::Null, &json!({}), &nested] {
        adder.join("snakes", capabilities);
        let seen = boa.capabilities("snakes", "adder").to_string().replace('-', "");
        assert_eq!(seen, capabilities.to_string());
        assert_eq!(boa.members("snakes"), ["adder"]);
        // On etcd it takes members for groups too, and on ZooKeeper the folder of locks.
        assert!(boa.groups().contains(&"snakes".to_owned()));
        adder.leave("snakes");
    }
    let missing = boa.begin("members", json!({ "group": "birds" })).wait();
    assert!(missing.result.is_err_and(|error| error.starts_with("GroupNotCreated")));
}

fn elect_one(url: &str) {
    let (adder, boa) = (Peer::tooz(url, "adder"), Peer::tooz(url, "boa"));
    adder.create("snakes");
    let act = |peer: &Peer, act: &str| peer.ask(act, json!({ "group": "snakes" })) == json!(true);
    for peer in [&adder, &boa] {
        peer.join("snakes", &Value::Null);
        act(peer, "campaign");
    }
    assert!(act(&adder, "run"));
    assert!(!act(&boa, "run"));
    adder.kill();
    until("the killed leader is followed by the other", || act(&boa, "run"));
}

#[test]
fn tooz_over_redis() {
    let redis = Redis::start();
    let url = redis.url();
    exclude_each_other(&url);
    redis.command(&["FLUSHALL"]);
    elect_one(&format!("{url}?lock_timeout=2&membership_timeout=2"));
}

#[test]
fn tooz_over_etcd() {
    let etcd = Etcd::start();
    exclude_each_other(&format!("etcd3+http://{}", etcd.addresses()));
}

#[test]
fn tooz_and_kazoo_over_zookeeper() {
    let zookeeper = Zookeeper::start();
    exclude_each_other(&zookeeper.url());
    let (adder, boa) =
        (Peer::kazoo(&zookeeper.addresses(), "adder"), Peer::kazoo(&zookeeper.addresses(), "boa"));
    assert!(adder.acquire("/locks/nightly"));
    assert!(!boa.try_acquire("/locks/nightly"));
    assert_eq!(boa.ask("contenders", json!({ "name": "/locks/nightly" })), json!(["adder"]));
    assert!(adder.release("/locks/nightly"));

    adder.ask("campaign", json!({ "name": "/leader" }));
    until("the first candidate leads", || adder.ask("run", json!({ "name": "/leader" })) == json!(true));
    boa.ask("campaign", json!({ "name": "/leader" }));
    adder.ask("resign", json!({ "name": "/leader" }));
    until("the second candidate leads", || boa.ask("run", json!({ "name": "/leader" })) == json!(true));
}

#[test]
fn redis_py_and_tooz_share_a_lock_and_their_overlap_would_be_seen() {
    let redis = Redis::start();
    let (tooz, plain) = (Peer::tooz(&redis.url(), "adder"), Peer::redis(&redis.url()));
    assert!(plain.acquire("_tooz_nightly_lock"));
    assert!(!tooz.try_acquire("nightly"));
    assert!(plain.release("_tooz_nightly_lock"));

    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::new(folder.path()).unwrap();
    let asked =
        [tooz.begin_cycles("nightly", 5, &witness), plain.begin_cycles("_tooz_nightly_lock", 5, &witness)];
    asked.into_iter().for_each(|asked| assert_eq!(asked.wait().result, Ok(json!(5))));
    assert_eq!(witness.visits().unwrap(), 10);

    std::fs::write(folder.path().join("inside"), "").unwrap();
    assert!(tooz.begin_cycles("nightly", 1, &witness).wait().result.is_err());
}

#[test]
fn times_of_peers_are_on_our_clock() {
    let redis = Redis::start();
    let peer = Peer::tooz(&redis.url(), "adder");
    let before = conformance::history::now();
    let answer = peer.begin("groups", json!({})).wait();
    assert!(
        before < answer.begun && answer.begun < answer.ended && answer.ended < conformance::history::now()
    );
}
