//! Three primaries with a replica each.

use conformance::servers::Cluster;
use futures_util::FutureExt;
use tooz_core::{Effect, ErrorKind};

use super::*;
use crate::line::Heard;
use crate::server::Mode;

fn url(cluster: &Cluster) -> String {
    format!("redis+cluster://{}", cluster.addresses())
}

/// More calls than the client crate's task can make steps for in one go: a lock that it took for one of them must stop no
/// refresh of its map of slots.
const KEYS: u64 = 600;

/// One cluster, one long story: it takes seconds to start.
#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_reached_through_resharding_and_failover() {
    let cluster = tokio::task::block_in_place(Cluster::start);
    let line = open(&url(&cluster)).await.unwrap();
    assert_eq!(line.server().mode, Mode::Cluster);
    let keys: Vec<String> = (0..KEYS).map(|n| format!("key-{n}")).collect();
    let (ear, mut heard) = line.listen().await.unwrap();
    ear.subscribe(b"mine").await.unwrap();

    // One node named is enough to know all.
    let one = cluster.nodes().last().unwrap();
    let from_one = open(&format!("redis+cluster://{}", one.address())).await.unwrap();
    for key in &keys {
        assert_eq!(from_one.run(echo(key, key)).await.unwrap(), bulk(key));
    }
    let ran = || cluster.nodes().iter().filter_map(|node| node.calls().get("evalsha").copied()).sum::<u64>();
    let before = ran();
    let answers = line.run_all(keys.iter().map(|key| echo(key, key)).collect()).await.unwrap();
    assert!(answers.iter().zip(&keys).all(|(answer, key)| *answer.as_ref().unwrap() == bulk(key)));
    assert_eq!(ran() - before, KEYS);
    assert_eq!(line.confirm(echo("key-1", "key-1"), 1).await.unwrap(), (bulk("key-1"), 1));
    // What is published on any node is heard.
    for node in cluster.nodes() {
        node.command(&["PUBLISH", "mine", &node.port().to_string()]);
        let payload = node.port().to_string().into_bytes();
        let message = Heard::Message { channel: b"mine".to_vec(), payload };
        assert_eq!(tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap(), Some(message));
    }
    assert!(!ear.watch_key(b"key-1").await.unwrap());

    // Calls that were polled once and are not polled any more take nobody's room.
    let mut left: Vec<_> = keys.iter().take(50).map(|key| Box::pin(line.run(echo(key, key)))).collect();
    for call in &mut left {
        drop(call.as_mut().now_or_never());
    }
    assert_eq!(line.run(echo("key-1", "key-1")).await.unwrap(), bulk("key-1"));
    drop(left);

    // A slot moves while its keys are used.
    let slot = cluster.slot("key-1");
    let to = cluster.nodes().iter().take(3).find(|n| n.port() != cluster.primary(slot).port()).unwrap();
    for to in [to, cluster.primary(slot)].into_iter().cycle().take(5) {
        let from = tokio::task::block_in_place(|| cluster.begin_move(slot, to));
        assert_eq!(line.run(echo("key-1", "moving")).await.unwrap(), bulk("moving"));
        tokio::task::block_in_place(|| cluster.finish_move(slot, from, to));
        let answers = line.run_all(keys.iter().map(|key| echo(key, key)).collect()).await.unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    assert_eq!(line.run(echo("key-1", "moved")).await.unwrap(), bulk("moved"));
    assert_eq!(to.command(&["GET", "key-1"]).text(), "moved");

    // A primary is killed: its keys are back when its replica has taken over.
    let dead = cluster.primary(slot).port();
    let start = Instant::now();
    cluster.primary(slot).kill();
    let errors = std::cell::RefCell::new(Vec::new());
    until("the key is served again", || async {
        match line.run(echo("key-1", "after")).await {
            Ok(_) => true,
            Err(error) => {
                errors.borrow_mut().push(error);
                false
            }
        }
    })
    .await;
    println!("takeover after {:?}, errors {:?}", start.elapsed(), errors.borrow());
    assert!(errors.borrow().iter().all(|error| error.kind() == ErrorKind::Unavailable));
    assert_ne!(cluster.primary(slot).port(), dead);
    let heir = cluster.primary(slot);
    assert_eq!(heir.command(&["GET", "key-1"]).text(), "after");
    let answers = line.run_all(keys.iter().map(|key| echo(key, key)).collect()).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    // Wherever the ear was, it hears again.
    let heard = std::cell::RefCell::new(heard);
    until("the ear hears", || async {
        heir.command(&["PUBLISH", "mine", "again"]);
        while let Ok(heard) = heard.borrow_mut().try_recv() {
            if matches!(heard, Heard::Message { .. }) {
                return true;
            }
        }
        false
    })
    .await;

    let error = refusal(&format!("redis://{}", heir.address())).await;
    println!("{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidUrl, Effect::None));
    assert!(error.to_string().contains("redis+cluster://"), "{error}");
}

/// A node that was stopped or cut off does not close its connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_primary_is_given_up_for_its_heir() {
    let cluster = tokio::task::block_in_place(Cluster::start);
    let line = open(&url(&cluster)).await.unwrap();
    line.run(echo("k", "before")).await.unwrap();
    let slot = cluster.slot("k");
    let frozen = cluster.primary(slot);

    frozen.process().freeze();
    let start = Instant::now();
    let longest = std::cell::Cell::new(Duration::ZERO);
    until("the key is served again", || async {
        let asked = Instant::now();
        let answer = line.run(echo("k", "after")).await;
        longest.set(longest.get().max(asked.elapsed()));
        answer.is_ok()
    })
    .await;
    println!("takeover after {:?}, longest call {:?}", start.elapsed(), longest.get());
    assert!(longest.get() < PATIENCE * 2, "{:?}", longest.get());

    // A new session finds its way too, with the frozen node among those it knows.
    let start = Instant::now();
    let line = open(&url(&cluster)).await.unwrap();
    println!("opened after {:?}", start.elapsed());
    line.run(echo("k", "later")).await.unwrap();
    let (_ear, _heard) = line.listen().await.unwrap();
    frozen.process().thaw();
}

#[tokio::test]
async fn a_single_server_is_no_cluster() {
    let redis = conformance::servers::Redis::start();
    let error = refusal(&format!("redis+cluster://{}", redis.address())).await;
    println!("{error}");
    assert!(
        error.to_string().contains("redis://") || error.to_string().contains("cluster support"),
        "{error}"
    );
}

#[tokio::test]
async fn a_cluster_nobody_answers_for_is_unavailable_in_time() {
    let port = conformance::servers::ports::free();
    let start = Instant::now();
    let error =
        refusal(&format!("redis+cluster://127.0.0.1:{port},127.0.0.1:{}", port.wrapping_add(1))).await;
    println!("{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    assert!(start.elapsed() < PATIENCE * 2);
}
