//! One server that does what it is asked.

use conformance::servers::Redis;
use conformance::servers::redis::Fsync;
use futures_util::FutureExt;
use tokio::runtime::Builder;
use tokio::task::coop::unconstrained;

use super::*;

#[tokio::test]
async fn a_script_takes_one_request_once_the_server_knows_it() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    assert_eq!(line.run(echo("k", "a")).await.unwrap(), bulk("a"));
    let before = redis.calls();

    for _ in 0..10 {
        assert_eq!(line.run(echo("k", "b")).await.unwrap(), bulk("b"));
    }

    let after = redis.calls();
    let more = |name: &str| after.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0);
    assert_eq!((more("evalsha"), more("eval"), more("script|load"), more("hello")), (10, 0, 0, 0));
}

#[tokio::test]
async fn a_script_the_server_forgot_is_taught_again() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    line.run(echo("k", "a")).await.unwrap();

    redis.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(line.run(echo("k", "b")).await.unwrap(), bulk("b"));
    redis.command(&["SCRIPT", "FLUSH"]);
    let answers = line.run_all(vec![echo("k", "c"), count("l"), count("l")]).await.unwrap();
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.first(), Some(&bulk("c")));
    assert_eq!(redis.command(&["LLEN", "l"]).text(), "2");
}

#[tokio::test]
async fn a_restarted_server_is_found_again_by_the_next_call() {
    let redis = Redis::plan().append_only(Fsync::Always).start();
    let line = open(&redis.url()).await.unwrap();
    line.run(count("l")).await.unwrap();

    redis.kill();
    redis.restart();

    until("the line is back", || async { line.run(count("l")).await.is_ok() }).await;
    assert_eq!(redis.command(&["LLEN", "l"]).text(), "2");
}

#[tokio::test]
async fn many_scripts_go_in_one_flush_and_fail_one_by_one() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    redis.command(&["SET", "wrong", "a string"]);
    line.run(count("l")).await.unwrap();

    let calls = vec![count("l"), count("wrong"), count("l")];
    let answers = line.run_all(calls).await.unwrap();

    let kinds: Vec<_> = answers.iter().map(|a| a.as_ref().map_err(tooz_core::Error::kind)).collect();
    assert_eq!(kinds, [Ok(&Value::Int(2)), Err(tooz_core::ErrorKind::Corrupt), Ok(&Value::Int(3))]);
    assert!(line.run_all(Vec::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_unix_socket_and_a_database_are_as_good_as_a_port() {
    let redis = Redis::start();
    let url = format!("redis+unix://{}?db=3", redis.socket().display());
    let line = open(&url).await.unwrap();

    line.run(echo("k", "there")).await.unwrap();

    assert_eq!(redis.command(&["EXISTS", "k"]).text(), "0");
    let other = open(&format!("{}?db=3", redis.url())).await.unwrap();
    let mut get = redis::cmd("GET");
    assert_eq!(other.command(get.arg("k").to_owned(), None).await.unwrap(), bulk("there"));
}

/// A connection is driven by the runtime it was opened on: each has its own, and an ended one takes it along.
#[test]
fn every_runtime_has_its_own_connection() {
    let redis = Redis::start();
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let clients = || {
        redis.command(&["INFO", "clients"]).text().lines().find_map(|line| {
            line.strip_prefix("connected_clients:").and_then(|n| n.trim().parse::<u32>().ok())
        })
    };
    let first = runtime();
    let line = first.block_on(open(&redis.url())).unwrap();

    // One for the line, one for the question itself.
    assert_eq!(clients(), Some(2));
    let second = runtime();
    second.block_on(line.run(echo("k", "a"))).unwrap();
    second.block_on(line.run(echo("k", "a"))).unwrap();
    assert_eq!(clients(), Some(3));

    drop(second);
    first.block_on(until("the second connection is closed", || async { clients() == Some(2) }));
    assert_eq!(first.block_on(line.run(echo("k", "b"))).unwrap(), bulk("b"));
    drop(line);
    first.block_on(until("all are closed", || async { clients() == Some(1) }));
}

#[tokio::test]
async fn many_callers_share_one_connection() {
    let redis = Redis::start();
    let line = Arc::new(open(&redis.url()).await.unwrap());
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let line = Arc::clone(&line);
            tokio::spawn(async move { line.run(echo(&format!("k{n}"), &n.to_string())).await })
        })
        .collect();
    for (n, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.await.unwrap().unwrap(), bulk(&n.to_string()));
    }
    assert_eq!(redis.calls().get("hello"), Some(&1));
}

#[tokio::test]
async fn calls_that_nobody_polls_take_no_room_from_another() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    line.run(echo("k", "a")).await.unwrap();

    // The connection's task gets no turn between them.
    let mut left: Vec<_> = (0..1_000).map(|_| Box::pin(line.run(echo("k", "b")))).collect();
    for call in &mut left {
        assert!(unconstrained(call.as_mut()).now_or_never().is_none());
    }

    assert_eq!(line.run(echo("k", "c")).await.unwrap(), bulk("c"));
}

#[tokio::test]
async fn what_a_replica_has_is_counted_on_a_connection_of_its_own() {
    let redis = Redis::start();
    let replica = Redis::plan().option("replicaof", &format!("127.0.0.1 {}", redis.port())).start();
    until("the replica is in step", || async {
        replica.command(&["INFO", "replication"]).text().contains("master_link_status:up")
    })
    .await;
    let line = open(&redis.url()).await.unwrap();

    assert_eq!(line.confirm(echo("k", "a"), 1).await.unwrap(), (bulk("a"), 1));

    // Two are asked for and one is there: the wait takes its time and blocks nobody else.
    let (confirmed, other) = tokio::join!(line.confirm(echo("k", "b"), 2), async {
        let start = Instant::now();
        line.run(echo("other", "c")).await.unwrap();
        start.elapsed()
    });
    assert_eq!(confirmed.unwrap(), (bulk("b"), 1));
    assert!(other < PATIENCE / 2, "{other:?}");
    redis.command(&["SCRIPT", "FLUSH"]);
    assert_eq!(line.confirm(echo("k", "d"), 1).await.unwrap(), (bulk("d"), 1));
}

#[tokio::test]
async fn the_server_tells_its_version_and_what_an_operator_should_know() {
    let redis = Redis::plan().option("maxmemory-policy", "allkeys-lru").start();
    let line = open(&redis.url()).await.unwrap();
    let warnings = line.server().warnings.join("\n");

    assert!(
        line.server().to_string().starts_with("redis ")
            && line.server().to_string().ends_with(", standalone")
    );
    assert!(warnings.contains("allkeys-lru") && warnings.contains("append-only"), "{warnings}");
    let careful = Redis::plan().append_only(Fsync::Always).start();
    assert!(open(&careful.url()).await.unwrap().server().warnings.is_empty());
}
