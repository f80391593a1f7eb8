//! A primary, two replicas, three sentinels.

use conformance::servers::{Sentinels, sentinel::SERVICE};
use tokio::time::timeout;
use tooz_core::{Effect, ErrorKind};

use super::*;
use crate::line::Heard;
use crate::server::Mode;

fn url(sentinels: &Sentinels) -> String {
    format!("redis+sentinel://{}?sentinel={SERVICE}", sentinels.addresses())
}

/// One set of servers, several failovers: they take long to start.
#[tokio::test(flavor = "multi_thread")]
async fn the_primary_is_found_and_found_again_after_each_failover() {
    let sentinels = tokio::task::block_in_place(Sentinels::start);
    let line = open(&url(&sentinels)).await.unwrap();
    assert_eq!((line.server().mode, line.server().replicas), (Mode::Sentinel, 2));
    assert!(line.server().warnings.iter().any(|w| w.contains("wait_replicas")));
    let (ear, mut heard) = line.listen().await.unwrap();
    ear.subscribe(b"mine").await.unwrap();
    assert_eq!(line.confirm(count("l"), 2).await.unwrap(), (Value::Int(1), 2));

    // As Python writes it; a sentinel that is away does not matter, nor that the first host is no sentinel.
    let [first, second, third] = sentinels.sentinels() else { panic!("three sentinels") };
    let python = format!(
        "redis://127.0.0.1:1?sentinel={SERVICE}&sentinel_fallback={}&sentinel_fallback={}",
        second.address(),
        third.address()
    );
    open(&python).await.unwrap();
    first.process().freeze();
    open(&url(&sentinels)).await.unwrap();
    first.process().thaw();

    // A planned failover: the old primary lives on and answers, but no longer us.
    let old = sentinels.primary();
    let start = Instant::now();
    let new = tokio::task::block_in_place(|| sentinels.fail_over());
    println!("planned failover: {:?}", start.elapsed());
    assert_eq!(timeout(Duration::from_secs(10), heard.recv()).await.unwrap(), Some(Heard::Resumed));
    println!("heard after {:?}", start.elapsed());
    until("the line leads to the new primary", || async {
        line.run(echo("where", "planned"))
            .await
            .is_ok_and(|_| new.command(&["GET", "where"]).text() == "planned")
    })
    .await;
    println!("back after {:?}", start.elapsed());
    until("the ear too", || async { new.command(&["PUBLISH", "mine", "a"]).text() == "1" }).await;
    println!("the old primary says {}", old.command(&["ROLE"]).text());

    // The primary is killed.
    let old = sentinels.primary();
    let start = Instant::now();
    old.kill();
    let errors = std::cell::RefCell::new(Vec::new());
    until("the line leads to the next primary", || async {
        match line.run(echo("where", "killed")).await {
            Ok(_) => true,
            Err(error) => {
                errors.borrow_mut().push(error);
                false
            }
        }
    })
    .await;
    println!("takeover after {:?}: {:?}", start.elapsed(), errors.borrow().last());
    assert!(errors.borrow().iter().all(|error| error.kind() == ErrorKind::Unavailable));
    let next = tokio::task::block_in_place(|| sentinels.failed_over(old.port()));
    assert_eq!(next.command(&["GET", "where"]).text(), "killed");
    until("the ear too", || async { next.command(&["PUBLISH", "mine", "a"]).text() == "1" }).await;

    let error = refusal(&format!("redis+sentinel://{}?sentinel=other", sentinels.addresses())).await;
    println!("{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    assert!(error.to_string().contains("no primary called \"other\""), "{error}");
    let error = refusal(&format!("redis+sentinel://{}?sentinel=x", next.address())).await;
    println!("{error}");
    assert!(error.to_string().contains("SENTINEL"), "{error}");
}

/// A server that the sentinels still name although it was demoted answers, and refuses to be taken for one.
#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_primary_is_never_used_silently() {
    let sentinels = tokio::task::block_in_place(Sentinels::start);
    let line = open(&url(&sentinels)).await.unwrap();
    line.run(count("l")).await.unwrap();
    let primary = sentinels.primary();
    for sentinel in sentinels.sentinels() {
        sentinel.process().freeze();
    }

    primary.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = line.run(count("l")).await.unwrap_err();
    println!("{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error}");
    for sentinel in sentinels.sentinels() {
        sentinel.process().thaw();
    }
    // What the sentinels name now is checked with the server itself.
    let opened = open(&url(&sentinels)).await;
    if let Err(error) = &opened {
        println!("{error}");
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error}");
    }
    primary.command(&["REPLICAOF", "NO", "ONE"]);
    until("the line is back", || async { line.run(count("l")).await.is_ok() }).await;
}
