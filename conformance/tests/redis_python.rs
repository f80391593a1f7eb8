//! Rust and Python members on one server.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod redis_server;

use std::time::{Duration, Instant};

use conformance::peers::{Peer, Witness};
use conformance::servers::{Folder, Redis, until};
use conformance::{eventually, within};
use serde_json::json;
use tooz_core::{Coordinator, Registry};

async fn coordinator(url: &str, member: &str) -> Coordinator {
    let registry = Registry::embedded().with(tooz_redis::RedisDriver::new());
    registry.builder(url).member(member).connect().await.unwrap()
}

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

#[tokio::test]
async fn one_lock_excludes_both_ways() {
    let redis = Redis::start();
    let coord = coordinator(&redis.url(), "rust").await;
    let adder = Peer::tooz(&redis.url(), "adder");
    let plain = Peer::redis(&redis.url());

    let guard = coord.lock("nightly").acquire().await.unwrap();
    assert!(!adder.try_acquire("nightly"));
    assert!(!plain.try_acquire("_tooz_nightly_lock"));
    guard.release().await.unwrap();

    assert!(adder.acquire("nightly"));
    assert!(coord.lock("nightly").try_acquire().await.unwrap().is_none());
    assert!(adder.release("nightly"));

    // A shared lock of ours keeps Python out, and the other way round.
    let shared = coord.lock("nightly").shared().acquire().await.unwrap();
    assert!(!adder.try_acquire("nightly"));
    shared.release().await.unwrap();
    assert!(adder.acquire("nightly"));
    assert!(coord.lock("nightly").shared().try_acquire().await.unwrap().is_none());
    assert!(adder.release("nightly"));
    coord.close().await.unwrap();
}

#[tokio::test]
async fn a_waiter_takes_over_from_python_within_150_milliseconds() {
    let redis = Redis::start();
    let coord = coordinator(&redis.url(), "rust").await;
    let adder = std::sync::Arc::new(Peer::tooz(&redis.url(), "adder"));
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        assert!(adder.acquire("nightly"));
        let waiting = tokio::spawn({
            let lock = coord.lock("nightly");
            async move { lock.acquire().await.map(|guard| (guard, Instant::now())) }
        });
        eventually("queue", async || {
            let waiting = coord.lock("nightly").queue().await.map_err(|e| e.to_string())?.waiting.len();
            if waiting == 1 { Ok(()) } else { Err(waiting.to_string()) }
        })
        .await;
        let releasing = std::sync::Arc::clone(&adder);
        let began = Instant::now();
        assert!(spawn(move || releasing.release("nightly")).await.unwrap());
        let released = Instant::now();
        let (guard, granted) = within("the take-over", waiting).await.unwrap().unwrap();
        slowest = slowest.max(granted.saturating_duration_since(released));
        assert!(granted >= began);
        guard.release().await.unwrap();
    }
    assert!(slowest < Duration::from_millis(150), "{slowest:?}");
    coord.close().await.unwrap();
}

/// Interleaving 14: Python gets turns while two of ours hand the lock to each other without a pause.
#[tokio::test]
async fn python_gets_turns_while_rust_loops() {
    let redis = Redis::start();
    let (one, two) = (coordinator(&redis.url(), "one").await, coordinator(&redis.url(), "two").await);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let loops: Vec<_> = [&one, &two]
        .map(|coord| {
            let (lock, stop) = (coord.lock("nightly"), std::sync::Arc::clone(&stop));
            tokio::spawn(async move {
                let mut turns = 0_u64;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let guard = lock.acquire().await.unwrap();
                    turns += 1;
                    guard.release().await.unwrap();
                }
                turns
            })
        })
        .into();
    let adder = Peer::tooz(&redis.url(), "adder");
    let got = spawn(move || {
        let mut turns = 0;
        while turns < 3 {
            assert!(adder.acquire("nightly"));
            turns += 1;
            assert!(adder.release("nightly"));
        }
        turns
    });
    let turns = within("three turns of Python", got).await.unwrap();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut ours = 0;
    for task in loops {
        ours += task.await.unwrap();
    }
    assert!(turns == 3 && ours > 100, "Python had {turns} turns, Rust {ours}");
    one.close().await.unwrap();
    two.close().await.unwrap();
}

#[tokio::test]
async fn two_thousand_mixed_cycles_never_overlap() {
    let redis = Redis::start();
    let folder = Folder::new("witness");
    let witness = Witness::new(folder.path()).unwrap();
    let each = 500;
    let python: Vec<_> = ["adder", "boa"]
        .map(|member| {
            let (url, folder) = (redis.url(), folder.path().to_owned());
            spawn(move || {
                let peer = Peer::tooz(&url, member);
                peer.begin_cycles("nightly", each, &Witness::at(&folder)).wait().result
            })
        })
        .into();
    let mut rust = Vec::new();
    for member in ["one", "two"] {
        let coord = coordinator(&redis.url(), member).await;
        let folder = folder.path().to_owned();
        rust.push(tokio::spawn(async move {
            let (lock, witness) = (coord.lock("nightly"), Witness::at(&folder));
            for _ in 0..each {
                let guard = lock.acquire().await.unwrap();
                witness.visit().unwrap();
                guard.release().await.unwrap();
            }
            coord.close().await.unwrap();
        }));
    }
    for task in rust {
        task.await.unwrap();
    }
    for task in python {
        task.await.unwrap().unwrap();
    }
    assert_eq!(witness.visits().unwrap(), 4 * each as u64);
}

#[tokio::test]
async fn groups_have_members_of_both_kinds() {
    let redis = Redis::start();
    let url = format!("{}?lock_timeout=3&membership_timeout=3", redis.url());
    let coord = coordinator(&url, "rust").await;
    let (adder, boa) = (Peer::tooz(&url, "adder"), Peer::tooz(&url, "boa"));
    let group = coord.group("snakes");
    group.create().await.unwrap();
    assert!(adder.groups().contains(&"snakes".to_owned()));
    let nested =
        json!({ "weight": 3, "färbe": ["grün", { "id": { "$uuid": "0123456789abcdef0123456789abcdef" } }] });
    adder.join("snakes", &nested);
    boa.join("snakes", &serde_json::Value::Null);
    let me = group.join(&std::collections::BTreeMap::from([("weight", 7)])).await.unwrap();

    let members = ["adder", "boa", "rust"];
    assert_eq!(adder.members("snakes"), members);
    let roster = group.members().await.unwrap();
    assert!(members.iter().all(|member| roster.contains(member)), "{roster:?}");
    assert_eq!(adder.capabilities("snakes", "rust"), json!({ "weight": 7 }));

    // A killed Python member is gone for ours, a member that leaves at once within a beat.
    adder.leave("snakes");
    boa.kill();
    eventually("see both gone", async || {
        let roster = group.members().await.map_err(|e| e.to_string())?;
        if roster.len() == 1 { Ok(()) } else { Err(format!("{roster:?}")) }
    })
    .await;
    me.leave().await.unwrap();
    until("Python sees ours leave", || adder.members("snakes").is_empty());
    coord.close().await.unwrap();
}

#[tokio::test]
async fn one_leads_of_both_kinds() {
    let redis = Redis::start();
    let url = format!("{}?lock_timeout=2&membership_timeout=2", redis.url());
    let coord = coordinator(&url, "rust").await;
    let adder = Peer::tooz(&url, "adder");
    adder.create("snakes");
    adder.join("snakes", &serde_json::Value::Null);
    let act = |act: &str| adder.ask(act, json!({ "group": "snakes" })) == json!(true);
    let term = coord.group("snakes").election().campaign("here").await.unwrap();
    act("campaign");
    assert!(!act("run"));
    term.resign().await.unwrap();
    until("Python leads", || act("run"));
    assert!(coord.group("snakes").election().leader().await.unwrap().is_some());
    adder.kill();
    let term =
        within("after the killed leader", coord.group("snakes").election().campaign("here")).await.unwrap();
    term.resign().await.unwrap();
    coord.close().await.unwrap();
}
