//! The ZooKeeper driver beside members that speak Python: tooz itself, and kazoo's own recipes.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a failed assumption here is a failed test

mod zookeeper_server;

use std::collections::VecDeque;
use std::time::Duration;

use conformance::peers::{Peer, Pending, Witness};
use conformance::volume::rounds;
use conformance::{eventually, unique, within};
use serde_json::{Value, json};
use tooz_core::{Coordinator, ErrorKind, Guard, Registry};
use tooz_zookeeper::ZookeeperDriver;

use zookeeper_server::server;

/// A namespace of its own on the server of this test binary.
struct Space(String);

impl Space {
    fn new() -> Self {
        Self(unique("interop"))
    }

    fn python(&self, member: &str) -> Peer {
        let url = format!("kazoo://127.0.0.1:{}?namespace={}&timeout=5", server().port(), self.0);
        Peer::tooz(&url, member)
    }

    fn kazoo(&self) -> Peer {
        Peer::kazoo(&format!("127.0.0.1:{}", server().port()), "kazoo")
    }

    async fn rust(&self, member: &str) -> Coordinator {
        let builder = Registry::new().with(ZookeeperDriver::new()).builder(self.url()).member(member);
        builder.ttl(Duration::from_secs(5)).connect().await.unwrap()
    }

    /// A member of ours in a process of its own.
    fn rust_process(&self, member: &str, ttl: u8) -> Peer {
        Peer::rust(env!("CARGO_BIN_EXE_peer"), &format!("{}&lock_timeout={ttl}", self.url()), member)
    }

    fn url(&self) -> String {
        let port = server().port();
        format!("zookeeper://127.0.0.1:{port}?namespace={}&python_elections=true", self.0)
    }

    fn lock_path(&self, name: &str) -> String {
        format!("/{}/locks/{name}", self.0)
    }
}

/// Waits until so many claims wait for a lock.
async fn queued(coord: &Coordinator, name: &str, count: usize) {
    eventually("see the queue", async || {
        let queue = coord.lock(name).queue().await.map_err(|e| e.to_string())?;
        if queue.waiting.len() == count { Ok(()) } else { Err(format!("not {count} waiting: {queue:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_lock_of_either_language_excludes_the_other_and_shows_its_holder() {
    let space = Space::new();
    let (rust, python) = (space.rust("rust-1").await, space.python("python-1"));

    let guard = rust.lock("nightly").acquire().await.unwrap();
    assert!(!python.try_acquire("nightly"));
    let seen = space.kazoo().ask("contenders", json!({ "name": space.lock_path("nightly") }));
    assert_eq!(seen, json!(["rust-1"]));
    guard.release().await.unwrap();

    assert!(python.acquire("nightly"));
    assert!(rust.lock("nightly").try_acquire().await.unwrap().is_none());
    let queue = rust.lock("nightly").queue().await.unwrap();
    assert_eq!(queue.holders[0].member.as_ref().map(|member| member.as_str()), Some("python-1"));
    assert!(queue.holders[0].token.is_some(), "a transaction id is a token, whoever drew it");
    let lock = rust.lock("nightly");
    let waiting = tokio::spawn(async move { lock.acquire().await });
    queued(&rust, "nightly", 1).await;
    assert!(python.release("nightly"));
    within("the lock that Python released", waiting).await.unwrap().unwrap().release().await.unwrap();
    rust.close().await.unwrap();
}

/// One who waits in a crowd: a task of ours, or a peer and what it calls the lock.
enum Waiter<'a> {
    Ours(tokio::task::JoinHandle<tooz_core::Result<Guard>>),
    Peer(&'a Peer, Value, Pending),
}

impl<'a> Waiter<'a> {
    fn ours(coord: &Coordinator) -> Self {
        let lock = coord.lock("crowd");
        Self::Ours(tokio::spawn(async move { lock.acquire().await }))
    }

    fn peer(peer: &'a Peer, name: &str) -> Self {
        let name = json!({ "name": name });
        Self::Peer(peer, name.clone(), peer.begin("acquire", name))
    }

    fn is_served(&mut self) -> bool {
        match self {
            Self::Ours(waiting) => waiting.is_finished(),
            Self::Peer(_, _, pending) => pending.is_answered(),
        }
    }
}

/// Ours follow each other, who leave word and read it; and they follow kazoo's and tooz's, who do neither, and
/// are followed by them.
#[tokio::test]
async fn a_crowd_of_all_languages_is_served_in_one_order() {
    let space = Space::new();
    let (a, b) = (space.rust("rust-1").await, space.rust("rust-2").await);
    let (python, other, kazoo) = (space.python("python-1"), space.python("python-2"), space.kazoo());
    let guard = a.lock("crowd").acquire().await.unwrap();
    let mut crowd = VecDeque::new();
    for who in "ab1abakb2abb".chars() {
        crowd.push_back(match who {
            'a' => Waiter::ours(&a),
            'b' => Waiter::ours(&b),
            '1' => Waiter::peer(&python, "crowd"),
            '2' => Waiter::peer(&other, "crowd"),
            _ => Waiter::peer(&kazoo, &space.lock_path("crowd")),
        });
        queued(&a, "crowd", crowd.len()).await;
    }
    guard.release().await.unwrap();
    while let Some(waiter) = crowd.pop_front() {
        let mut nobody_else = |holder: &str| {
            assert_eq!(crowd.iter_mut().position(Waiter::is_served), None, "{holder} holds");
        };
        match waiter {
            Waiter::Ours(waiting) => {
                let guard = within("our turn", waiting).await.unwrap().unwrap();
                nobody_else("one of ours");
                guard.release().await.unwrap();
            }
            Waiter::Peer(peer, name, pending) => {
                assert_eq!(pending.answered().await.result, Ok(json!(true)));
                nobody_else("a peer");
                peer.ask("release", name);
            }
        }
    }
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// Four processes, two of each language, on one lock: as many cycles as `TOOZ_ROUNDS` says, at least 2,000.
#[tokio::test]
async fn two_thousand_mixed_cycles_of_four_processes_never_overlap() {
    let each = usize::try_from(rounds(2_000)).unwrap().max(2_000) / 4;
    let space = Space::new();
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::new(folder.path()).unwrap();
    let peers = [
        space.python("python-1"),
        space.python("python-2"),
        space.rust_process("rust-1", 5),
        space.rust_process("rust-2", 5),
    ];
    let cycles = peers.each_ref().map(|peer| peer.begin_cycles("busy", each, &witness));
    let patience = Duration::from_secs(60 + each as u64 / 5);
    for cycles in cycles {
        let answer = tokio::task::spawn_blocking(move || cycles.wait_at_most(patience)).await.unwrap();
        assert_eq!(answer.result, Ok(json!(each)));
    }
    assert_eq!(witness.visits().unwrap(), 4 * each as u64);
}

#[tokio::test]
async fn readers_are_respected_by_both_kinds_of_python_locks() {
    let space = Space::new();
    let (rust, python, kazoo) = (space.rust("rust").await, space.python("python"), space.kazoo());
    let one = rust.lock("shelf").shared().acquire().await.unwrap();
    let two = rust.lock("shelf").shared().acquire().await.unwrap();
    assert!(!python.try_acquire("shelf"));
    let path = space.lock_path("shelf");
    assert_eq!(kazoo.ask("acquire", json!({ "name": path, "kind": "write", "timeout": 0 })), json!(false));
    one.release().await.unwrap();
    assert!(!python.try_acquire("shelf"), "one reader is left");
    two.release().await.unwrap();
    assert!(python.try_acquire("shelf"));
    assert!(rust.lock("shelf").shared().try_acquire().await.unwrap().is_none());
    python.release("shelf");

    // Readers of kazoo's own are readers to us.
    assert_eq!(kazoo.ask("acquire", json!({ "name": path, "kind": "read" })), json!(true));
    assert!(rust.lock("shelf").try_acquire().await.unwrap().is_none());
    let beside = rust.lock("shelf").shared().try_acquire().await.unwrap();
    beside.expect("readers of both kinds stand together").release().await.unwrap();
    kazoo.ask("release", json!({ "name": path, "kind": "read" }));
    rust.close().await.unwrap();
}

#[tokio::test]
async fn groups_and_capabilities_are_one() {
    let space = Space::new();
    let (rust, python) = (space.rust("rust").await, space.python("python"));
    python.create("blue");
    assert_eq!(rust.group("blue").create().await.unwrap_err().kind(), ErrorKind::GroupExists);
    rust.group("red").create().await.unwrap();
    // The directory of the locks is a group to Python, and none to us.
    assert!(python.groups().contains(&"red".to_owned()));
    let listed: Vec<String> =
        rust.groups().await.unwrap().iter().map(|name| name.as_str().to_owned()).collect();
    assert!(listed.len() == 2 && listed.contains(&"blue".to_owned()), "{listed:?}");

    python.join("blue", &json!({ "weight": 3, "tags": ["é", 1] }));
    let roster = rust.group("blue").members().await.unwrap();
    let seen: serde_json::Value = roster.get("python").unwrap().capabilities().read().unwrap();
    assert_eq!(seen, json!({ "weight": 3, "tags": ["é", 1] }));
    assert_eq!(roster.get("python").unwrap().session(), None, "Python tells no incarnation");

    let me = rust.group("blue").join(&json!({ "weight": 7 })).await.unwrap();
    assert_eq!(python.members("blue"), ["python", "rust"]);
    assert_eq!(python.capabilities("blue", "rust"), json!({ "weight": 7 }));
    me.update(&json!({ "weight": 8 })).await.unwrap();
    assert_eq!(python.capabilities("blue", "rust"), json!({ "weight": 8 }));

    let mut view = rust.group("blue").watch().await.unwrap();
    python.leave("blue");
    within("see Python leave", async {
        while view.borrow().contains("python") {
            view.changed().await.unwrap();
        }
    })
    .await;
    me.leave().await.unwrap();
    assert!(python.members("blue").is_empty());
    rust.close().await.unwrap();
}

/// Interleaving 23: of others, value and term may be unknown. Interleaving 24: where the URL asks for Python's places.
#[tokio::test]
async fn elections_exclude_both_ways_and_each_sees_the_other() {
    let space = Space::new();
    let (rust, python) = (space.rust("rust").await, space.python("python"));
    rust.group("blue").create().await.unwrap();
    let term = rust.group("blue").election().campaign("host:1").await.unwrap();
    assert_eq!(python.ask("leader", json!({ "group": "blue" })), json!("rust"));
    python.ask("campaign", json!({ "group": "blue" }));
    assert_eq!(python.ask("run", json!({ "group": "blue" })), json!(false));

    term.resign().await.unwrap();
    eventually("see Python lead", async || {
        let leads = python.ask("run", json!({ "group": "blue" }));
        if leads == json!(true) { Ok(()) } else { Err(leads.to_string()) }
    })
    .await;
    let leader = rust.group("blue").election().leader().await.unwrap().expect("Python leads");
    assert_eq!(leader.member.as_ref().map(|member| member.as_str()), Some("python"));
    assert_eq!(leader.value, None, "Python's leaders have no value");
    assert!(rust.group("blue").members().await.unwrap().is_empty(), "the election is no member");

    python.ask("resign", json!({ "group": "blue" }));
    // What is left of the election does not keep the group.
    rust.group("blue").delete().await.unwrap();
    rust.close().await.unwrap();
}

/// Interleaving 24: Python lists whatever stands below a group as its members.
#[tokio::test]
async fn elections_of_ours_are_no_members_to_python_unless_asked_for() {
    let space = Space::new();
    let python = space.python("python");
    let url = space.url().replace("&python_elections=true", "");
    let builder = Registry::new().with(ZookeeperDriver::new()).builder(url).member("rust");
    let rust = builder.ttl(Duration::from_secs(5)).connect().await.unwrap();
    python.create("blue");
    python.join("blue", &json!({}));
    let term = rust.group("blue").election().campaign("host:1").await.unwrap();
    assert_eq!(python.members("blue"), ["python"]);
    term.resign().await.unwrap();
    python.leave("blue");
    rust.group("blue").delete().await.unwrap();
    rust.close().await.unwrap();
}

#[tokio::test]
async fn a_killed_python_member_frees_what_it_had() {
    let space = Space::new();
    let (rust, python) = (space.rust("rust").await, space.python("python"));
    python.create("blue");
    python.join("blue", &json!({}));
    assert!(python.acquire("nightly"));
    python.kill();
    let guard = within("the lock of the dead", rust.lock("nightly").acquire()).await.unwrap();
    guard.release().await.unwrap();
    eventually("see the dead member gone", async || {
        let roster = rust.group("blue").members().await.map_err(|e| e.to_string())?;
        if roster.is_empty() { Ok(()) } else { Err(format!("{roster:?}")) }
    })
    .await;
    rust.close().await.unwrap();
}

#[tokio::test]
async fn a_killed_rust_member_frees_what_it_had() {
    let space = Space::new();
    let (rust, python, other) =
        (space.rust_process("rust", 2), space.python("python"), space.rust("other").await);
    python.create("blue");
    python.create("red");
    rust.join("blue", &json!({}));
    rust.ask("campaign", json!({ "group": "red" }));
    assert!(rust.acquire("nightly"));
    assert_eq!(python.members("blue"), ["rust"]);
    let waiting = python.begin("acquire", json!({ "name": "nightly" }));
    queued(&other, "nightly", 1).await;
    rust.kill();
    assert_eq!(waiting.answered().await.result, Ok(json!(true)), "Python has the lock of the dead");
    eventually("see the dead member and leader gone", async || {
        let (left, leader) = (python.members("blue"), python.ask("leader", json!({ "group": "red" })));
        if left.is_empty() && leader == Value::Null { Ok(()) } else { Err(format!("{left:?} {leader}")) }
    })
    .await;
    python.release("nightly");
    other.close().await.unwrap();
}
