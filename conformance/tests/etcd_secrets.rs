//! What nobody may read: passwords and tokens, in whatever the etcd driver and the libraries under it say.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod talk;

use conformance::servers::Etcd;
use conformance::within;
use tooz_core::{Coordinator, Error, ErrorKind, From, Registry};

async fn connect(url: &str, member: &str) -> Result<Coordinator, Error> {
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    registry.builder(url).member(member).connect().await
}

/// What looks like one of etcd's simple tokens: sixteen letters, a point, a number.
fn token(text: &str) -> Option<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.'));
    words.into_iter().find(|word| {
        word.split_once('.').is_some_and(|(letters, number)| {
            letters.len() == 16
                && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
                && number.starts_with(|c: char| c.is_ascii_digit())
        })
    })
}

/// One life with a user's password at the finest level of talk: everything that a coordinator can do, a server
/// that forgets tokens and goes away, and refusals.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_and_tokens_are_in_no_error_and_in_no_line_of_a_log() {
    talk::listen();
    let etcd = Etcd::start();
    etcd.authenticate("canary-password");
    let address = etcd.addresses();
    let url = format!("etcd://root:canary-password@{address}?timeout=10&lock_timeout=15");
    let coord = connect(&url, "a").await.unwrap();
    let mut told = vec![format!("{coord:?} {:?}", coord.profile())];
    let guard = coord.lock("nightly").acquire().await.unwrap();
    let group = coord.group("blue");
    group.create().await.unwrap();
    let membership = group.join(&std::collections::BTreeMap::from([("weight", 1)])).await.unwrap();
    group.election().campaign("here").await.unwrap().resign().await.unwrap();
    let mut reading = coord.topic("config").subscribe(From::Now).await.unwrap();
    coord.topic("config").publish("x").await.unwrap();
    within("a message", reading.next()).await.unwrap();
    told.push(format!("{guard:?} {membership:?}"));

    etcd.node().process().kill();
    let error = coord.lock("other").try_acquire().await.unwrap_err();
    told.push(talk::in_full(&error));
    etcd.node().process().restart();
    etcd.healthy();
    guard.release().await.unwrap();
    membership.leave().await.unwrap();
    coord.close().await.unwrap();

    for (url, kind) in [
        (format!("etcd://root:canary-wrong@{address}"), ErrorKind::Denied),
        (format!("etcd://nobody:canary-wrong@{address}"), ErrorKind::Denied),
        ("etcd://root:canary-wrong@127.0.0.1:1".to_owned(), ErrorKind::Unavailable),
        ("etcd://root:canary-wrong@nowhere.example".to_owned(), ErrorKind::Denied),
        (format!("etcds://root:canary-wrong@{address}"), ErrorKind::Unavailable),
        (format!("etcd://root:canary-wrong@{address}?unknown=1"), ErrorKind::InvalidOption),
        (format!("etcd://root:canary-wrong@{address}/5"), ErrorKind::InvalidUrl),
    ] {
        let Err(error) = connect(&url, "b").await else { panic!("{url} is accepted") };
        assert_eq!(error.kind(), kind, "{url}: {error:?}");
        told.push(talk::in_full(&error));
    }

    assert_eq!(token("authorization: abcdefghIJKLMNOP.17"), Some("abcdefghIJKLMNOP.17"));
    let said = talk::said();
    for target in ["tooz_core", "h2::", "hyper"] {
        assert!(said.contains(target), "{target} said nothing: this test hears too little");
    }
    for text in told.iter().chain([&said]) {
        let found = text
            .find("canary")
            .map(|at| text[at.saturating_sub(200)..].chars().take(300).collect::<String>());
        assert_eq!(found, None);
        assert_eq!(token(text), None);
    }
}
