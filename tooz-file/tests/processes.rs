//! Two real processes: kill -9, SIGSTOP, and silence.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod common;

use std::time::{Duration, Instant};

use common::peer::{Peer, serve};
use common::*;
use rustix::process::Signal;
use tooz_core::backend::{Doubt, Joined, Turn};

#[tokio::test]
#[ignore = "the other process of these tests"]
async fn second_process() {
    serve().await;
}

#[tokio::test]
async fn the_next_holder_has_the_lock_within_100_ms_of_a_kill() {
    let root = Root::new();
    let mut peer = Peer::start(&root.path());
    let token = peer.ask("claim x 1");
    let a = open(&root.path()).await;
    let claim = exclusive("x");
    let position = queue_up(&a, &claim).await;

    let began = Instant::now();
    peer.kill();
    assert_eq!(soon(locks(&a).turn(&claim, &position)).await, Turn::AskAgain);
    let grant = acquire(&a, &claim).await.0;
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert!(format!("held {}", grant.token) > token);
    assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders.len(), 1);
    let left = leftovers(&root.path());
    assert_eq!(
        left.iter().filter(|path| path.contains("locks")).count(),
        1,
        "the dead record stays: {left:?}"
    );
}

#[tokio::test]
async fn killed_waiters_are_passed_over() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let (first, last) = (exclusive("x"), exclusive("x"));
    take(&a, &first).await;
    let peers: Vec<Peer> = (0..3)
        .map(|_| {
            let mut peer = Peer::start(&root.path());
            assert_eq!(peer.ask("claim x 1"), "waiting");
            peer
        })
        .collect();
    queue_up(&a, &last).await;
    peers.into_iter().for_each(Peer::kill);
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    acquire(&a, &last).await;
    let queue = locks(&a).queue(&lock("x")).await.unwrap();
    assert_eq!((queue.holders.len(), queue.waiting.len()), (1, 0));
}

#[tokio::test]
async fn a_stopped_holder_keeps_its_lock() {
    let root = Root::new();
    let mut peer = Peer::start(&root.path());
    assert!(peer.ask("claim x 1").starts_with("held"));
    peer.signal(Signal::STOP);
    let a = open(&root.path()).await;
    assert_eq!(locks(&a).try_claim(&exclusive("x")).await.unwrap(), None);
    let claim = exclusive("x");
    queue_up(&a, &claim).await;
    assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders.len(), 1);
    peer.signal(Signal::CONT);
    assert_eq!(peer.ask("withdraw x 1"), "removed");
    acquire(&a, &claim).await;
}

#[tokio::test]
async fn an_idle_waiter_and_an_idle_holder_make_no_system_calls() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let mine = exclusive("x");
    take(&a, &mine).await;
    let mut peer = Peer::start(&root.path());
    assert!(peer.ask("claim y 1").starts_with("held"));
    assert_eq!(peer.ask("acquire x 2"), "waiting");
    peer.wait_until_asleep();

    let before = peer.switches();
    for _ in 0..200 {
        let other = exclusive("z");
        take(&a, &other).await;
        locks(&a).try_claim(&exclusive("x")).await.unwrap();
        locks(&a).queue(&lock("x")).await.unwrap();
        locks(&a).withdraw(&other, Doubt::None).await.unwrap();
    }
    assert_eq!(peer.switches(), before, "something woke a waiter that had no reason to wake");

    locks(&a).withdraw(&mine, Doubt::None).await.unwrap();
    assert!(peer.hear().starts_with("held"));
}

/// Among many, what one does concerns those who follow the group: the others do not even hear of it.
#[tokio::test]
async fn a_member_that_follows_nobody_sleeps_through_what_others_do() {
    let root = Root::new();
    let opening = opening();
    let a = open_with(&root.path(), "", &opening).await.unwrap();
    groups(&a).create(&name("g")).await.unwrap();
    let mut peer = Peer::start(&root.path());
    assert_eq!(peer.ask("join g other"), "joined");
    assert_eq!(peer.ask("attend g other"), "attends");
    peer.wait_until_asleep();

    let before = peer.switches();
    for number in 0..50 {
        let member = enrolment("g", &format!("m{number}"), opening.session);
        groups(&a).join(&member).await.unwrap();
        groups(&a).update(&member).await.unwrap();
        groups(&a).leave(&member).await.unwrap();
    }
    assert_eq!(peer.switches(), before, "something woke a member that had no reason to wake");
}

#[tokio::test]
async fn a_killed_member_is_gone_at_once_and_watchers_are_told() {
    let root = Root::new();
    let a = open(&root.path()).await;
    groups(&a).create(&name("g")).await.unwrap();
    let mut peer = Peer::start(&root.path());
    assert_eq!(peer.ask("join g other"), "joined");
    let roster = groups(&a).members(&name("g")).await.unwrap().unwrap();
    assert_eq!(roster.members.len(), 1);

    let began = Instant::now();
    peer.kill();
    let group = name("g");
    soon(groups(&a).stirred(&group, Some(roster.mark))).await;
    assert_eq!(groups(&a).members(&name("g")).await.unwrap().unwrap().members, []);
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());

    let opening = opening();
    let b = open_with(&root.path(), "", &opening).await.unwrap();
    let joined = groups(&b).join(&enrolment("g", "other", opening.session)).await.unwrap();
    assert_eq!(joined, Joined::Done, "a dead namesake is in nobody's way");
}

/// By whoever joins next, under whatever name: names of processes do not come again.
#[tokio::test]
async fn what_a_killed_member_left_is_removed() {
    let root = Root::new();
    let opening = opening();
    let a = open_with(&root.path(), "", &opening).await.unwrap();
    groups(&a).create(&name("g")).await.unwrap();
    let mut alive = Peer::start(&root.path());
    assert_eq!(alive.ask("join g alive"), "joined");
    for number in 0..3 {
        let mut peer = Peer::start(&root.path());
        assert_eq!(peer.ask(&format!("join g pid-{number}")), "joined");
        peer.kill();
    }

    groups(&a).join(&enrolment("g", "other", opening.session)).await.unwrap();

    let entries = std::fs::read_dir(root.path().join("groups/g")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut members: Vec<String> = names.filter(|name| name.starts_with("m-")).collect();
    members.sort();
    assert_eq!(members, ["m-alive", "m-other"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_compete_get_distinct_growing_tokens() {
    let root = Root::new();
    let mut peers: Vec<Peer> = (0..4).map(|_| Peer::start(&root.path())).collect();
    for peer in &mut peers {
        peer.say("cycle x 50");
    }
    let mut all = Vec::new();
    for peer in &mut peers {
        let line = peer.hear();
        let tokens: Vec<u64> = line.split(',').map(|token| token.parse().unwrap()).collect();
        assert!(tokens.is_sorted() && tokens.len() == 50);
        all.extend(tokens);
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 200);
    drop(peers);
    let a = open(&root.path()).await;
    let claim = exclusive("x");
    take(&a, &claim).await;
    locks(&a).withdraw(&claim, Doubt::None).await.unwrap();
    a.close().await.unwrap();
    assert_eq!(leftovers(&root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_killed_session_left_is_swept_by_the_next() {
    let root = Root::new();
    let peer = Peer::start(&root.path());
    assert_eq!(std::fs::read_dir(root.path().join("sessions")).unwrap().count(), 1);
    peer.kill();
    let a = open(&root.path()).await;
    assert_eq!(std::fs::read_dir(root.path().join("sessions")).unwrap().count(), 1);
    a.close().await.unwrap();
    assert_eq!(leftovers(&root.path()), Vec::<String>::new());
}

/// The failure is injected at every descriptor a claim needs, in turn.
#[tokio::test]
async fn a_claim_that_runs_out_of_descriptors_is_an_error_and_holds_nothing() {
    let root = Root::new();
    let mut peer = Peer::start(&root.path());
    let mut failures = 0;
    for free in 0.. {
        match peer.ask(&format!("starve x {free}")).as_str() {
            "Exhausted" => failures += 1,
            "held" => break,
            other => panic!("with {free} descriptors: {other}"),
        }
    }
    assert!(failures >= 4, "only {failures} points of failure");
    let a = open(&root.path()).await;
    take(&a, &exclusive("x")).await;
}

/// A small file system of its own, where the tests may mount one.
struct Disk(std::path::PathBuf);

impl Disk {
    fn mount(at: std::path::PathBuf, options: &str) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tooz-test"])
            .arg(&at)
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_holds_nothing() {
    let root = Root::new();
    let Some(disk) = Disk::mount(root.beside("disk"), "mode=700,size=256k,nr_inodes=24") else {
        eprintln!("skipped: mounting a small file system is not permitted here");
        return;
    };
    let opening = opening();
    let a = open_with(&disk.0, "", &opening).await.unwrap();
    groups(&a).create(&name("g")).await.unwrap();
    let claim = exclusive("x");
    let token = take(&a, &claim).await.token;
    locks(&a).withdraw(&claim, Doubt::None).await.unwrap();

    // Fill it, then give room back file by file: every step fails until all of it fits.
    let mut hogs = Vec::new();
    loop {
        let path = disk.0.join(format!("hog{}", hogs.len()));
        if std::fs::write(&path, [0; 4096]).is_err() {
            let _ = std::fs::remove_file(&path);
            break;
        }
        hogs.push(path);
    }
    let mut failures = 0;
    let fresh = exclusive("fresh");
    while let Err(error) = locks(&a).claim(&fresh).await {
        assert_eq!(error.kind(), tooz_core::ErrorKind::Exhausted, "{error}");
        assert_eq!(locks(&a).queue(&fresh.seat).await.unwrap().holders, []);
        let me = enrolment("g", "m", opening.session);
        if let Ok(joined) = groups(&a).join(&me).await {
            assert_eq!(joined, Joined::Done);
            groups(&a).leave(&me).await.unwrap();
        }
        failures += 1;
        std::fs::remove_file(hogs.pop().expect("it never succeeds")).unwrap();
    }
    assert!(failures >= 2, "only {failures} failures");
    hogs.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    assert!(take(&a, &exclusive("x")).await.token > token);
}
