//! The etcd driver against a server that asks who is there: users, roles, tokens, certificates.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use std::sync::Arc;
use std::time::{Duration, Instant};

use conformance::servers::{Certificates, Etcd};
use conformance::{eventually, within};
use tooz_core::{Coordinator, Error, ErrorKind, Registry};

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
