//! Servers that do not answer.

use conformance::servers::Redis;
use tokio::net::TcpListener;
use tooz_core::{Effect, ErrorKind};

use super::*;

const SHORT: Duration = Duration::from_millis(300);
/// What a deadline may be exceeded by on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// Connections are accepted by the kernel, and nobody reads from them.
async fn black_hole() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_ends_the_opening_in_time() {
    let (_listener, url) = black_hole().await;
    let start = Instant::now();
    let error = open_within(&url, SHORT).await.err().unwrap();

    assert!(start.elapsed() < SHORT + SLACK, "{:?}", start.elapsed());
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error}");
    assert!(error.to_string().contains("no answer in"), "{error}");
}

#[tokio::test]
async fn a_frozen_server_ends_every_call_in_time_and_is_used_again_when_it_thaws() {
    let redis = Redis::start();
    let line = open_within(&redis.url(), SHORT).await.unwrap();
    line.run(count("l")).await.unwrap();

    redis.process().freeze();
    let start = Instant::now();
    let silent = line.run(count("l")).await.unwrap_err();
    let again = line.run(count("l")).await.unwrap_err();
    let all = line.run_all(vec![count("l")]).await.unwrap_err();
    let confirmed = line.confirm(count("l"), 0).await.unwrap_err();
    assert!(start.elapsed() < SHORT * 4 + SLACK, "{:?}", start.elapsed());
    // The first was sent; the later ones did not even get a connection.
    assert_eq!((silent.kind(), silent.effect()), (ErrorKind::Unavailable, Effect::Unknown), "{silent}");
    for error in [again, all, confirmed] {
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error}");
    }

    redis.process().thaw();
    until("the line is back", || async { line.run(count("l")).await.is_ok() }).await;
}

#[tokio::test]
async fn a_server_that_is_gone_fails_at_once_with_nothing_sent() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    redis.kill();
    // The connection's end may be seen by the first call only.
    until("the end is known", || async {
        line.run(count("l")).await.is_err_and(|e| e.effect() == Effect::None)
    })
    .await;

    let start = Instant::now();
    let error = line.run(count("l")).await.unwrap_err();

    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn many_callers_of_a_server_that_is_gone_share_one_attempt() {
    let redis = Redis::start();
    let line = open_within(&redis.url(), SHORT).await.unwrap();
    redis.process().freeze();
    let _sets_the_broken_mark = line.run(count("l")).await;

    let start = Instant::now();
    let errors = futures_util::future::join_all((0..100).map(|_| line.run(count("l")))).await;

    assert!(errors.iter().all(Result::is_err));
    assert!(start.elapsed() < SHORT + SLACK, "{:?}", start.elapsed());
    redis.process().thaw();
}

#[tokio::test]
async fn a_busy_script_of_somebody_else_ends_our_calls_in_time() {
    let redis = Redis::plan().option("busy-reply-threshold", "50").start();
    let line = open_within(&redis.url(), SHORT).await.unwrap();
    let socket = redis.socket();
    let url = format!("redis+unix://{}", socket.display());
    let other = tokio::spawn(async move {
        static SPIN: LazyLock<Script> = LazyLock::new(|| Script::new("spin", "while true do end"));
        open_within(&url, Duration::from_secs(20)).await.unwrap().run(call(&SPIN, "k", "")).await
    });
    until("the server is busy", || async {
        line.run(count("l")).await.is_err_and(|e| e.to_string().contains("BUSY"))
    })
    .await;

    let error = line.run(count("l")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error}");

    redis.command(&["SCRIPT", "KILL"]);
    other.await.unwrap().unwrap_err();
    until("the line is back", || async { line.run(count("l")).await.is_ok() }).await;
}
