//! The etcd driver against a server that asks who is there: users, roles, tokens, certificates.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod etcd_server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::servers::{Certificates, Etcd};
use conformance::{eventually, within};
use etcd_server::{lock, session_at};
use tokio::time::timeout;
use tooz_core::backend::Mark;
use tooz_core::{Coordinator, Error, ErrorKind, Name, Registry};

/// Whom the tools speak as.
const ROOT: &str = "--user=root:canary";

async fn try_connect(url: &str, member: &str) -> Result<Coordinator, Error> {
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    registry.builder(url).member(member).connect().await
}

async fn connect(url: &str, member: &str) -> Coordinator {
    try_connect(url, member).await.unwrap()
}

async fn refused(url: &str) -> Error {
    match try_connect(url, "worker").await {
        Ok(_) => panic!("{url} is accepted"),
        Err(error) => error,
    }
}

/// A server with the role that `docs/wire/etcd.md` gives, one user who has it, and one who has not.
fn guarded() -> Etcd {
    let etcd = Etcd::start();
    etcd.etcdctl(&["role", "add", "tooz"]);
    for prefix in ["/tooz/locks", "tooz/groups/", "/tooz-rs/"] {
        etcd.etcdctl(&["role", "grant-permission", "tooz", "readwrite", prefix, "--prefix"]);
    }
    for (user, role) in [("member", Some("tooz")), ("stranger", None)] {
        etcd.etcdctl(&["user", "add", &format!("{user}:secret")]);
        if let Some(role) = role {
            etcd.etcdctl(&["user", "grant-role", user, role]);
        }
    }
    etcd.authenticate("canary");
    etcd
}

fn url(etcd: &Etcd, user: &str) -> String {
    format!("etcd://{user}:secret@{}", etcd.addresses())
}

async fn waits(lock: &tooz_core::Lock) {
    eventually("one waits", async || match lock.queue().await {
        Ok(queue) if queue.waiting.len() == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_asked_for_their_passwords_which_never_show() {
    let etcd = Etcd::start();
    etcd.authenticate("canary");
    let address = etcd.addresses();
    let coord = connect(&format!("etcd://root:canary@{address}"), "a").await;
    coord.lock("nightly").acquire().await.unwrap().release().await.unwrap();
    coord.close().await.unwrap();
    for url in [format!("etcd://{address}"), format!("etcd://root:canary-not@{address}")] {
        let error = refused(&url).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

/// The role that `docs/wire/etcd.md` gives is enough for everything, and needed for anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_role_is_enough() {
    let etcd = guarded();
    let (a, b) = (connect(&url(&etcd, "member"), "a").await, connect(&url(&etcd, "member"), "b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    let waiting = tokio::spawn({
        let lock = b.lock("nightly");
        async move { lock.acquire().await.unwrap() }
    });
    waits(&a.lock("nightly")).await;
    guard.release().await.unwrap();
    within("the hand-over", waiting).await.unwrap().release().await.unwrap();
    for coord in [&a, &b] {
        let shared = coord.lock("shared").shared().acquire().await.unwrap();
        shared.release().await.unwrap();
    }
    a.group("blue").create().await.unwrap();
    a.group("blue")
        .join(&std::collections::BTreeMap::from([("weight", 1)]))
        .await
        .unwrap()
        .leave()
        .await
        .unwrap();
    a.group("blue").election().campaign("here").await.unwrap().resign().await.unwrap();
    let mut reading = b.topic("config").subscribe(tooz_core::From::Now).await.unwrap();
    a.topic("config").publish("x").await.unwrap();
    within("a message", reading.next()).await.unwrap();
    a.topic("config").trim().await.unwrap();
    a.close().await.unwrap();
    b.close().await.unwrap();

    let error = refused(&url(&etcd, "stranger")).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

/// Interleaving 15: with users and roles, etcd lets nobody attach a key to a lease that also carries a key out of
/// their reach. Then the lock is not handed over but left, for the next in line to take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiters_lease_that_may_not_be_attached_holds_up_no_release() {
    let etcd = guarded();
    let a = connect(&url(&etcd, "member"), "a").await;
    for shared in [false, true] {
        let lock = |coord: &Coordinator, shared| {
            let lock = coord.lock("nightly");
            if shared { lock.shared() } else { lock }
        };
        let before = leases(&etcd);
        let b = connect(&url(&etcd, "member"), "b").await;
        let theirs: Vec<String> = leases(&etcd).into_iter().filter(|lease| !before.contains(lease)).collect();
        assert!(!theirs.is_empty(), "b has a lease");
        for lease in theirs {
            etcd.etcdctl(&[ROOT, "put", &format!("--lease={lease}"), &format!("/elsewhere/{lease}"), "x"]);
        }
        let guard = lock(&a, shared).acquire().await.unwrap();
        let waiting = tokio::spawn({
            let lock = lock(&b, false);
            async move { lock.acquire().await.unwrap() }
        });
        waits(&a.lock("nightly")).await;

        within("the release", guard.release()).await.unwrap();
        within("the lock", waiting).await.unwrap().release().await.unwrap();
        // Its lease is out of its own reach now, and with it a close.
        drop(b);
    }
    a.close().await.unwrap();
}

fn leases(etcd: &Etcd) -> Vec<String> {
    let text = etcd.etcdctl(&[ROOT, "lease", "list"]);
    text.lines().map(str::trim).filter(|line| line.len() == 16).map(str::to_owned).collect()
}

/// A restarted server has forgotten every token: calls, keep-alives and watches get new ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_tokens_are_renewed() {
    let etcd = Etcd::start();
    etcd.authenticate("canary");
    let url = format!("etcd://root:canary@{}?lock_timeout=6&timeout=6", etcd.addresses());
    let (a, b) = (connect(&url, "a").await, connect(&url, "b").await);
    let guard = a.lock("nightly").acquire().await.unwrap();
    etcd.node().process().kill();
    etcd.node().process().restart();
    let restarted = Instant::now();
    let waiting = tokio::spawn({
        let lock = b.lock("nightly");
        async move { lock.acquire().await.unwrap() }
    });
    // Held for longer than a lease lives without keep-alives.
    eventually("the guard lives on", async || match restarted.elapsed() > Duration::from_secs(9) {
        true => Ok(()),
        false => Err(format!("{:?}", restarted.elapsed())),
    })
    .await;
    assert!(guard.is_held(), "keep-alives stopped with the token");
    guard.release().await.unwrap();
    within("the lock", waiting).await.unwrap().release().await.unwrap();
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// Calls get a new token by themselves. A stream is asked for the one it was opened with whenever it is to watch
/// one thing more, and once that is forgotten it refuses everything: then another stream is opened, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_whose_stream_has_a_forgotten_token_listens_on_another() {
    let etcd = guarded();
    let (a, b) = (connect(&url(&etcd, "member"), "a").await, connect(&url(&etcd, "member"), "b").await);
    let metric = |name: &str| etcd.node().metric(name, "");
    let watchers = || metric("etcd_debugging_mvcc_watcher_total");
    let acquire = |name: &str| {
        let lock = b.lock(name);
        tokio::spawn(async move { lock.acquire().await.unwrap() })
    };
    let early = a.lock("early").acquire().await.unwrap();
    let first = acquire("early");
    // Both listen for its main key and its own root: one waits for it, one holds it.
    let listened = async |count: f64| {
        eventually("all watches stand", async || match watchers() {
            seen if seen >= count => Ok(()),
            seen => Err(format!("{seen} watches")),
        })
        .await;
    };
    listened(4.0).await;
    let opened = Instant::now();
    eventually("the stream is old", async || match opened.elapsed() > Duration::from_secs(1) {
        true => Ok(()),
        false => Err("it is fresh".to_owned()),
    })
    .await;

    // All tokens of a user are forgotten when the password is set, though it be the same.
    let as_root = etcd_client::ConnectOptions::new().with_user("root", "canary");
    let mut root = etcd_client::Client::connect([etcd.node().address()], Some(as_root)).await.unwrap();
    root.user_change_password("member", "secret").await.unwrap();
    let asked = || etcd.node().metric("grpc_server_msg_received_total", "grpc_method=\"Watch\"");
    let before = asked();
    let late = a.lock("late").acquire().await.unwrap();
    let second = acquire("late");
    listened(8.0).await;
    // Each of the two subjects of both members is asked for again, and one may be refused on the way.
    assert!(asked() - before <= 16.0, "{} requests on streams of watches", asked() - before);

    late.release().await.unwrap();
    within("the late lock", second).await.unwrap().release().await.unwrap();
    early.release().await.unwrap();
    within("the early lock", first).await.unwrap().release().await.unwrap();
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// Whoever lost its rights and then what it had is not told so by the store, which refuses the question. It asks again
/// after a beat, not at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loss_that_the_store_refuses_to_confirm_is_asked_about_once_a_beat() {
    const THEIRS: [&str; 2] = ["/tooz/locks", "tooz/groups/"];
    let etcd = guarded();
    let session = session_at(&url(&etcd, "member"), "a", Duration::from_secs(10)).await;
    let (nightly, group) = (lock("nightly"), Name::new("blue").unwrap());
    let (claim, enrolment) = (session.claim_on(&nightly), session.enrolment(&group, b""));
    session.take(&claim).await;
    session.groups().create(&group).await.unwrap();
    session.groups().join(&enrolment).await.unwrap();
    within("a look at the lock", session.locks().stirred(&nightly, Mark(0))).await;
    within("a look at the members", session.groups().stirred(&group, Some(Mark(0)))).await;

    for prefix in THEIRS {
        etcd.etcdctl(&[ROOT, "role", "revoke-permission", "tooz", prefix, "--prefix"]);
    }
    for key in ["/tooz/locksnightly", "tooz/groups/blue/a"] {
        etcd.etcdctl(&[ROOT, "del", key]);
    }
    let asked = || etcd.node().metric("grpc_server_handled_total", "grpc_method=\"Txn\"");
    let before = asked();
    let mut ousted = session.locks().ousted(&claim);
    let mut expelled = session.groups().expelled(&enrolment);
    let told = async { tokio::join!(&mut ousted, &mut expelled) };
    assert!(timeout(Duration::from_secs(1), told).await.is_err(), "nobody may say so");
    // Each is refused twice, the second time with a new token.
    let spent = asked() - before;
    assert!(spent <= 4.0, "{spent} transactions");

    for prefix in THEIRS {
        etcd.etcdctl(&[ROOT, "role", "grant-permission", "tooz", "readwrite", prefix, "--prefix"]);
    }
    let told = async { tokio::join!(ousted, expelled, session.backend.renew(&[], &[])) };
    within("news after a beat", told).await.2.unwrap();
    session.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_verified_on_both_sides() {
    let certificates = Arc::new(Certificates::new());
    let etcd = Etcd::plan().tls(&certificates, true).start();
    let (certificate, key) = certificates.client();
    let ca = format!("{}?ca_cert={}", etcd.url(), certificates.authority().display());
    let mutual = format!("{ca}&cert_cert={}&cert_key={}", certificate.display(), key.display());
    let coord = connect(&mutual, "a").await;
    coord.lock("nightly").acquire().await.unwrap().release().await.unwrap();
    coord.close().await.unwrap();

    for url in [ca, etcd.url(), etcd.url().replace("etcds", "etcd")] {
        let error = refused(&url).await;
        assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Denied), "{error:?}");
    }
}
