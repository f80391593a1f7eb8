//! Servers that refuse, each with the sentence a user gets.

use conformance::servers::Redis;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tooz_core::{Effect, ErrorKind};

use super::*;
use crate::line::Heard;

#[tokio::test]
async fn a_wrong_password_or_none_is_denied_and_never_shown() {
    let redis = Redis::plan().password("secret").start();
    open(&redis.url()).await.unwrap();

    let wrong = refusal(&format!("redis://:canary@{}", redis.address())).await;
    assert_eq!((wrong.kind(), wrong.effect()), (ErrorKind::Denied, Effect::None));
    assert!(wrong.to_string().contains("WRONGPASS") || wrong.to_string().contains("invalid"), "{wrong}");
    let nobody = refusal(&format!("redis://nobody:canary@{}", redis.address())).await;
    assert_eq!(nobody.kind(), ErrorKind::Denied, "{nobody}");
    let none = refusal(&format!("redis://{}", redis.address())).await;
    assert_eq!(none.kind(), ErrorKind::Denied, "{none}");
    for error in [wrong, nobody, none] {
        println!("{error}");
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}

#[tokio::test]
async fn a_password_where_none_is_set_is_denied_with_the_reason() {
    let redis = Redis::start();
    let error = refusal(&format!("redis://user:canary@{}", redis.address())).await;
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn a_port_nobody_listens_on_is_unavailable() {
    let port = conformance::servers::ports::free();
    let error = refusal(&format!("redis://127.0.0.1:{port}")).await;
    println!("{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None));
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    let error = refusal("redis+unix:///nowhere/redis.sock").await;
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = refusal("redis://host.invalid").await;
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn another_protocol_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    let error = refusal(&url).await;
    println!("{error}");
    assert!(error.to_string().contains("is this a Redis port?"), "{error}");
    server.abort();
}

/// Servers before version 6 know neither RESP3 nor users.
#[tokio::test]
async fn a_server_without_resp3_is_refused_with_the_version_that_is_needed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream
                .write_all(b"-ERR unknown command `HELLO`, with args beginning with: `3`\r\n")
                .await
                .unwrap();
            stream.write_all(b"-ERR unknown command\r\n-ERR unknown command\r\n").await.unwrap();
            tokio::spawn(async move { tokio::io::copy(&mut stream, &mut tokio::io::sink()).await });
        }
    });
    let error = refusal(&url).await;
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("Redis 6"), "{error}");
    server.abort();
}

#[tokio::test]
async fn a_full_server_is_exhausted_and_nothing_was_done() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    line.run(count("l")).await.unwrap();
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);

    let error = line.run(count("l")).await.unwrap_err();
    println!("{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Exhausted, Effect::None));
    assert!(error.to_string().contains("OOM"), "{error}");
    let all = line.run_all(vec![count("l")]).await.unwrap();
    assert_eq!(all.into_iter().next().unwrap().unwrap_err().kind(), ErrorKind::Exhausted);

    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(line.run(count("l")).await.unwrap(), Value::Int(2));
}

#[tokio::test]
async fn a_foreign_thing_under_our_key_is_corrupt() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    redis.command(&["SET", "l", "a string"]);
    let error = line.run(count("l")).await.unwrap_err();
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_server_that_cannot_write_to_its_disk_is_exhausted() {
    let redis = Redis::plan().option("save", "3600 1").start();
    let line = open(&redis.url()).await.unwrap();
    line.run(count("l")).await.unwrap();
    redis.command(&["CONFIG", "SET", "dbfilename", "dump.rdb"]);
    std::fs::create_dir(redis.process().folder().join("dump.rdb")).unwrap();
    redis.command(&["BGSAVE"]);
    until("the save has failed", || async {
        redis.command(&["INFO", "persistence"]).text().contains("rdb_last_bgsave_status:err")
    })
    .await;

    let error = line.run(count("l")).await.unwrap_err();
    println!("{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Exhausted, Effect::None), "{error}");
}

#[tokio::test]
async fn a_primary_without_enough_replicas_is_unavailable() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    redis.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let error = line.run(count("l")).await.unwrap_err();
    println!("{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error}");
}

#[tokio::test]
async fn a_replica_is_refused_with_the_name_of_its_primary() {
    let redis = Redis::start();
    let replica = Redis::plan().option("replicaof", &format!("127.0.0.1 {}", redis.port())).start();
    let error = refusal(&replica.url()).await;
    println!("{error}");
    assert!(error.to_string().contains("replica of 127.0.0.1"), "{error}");
    // A server that becomes a replica refuses.
    let line = open(&redis.url()).await.unwrap();
    redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    let error = line.run(count("l")).await.unwrap_err();
    println!("{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error}");
}

#[tokio::test]
async fn a_server_that_is_loading_its_data_is_unavailable_until_it_has() {
    let redis = Redis::start();
    let line = open(&redis.url()).await.unwrap();
    redis.command(&["DEBUG", "POPULATE", "20000", "k", "100"]);
    redis.command(&["CONFIG", "SET", "key-load-delay", "20"]);
    redis.command(&["CONFIG", "SET", "loading-process-events-interval-bytes", "1024"]);
    let socket = redis.socket();
    let reload = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        stream.write_all(b"*2\r\n$5\r\nDEBUG\r\n$6\r\nRELOAD\r\n").unwrap();
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).unwrap();
        answer
    });

    let told = std::sync::OnceLock::new();
    until("the server says that it is loading, and then works", || async {
        let Err(error) = line.run(count("l")).await else { return told.get().is_some() };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        if error.to_string().contains("LOADING") {
            assert_eq!(error.effect(), Effect::None);
            let _told_before = told.set(error);
        }
        false
    })
    .await;
    println!("{}", told.get().unwrap());
    assert_eq!(&reload.join().unwrap(), b"+OK\r\n");
}

#[tokio::test]
async fn too_many_clients_are_unavailable() {
    let redis = Redis::plan().option("maxclients", "2").start();
    let _first = open(&redis.url()).await.unwrap();
    let _second = open(&redis.url()).await.unwrap();
    let error = refusal(&redis.url()).await;
    println!("{error}");
    // The server says why and hangs up, and the second may be seen before the first.
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

const RULES: &str = include_str!("../../acl.rules");

/// A server with a user who lacks some of what the driver needs.
fn server_without(lacking: &[&str]) -> (Redis, String) {
    let has = |rule: &&str| !lacking.contains(rule);
    let rules: Vec<_> = RULES.split_whitespace().filter(has).collect();
    let rules = rules.join(" ").replace("NS", "_tooz");
    let redis = Redis::plan().user("worker", &format!("on >secret {rules}")).start();
    let url = format!("redis://worker:secret@{}", redis.address());
    (redis, url)
}

#[tokio::test]
async fn a_user_who_may_not_ask_about_the_server_is_warned_and_served() {
    let (redis, url) = server_without(&["+info", "+ping", "+role", "+client|tracking", "+client|caching"]);
    let line = open(&format!("{url}?health_check_interval=50ms")).await.unwrap();
    let warnings = line.server().warnings.join("\n");
    println!("{warnings}");
    assert!(warnings.contains("INFO") && line.server().version.is_none(), "{warnings}");
    assert_eq!(line.run(echo("_tooz_k_lock", "a")).await.unwrap(), bulk("a"));

    let (ear, mut heard) = line.listen().await.unwrap();
    let own = b"tooz-rs:_tooz:session:x";
    ear.subscribe(own).await.unwrap();
    assert!(!ear.watch_key(b"_tooz_k_lock").await.unwrap());
    // Many pings are refused meanwhile, and none is mistaken for silence.
    let refused = |text: String| {
        let line = text.lines().find(|line| line.starts_with("cmdstat_ping:"))?;
        line.split("rejected_calls=").nth(1)?.split(',').next()?.parse::<u32>().ok()
    };
    until("five pings were refused", || async {
        refused(redis.command(&["INFO", "commandstats"]).text()) >= Some(5)
    })
    .await;
    redis.command(&["PUBLISH", "tooz-rs:_tooz:session:x", "a"]);
    let message = Heard::Message { channel: own.to_vec(), payload: b"a".to_vec() };
    assert_eq!(heard.recv().await.unwrap(), message);
}

#[tokio::test]
async fn what_a_user_may_not_do_is_named() {
    let (_redis, url) = server_without(&["+evalsha", "+subscribe"]);
    let line = open(&url).await.unwrap();
    let error = line.run(echo("_tooz_k_lock", "a")).await.unwrap_err();
    println!("{error}");
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Denied, Effect::None), "{error}");
    assert!(error.to_string().contains("'evalsha'"), "{error}");
    let (ear, _heard) = line.listen().await.unwrap();
    let error = ear.subscribe(b"tooz-rs:_tooz:session:x").await.unwrap_err();
    println!("{error}");
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("'subscribe'"), "{error}");

    let (_redis, url) = server_without(&["+set"]);
    let line = open(&url).await.unwrap();
    let error = line.run(echo("_tooz_k_lock", "a")).await.unwrap_err();
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let error = line.run(count("elsewhere")).await.unwrap_err();
    println!("{error}");
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("~NS_*"), "{error}");
    let (ear, _heard) = line.listen().await.unwrap();
    let error = ear.subscribe(b"elsewhere").await.unwrap_err();
    println!("{error}");
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("&tooz-rs:NS:*"), "{error}");
}
