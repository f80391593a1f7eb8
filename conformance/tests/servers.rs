//! The servers that tests start: they come, go and come back as told, and never outlive their owner.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use conformance::servers::redis::Fsync;
use conformance::servers::{Certificates, Cluster, Etcd, Redis, Sentinels, Zookeeper, ports, until};

#[test]
fn redis_keeps_over_a_restart_what_it_was_told_to_keep() {
    let redis = Redis::plan().append_only(Fsync::Always).start();
    assert_eq!(redis.command(&["SET", "key", "value"]).text(), "OK");

    redis.kill();
    assert!(redis.try_command(&["PING"]).is_err());
    redis.restart();
    assert_eq!(redis.command(&["GET", "key"]).text(), "value");

    redis.restart_empty();
    assert_eq!(redis.command(&["GET", "key"]).text(), "(nil)");
    assert_eq!(redis.calls().get("get"), Some(&1));
}

#[test]
fn a_dropped_server_is_gone_with_its_folder() {
    let redis = Redis::start();
    let (port, folder) = (redis.port(), redis.process().folder().path().to_owned());
    assert!(!ports::is_free(port) && folder.exists());

    drop(redis);
    assert!(ports::is_free(port) && !folder.exists());
}

/// What the test below starts in a process of its own, and kills.
#[test]
fn a_server_outlives_the_thread_that_started_it() {
    let redis = std::thread::spawn(Redis::start).join().unwrap();
    assert_eq!(redis.command(&["PING"]).text(), "PONG");
    let Ok(report) = std::env::var("TOOZ_TEST_REPORT") else { return };
    std::fs::write(report, redis.process().id().unwrap().to_string()).unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_server_does_not_outlive_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("id");
    let mut owner = Command::new(std::env::current_exe().unwrap());
    owner.args(["--exact", "a_server_outlives_the_thread_that_started_it"]).env("TOOZ_TEST_REPORT", &report);
    let mut owner = owner.spawn().unwrap();
    let server = || std::fs::read_to_string(&report).ok().filter(|id| !id.is_empty());
    until("the other process has its server", || server().is_some());
    let server = format!("/proc/{}", server().unwrap());
    assert!(Path::new(&server).exists());

    owner.kill().unwrap();
    owner.wait().unwrap();
    until("its server has ended", || !is_running(&server));
}

fn is_running(process: &str) -> bool {
    // One that ended and that nobody waits for is not running.
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap_or_default();
    status.contains("State:") && !status.contains("State:\tZ")
}

#[test]
fn a_frozen_server_answers_once_it_is_thawed() {
    let redis = Redis::start();
    redis.process().freeze();
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| redis.command(&["PING"]).text());
        until("the server is stopped", || {
            let id = redis.process().id().unwrap();
            std::fs::read_to_string(format!("/proc/{id}/status")).unwrap().contains("State:\tT")
        });
        assert!(!answer.is_finished());
        redis.process().thaw();
        assert_eq!(answer.join().unwrap(), "PONG");
    });
}

#[test]
fn redis_asks_for_passwords_and_certificates() {
    let certificates = Arc::new(Certificates::new());
    let redis = Redis::plan().tls(&certificates, true).password("secret").start();
    assert_eq!(redis.url(), format!("rediss://:secret@127.0.0.1:{}", redis.port()));
    assert_eq!(redis.command(&["PING"]).text(), "PONG");

    let cli = |certificate: bool, password: &str| {
        let mut command = Command::new("redis-cli");
        command.args(["-p", &redis.port().to_string(), "--tls", "--cacert"]).arg(certificates.authority());
        let (shown, key) = certificates.client();
        if certificate {
            command.arg("--cert").arg(shown).arg("--key").arg(key);
        }
        let output = command.args(["--no-auth-warning", "-a", password, "PING"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(cli(true, "secret"), "PONG\n");
    assert!(cli(true, "wrong").contains("NOAUTH"));
    assert!(!cli(false, "secret").contains("PONG"));
}

#[test]
fn redis_refuses_what_exceeds_its_memory_and_its_users_rights() {
    let redis = Redis::plan().max_memory(2 << 20).user("reader", "on >secret ~shown:* &* +get").start();
    let large = "x".repeat(3 << 20);
    let answers = [(); 2].map(|()| redis.command(&["SET", "large", &large]).text());
    assert!(answers.iter().any(|answer| answer.contains("OOM")), "{answers:?}");

    redis.command(&["SET", "shown:key", "value"]);
    let cli = |words: &[&str]| {
        let mut command = Command::new("redis-cli");
        command.args([
            "-p",
            &redis.port().to_string(),
            "--no-auth-warning",
            "--user",
            "reader",
            "--pass",
            "secret",
        ]);
        String::from_utf8_lossy(&command.args(words).output().unwrap().stdout).into_owned()
    };
    assert_eq!(cli(&["GET", "shown:key"]), "value\n");
    assert!(cli(&["GET", "hidden"]).contains("NOPERM") && cli(&["SET", "shown:key", "x"]).contains("NOPERM"));
}

#[test]
fn sentinels_make_a_replica_the_primary() {
    let sentinels = Sentinels::start();
    let first = sentinels.primary();
    assert_eq!(first.port(), sentinels.servers()[0].port());
    first.command(&["SET", "key", "value"]);
    first.replicated(2);

    first.kill();
    let second = sentinels.failed_over(first.port());
    assert_eq!(second.command(&["GET", "key"]).text(), "value");
}

#[test]
fn sentinels_fail_over_while_the_old_primary_lives() {
    let sentinels = Sentinels::start();
    let old = sentinels.primary();
    let new = sentinels.fail_over();
    assert_ne!(old.port(), new.port());
    assert_eq!(old.command(&["PING"]).text(), "PONG");
}

#[test]
fn a_cluster_survives_a_primary_and_moves_a_slot() {
    let cluster = Cluster::start();
    let slot = cluster.slot("key");
    let first = cluster.primary(slot);
    assert_eq!(first.command(&["SET", "key", "value"]).text(), "OK");
    first.replicated(1);

    let heir = cluster.kill_primary(slot);
    assert_ne!(heir.port(), first.port());
    assert_eq!(heir.command(&["GET", "key"]).text(), "value");

    let to = cluster.primary(if slot < 8_000 { 16_383 } else { 0 });
    cluster.move_slot(slot, to);
    assert_eq!(to.command(&["GET", "key"]).text(), "value");
    assert!(heir.command(&["GET", "key"]).text().contains("MOVED"));
}

#[test]
fn etcd_keeps_its_data_and_counts_what_it_did() {
    let etcd = Etcd::start();
    let puts = || etcd.node().metric("grpc_server_handled_total", "grpc_method=\"Put\"");
    etcd.etcdctl(&["put", "key", "value"]);
    assert_eq!(puts(), 1.0);

    etcd.node().process().restart();
    etcd.healthy();
    assert_eq!(etcd.etcdctl(&["get", "key", "--print-value-only"]), "value\n");
    etcd.authenticate("secret");
    assert_eq!(etcd.etcdctl(&["--user", "root:secret", "get", "key", "--print-value-only"]), "value\n");
}

#[test]
fn etcd_of_three_survives_its_leader_over_tls() {
    let certificates = Arc::new(Certificates::new());
    let etcd = Etcd::plan().nodes(3).tls(&certificates, true).start();
    etcd.etcdctl(&["put", "key", "value"]);
    let dead = etcd.kill_leader();
    assert_ne!(etcd.leader().port(), dead.port());
    assert_eq!(etcd.etcdctl(&["get", "key", "--print-value-only"]), "value\n");

    dead.process().restart();
    etcd.healthy();
    assert!(dead.is_healthy() && !dead.is_leader());
}

#[test]
fn zookeeper_of_three_survives_its_leader() {
    let zookeeper = Zookeeper::plan().nodes(3).start();
    let dead = zookeeper.kill_leader();
    assert_eq!(zookeeper.leader().mode().as_deref(), Some("leader"));
    dead.process().restart();
    zookeeper.serving();
    assert_eq!(dead.mode().as_deref(), Some("follower"));
}

#[test]
fn zookeeper_speaks_tls_to_those_with_a_certificate() {
    let certificates = Arc::new(Certificates::new());
    let zookeeper = Zookeeper::plan().tls(&certificates, true).start();
    assert_eq!(zookeeper.node().mode().as_deref(), Some("standalone"));
    let srvr = |certificate: bool| {
        let mut command = Command::new("openssl");
        command.args([
            "s_client",
            "-quiet",
            "-verify_return_error",
            "-connect",
            &zookeeper.secure_addresses(),
        ]);
        command.arg("-CAfile").arg(certificates.authority());
        let (shown, key) = certificates.client();
        if certificate {
            command.arg("-cert").arg(shown).arg("-key").arg(key);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let _ = input.write_all(b"srvr"); // the other side may have hung up already
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("Mode: standalone")
    };
    assert!(srvr(true));
    assert!(!srvr(false));
}
