//! The etcd driver beside members that speak Python, on one server.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test
#![allow(clippy::print_stderr)] // how long it took is worth seeing

mod etcd_server;

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use conformance::peers::{Peer, Witness};
use conformance::servers::{Etcd, until};
use conformance::volume::rounds;
use conformance::{eventually, within};
use etcd_server::session_at;
use serde_json::json;
use tokio::time::timeout;
use tooz_core::backend::Mark;
use tooz_core::{Coordinator, ErrorKind, Name, Registry};

async fn connect(etcd: &Etcd, member: &str) -> Coordinator {
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    registry.builder(etcd.url()).member(member).connect().await.unwrap()
}

/// A member of ours in a process of its own.
fn rust(etcd: &Etcd, options: &str, member: &str) -> Peer {
    Peer::rust(env!("CARGO_BIN_EXE_peer"), &format!("{}{options}", etcd.url()), member)
}

fn python(etcd: &Etcd, options: &str) -> String {
    format!("etcd3+http://{}{options}", etcd.addresses())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_holder_is_waited_for_and_waits() {
    let etcd = Etcd::start();
    let peer = Peer::tooz(&python(&etcd, ""), "boa");
    let coord = connect(&etcd, "worker").await;
    let lock = coord.lock("nightly");

    assert!(peer.acquire("nightly"));
    assert!(lock.try_acquire().await.unwrap().is_none());
    let queue = lock.queue().await.unwrap();
    assert!(queue.holders.len() == 1 && queue.holders[0].member.is_none(), "{queue:?}");
    let waiting = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire().await }
    });
    eventually("queue behind the Python member", async || match lock.queue().await {
        Ok(queue) if queue.waiting.len() == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(peer.release("nightly"));
    let guard = within("the lock after the Python member", waiting).await.unwrap().unwrap();

    assert!(!peer.try_acquire("nightly"));
    guard.release().await.unwrap();
    assert!(peer.try_acquire("nightly"));
    peer.release("nightly");
    coord.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_member_waits_for_readers_and_tokens_grow_over_it() {
    let etcd = Etcd::start();
    let peer = Peer::tooz(&python(&etcd, ""), "boa");
    let (a, b) = (connect(&etcd, "a").await, connect(&etcd, "b").await);
    let one = a.lock("nightly").shared().acquire().await.unwrap();
    let two = b.lock("nightly").shared().acquire().await.unwrap();
    one.release().await.unwrap();
    assert!(!peer.try_acquire("nightly"), "the first reader took the common key along");
    let before = two.fencing_token();
    two.release().await.unwrap();

    assert!(peer.try_acquire("nightly"));
    assert!(a.lock("nightly").shared().try_acquire().await.unwrap().is_none());
    assert!(peer.release("nightly"));
    let after = a.lock("nightly").acquire().await.unwrap();
    assert!(after.fencing_token() > before);
    drop(after);
    a.close().await.unwrap();
    b.close().await.unwrap();
}

/// Interleaving 6: Python breaks by deleting the main key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_whose_lock_is_broken_by_another_client_is_told() {
    let etcd = Etcd::start();
    let coord = connect(&etcd, "worker").await;
    let guard = coord.lock("nightly").acquire().await.unwrap();
    assert!(guard.is_held());
    let broken = std::time::Instant::now();
    etcd.etcdctl(&["del", "/tooz/locksnightly"]);
    within("news of the break", guard.lost()).await;
    assert!(broken.elapsed() < Duration::from_secs(5), "told after {:?}", broken.elapsed());
    assert_eq!(guard.release().await.unwrap_err().kind(), ErrorKind::Lost);

    let next = within("the lock after the break", coord.lock("nightly").acquire()).await.unwrap();
    next.release().await.unwrap();
    coord.close().await.unwrap();
}

/// Two processes of ours and two of Python's: whoever overlaps fails its visit.
#[test]
fn two_and_two_processes_never_overlap_and_python_gets_turns() {
    let [python_each, rust_each] = [15, 300].map(|usual| usize::try_from(rounds(usual)).unwrap());
    let etcd = Etcd::start();
    let folder = tempfile::tempdir().unwrap();
    let witness = Witness::new(folder.path()).unwrap();
    let url = python(&etcd, "");
    let peers = [
        (Peer::tooz(&url, "adder"), python_each),
        (Peer::tooz(&url, "boa"), python_each),
        (rust(&etcd, "", "crab"), rust_each),
        (rust(&etcd, "", "rusty"), rust_each),
    ];
    let asked = peers.each_ref().map(|(peer, each)| (peer.begin_cycles("nightly", *each, &witness), *each));
    for (asked, each) in asked {
        let answer = asked.wait_at_most(Duration::from_secs(3_600));
        assert_eq!(answer.result, Ok(json!(each)));
    }
    assert_eq!(witness.visits().unwrap(), u64::try_from(2 * (python_each + rust_each)).unwrap());
}

/// The next in line has the lock within a second and a half after the time to live that the server granted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_locks_of_killed_holders_pass_on_when_their_leases_end() {
    let etcd = Etcd::start();
    let coord = connect(&etcd, "heir").await;
    let mut waits = Vec::new();
    for n in 0..rounds(4) {
        let name = format!("lock-{n}");
        let holder = rust(&etcd, "?lock_timeout=5", &format!("holder-{n}"));
        assert!(holder.acquire(&name));
        let main = etcd.etcdctl(&["get", &format!("/tooz/locks{name}"), "-w", "json"]);
        let lease = json_number(&main, "lease");
        let told = etcd.etcdctl(&["lease", "timetolive", &format!("{lease:x}"), "-w", "json"]);
        let granted = Duration::from_secs(json_number(&told, "granted-ttl"));
        let lock = coord.lock(&name);
        let waiting = tokio::spawn(async move { (lock.acquire().await.unwrap(), Instant::now()) });
        eventually("queue behind the holder", async || match coord.lock(&name).queue().await {
            Ok(queue) if queue.waiting.len() == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        waits.push((holder, granted, waiting));
    }
    let mut over = Vec::new();
    for (holder, granted, waiting) in waits {
        holder.kill();
        let killed = Instant::now();
        let (guard, at) = within("the lock of the killed", waiting).await.unwrap();
        let waited = at - killed;
        over.push(i128::try_from(waited.as_millis()).unwrap() - i128::try_from(granted.as_millis()).unwrap());
        guard.release().await.unwrap();
    }
    over.sort_unstable();
    eprintln!("taken over so many milliseconds after the granted time to live: {over:?}");
    assert!(over.iter().all(|over| *over < 1_500), "{over:?}");
    coord.close().await.unwrap();
}

fn json_number(text: &str, name: &str) -> u64 {
    let at = text.find(&format!("\"{name}\":")).unwrap() + name.len() + 3;
    text[at..].chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// `etcdctl lock` and `elect` neither wait for ours nor ours for them, whatever the names; what they share is the
/// store: ours can be looked at and broken with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_and_elections_of_etcdctl_are_apart_from_ours() {
    let etcd = Etcd::start();
    let coord = connect(&etcd, "worker").await;
    let group = coord.group("blue");
    group.create().await.unwrap();
    for name in ["nightly", "/tooz/locksnightly"] {
        let guard = coord.lock("nightly").acquire().await.unwrap();
        // Ours holds, and so does theirs; then only theirs does, and ours can.
        let theirs = Etcdctl::start(&etcd, &["lock", name]);
        assert!(theirs.line().starts_with(name));
        assert!(guard.is_held());
        guard.release().await.unwrap();
        within("the lock beside theirs", coord.lock("nightly").acquire())
            .await
            .unwrap()
            .release()
            .await
            .unwrap();
    }
    for name in ["blue", "/tooz/locksblue"] {
        let term = group.election().campaign("ours").await.unwrap();
        let theirs = Etcdctl::start(&etcd, &["elect", name, "theirs"]);
        assert!(theirs.line().starts_with(name));
        assert_eq!(theirs.line(), "theirs");
        term.resign().await.unwrap();
        let term = within("the election beside theirs", group.election().campaign("ours")).await.unwrap();
        let leader = group.election().leader().await.unwrap().unwrap();
        assert!(format!("{leader:?}").contains("worker"), "{leader:?}");
        term.resign().await.unwrap();
    }
    let guard = coord.lock("nightly").acquire().await.unwrap();
    assert!(etcd.etcdctl(&["get", "/tooz/locks", "--prefix", "--keys-only"]).contains("/tooz/locksnightly"));
    etcd.etcdctl(&["del", "/tooz/locksnightly"]);
    within("news of the break", guard.lost()).await;
    drop(guard);
    coord.close().await.unwrap();
}

/// A command of `etcdctl` that goes on. Killed when dropped.
struct Etcdctl {
    child: Child,
    output: RefCell<BufReader<ChildStdout>>,
}

impl Etcdctl {
    fn start(etcd: &Etcd, words: &[&str]) -> Self {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", etcd.addresses())).args(words);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = RefCell::new(BufReader::new(child.stdout.take().unwrap()));
        Self { child, output }
    }

    fn line(&self) -> String {
        let mut line = String::new();
        self.output.borrow_mut().read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Etcdctl {
    fn drop(&mut self) {
        // It gives back what it holds.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// Direct hand-over leaves no gap, and Python leaves no trace while it polls: it must get turns all the same
/// while ours loop without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_gets_turns_while_ours_loop() {
    let etcd = Etcd::start();
    let peer = Peer::tooz(&python(&etcd, ""), "boa");
    // It was seen once, so that it is remembered.
    assert!(peer.acquire("nightly"));
    let coords = [connect(&etcd, "a").await, connect(&etcd, "b").await];
    let loops = take_turns(&coords);
    let seen = coords[0].lock("nightly");
    eventually("ours queue", async || match seen.queue().await {
        Ok(queue) if queue.waiting.len() == 2 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    peer.release("nightly");
    turns(&peer, 3).await;
    loops.iter().for_each(tokio::task::JoinHandle::abort);
    for coord in coords {
        coord.close().await.unwrap();
    }
}

/// Where Python first comes while ours leave no gap, nobody sees it; whoever knows of it can put the mark for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python_gets_turns_among_ours_where_the_mark_is_put_by_hand() {
    let etcd = Etcd::start();
    let coords = [connect(&etcd, "a").await, connect(&etcd, "b").await];
    let first = coords[0].lock("nightly").acquire().await.unwrap();
    let loops = take_turns(&coords);
    etcd.etcdctl(&["put", "/tooz-rs/v1/lock/nightly/foreign", ""]);
    first.release().await.unwrap();
    turns(&Peer::tooz(&python(&etcd, ""), "boa"), 1).await;
    loops.iter().for_each(tokio::task::JoinHandle::abort);
    for coord in coords {
        coord.close().await.unwrap();
    }
}

/// Each takes the lock again and again.
fn take_turns(coords: &[Coordinator; 2]) -> [tokio::task::JoinHandle<()>; 2] {
    coords.each_ref().map(|coord| {
        let lock = coord.lock("nightly");
        tokio::spawn(async move {
            loop {
                lock.acquire().await.unwrap().release().await.unwrap();
            }
        })
    })
}

async fn turns(peer: &Peer, count: usize) {
    for _ in 0..count {
        let asked = peer.begin("acquire", json!({ "name": "nightly" }));
        let answer = within("a turn for Python", asked.answered()).await;
        assert_eq!(answer.result, Ok(json!(true)));
        peer.release("nightly");
    }
}

fn txns(etcd: &Etcd) -> f64 {
    etcd.node().metric("grpc_server_handled_total", "grpc_method=\"Txn\"")
}

/// Puts so many members that are none of ours.
async fn strangers(etcd: &Etcd, group: &str, count: usize, capabilities: usize) -> etcd_client::Client {
    let mut client = etcd_client::Client::connect([etcd.node().address()], None).await.unwrap();
    // As msgpack has a binary, of which one request carries a million bytes.
    let [one, two, three, four] = u32::try_from(capabilities).unwrap().to_be_bytes();
    let value = [[0xc6, one, two, three, four].as_slice(), &vec![b'x'; capabilities]].concat();
    let each = (1_000_000 / value.len()).clamp(1, 120);
    let members: Vec<usize> = (0..count).collect();
    for some in members.chunks(each) {
        let put = |n| etcd_client::TxnOp::put(format!("tooz/groups/{group}/m{n}"), value.clone(), None);
        let puts: Vec<_> = some.iter().map(put).collect();
        client.txn(etcd_client::Txn::new().and_then(puts)).await.unwrap();
    }
    client
}

/// Capabilities of the size that is allowed, and together more than one answer may be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_whose_capabilities_are_many_times_a_message_is_seen_as_a_whole() {
    let etcd = Etcd::start();
    let coord = connect(&etcd, "worker").await;
    let session = session_at(&etcd.url(), "other", Duration::from_secs(10)).await;
    let group = coord.group("snakes");
    group.create().await.unwrap();
    strangers(&etcd, "snakes", 1_100, 64 * 1024 - 5).await;
    let membership = group.join(&1).await.unwrap();
    let members = group.members().await.unwrap();
    assert_eq!(members.len(), 1_101);
    assert!(members.contains("worker") && members.contains("m0") && members.contains("m1099"));

    // And waited for: whoever follows it asks no more while nothing changes.
    let mut view = group.watch().await.unwrap();
    let name = Name::new("snakes").unwrap();
    within("a look at the members", session.groups().stirred(&name, Some(Mark(0)))).await;
    let before = txns(&etcd);
    let idle = session.groups().stirred(&name, Some(Mark(u64::MAX)));
    assert!(timeout(Duration::from_secs(1), idle).await.is_err(), "nothing changed");
    let spent = txns(&etcd) - before;
    assert!(spent <= 3.0, "{spent} transactions");
    membership.leave().await.unwrap();
    within("see the member gone", async {
        while view.borrow().contains("worker") {
            view.changed().await.unwrap();
        }
    })
    .await;
    session.closed().await;
    coord.close().await.unwrap();
}

/// Whoever is not looked at would seem to have left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_with_more_members_than_are_looked_at_is_refused() {
    let etcd = Etcd::start();
    let coord = connect(&etcd, "worker").await;
    let group = coord.group("snakes");
    group.create().await.unwrap();
    let mut client = strangers(&etcd, "snakes", 10_001, 1).await;
    let refusal = group.members().await.unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Unsupported, "{refusal}");
    client.delete("tooz/groups/snakes/m77", None).await.unwrap();
    assert_eq!(group.members().await.unwrap().len(), 10_000);
    coord.close().await.unwrap();
}

/// Of ten thousand members each hears that it was removed, and the next one too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_not_looked_at_asks_for_itself_after_news_only() {
    let etcd = Etcd::start();
    let session = session_at(&etcd.url(), "worker", Duration::from_secs(10)).await;
    let group = Name::new("snakes").unwrap();
    session.groups().create(&group).await.unwrap();
    let mut client = strangers(&etcd, "snakes", 10_000, 1).await;
    let enrolment = session.enrolment(&group, b"");
    session.groups().join(&enrolment).await.unwrap();
    within("a look at the members", session.groups().stirred(&group, Some(Mark(0)))).await;
    let before = txns(&etcd);
    let mut expelled = session.groups().expelled(&enrolment);
    assert!(timeout(Duration::from_secs(1), &mut expelled).await.is_err(), "nobody removed it");
    let spent = txns(&etcd) - before;
    assert!(spent <= 3.0, "{spent} transactions");
    client.delete("tooz/groups/snakes/worker", None).await.unwrap();
    within("news of the removal", expelled).await;
    session.closed().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_and_capabilities_are_seen_both_ways() {
    let etcd = Etcd::start();
    let peer = Peer::tooz(&python(&etcd, "?membership_timeout=3"), "boa");
    let coord = connect(&etcd, "worker").await;
    let group = coord.group("snakes");

    peer.create("snakes");
    let mut view = group.watch().await.unwrap();
    peer.join("snakes", &json!({ "weight": 3 }));
    within("see the Python member", async {
        while !view.borrow().contains("boa") {
            view.changed().await.unwrap();
        }
    })
    .await;
    let membership = group.join(&json!({ "weight": 5 })).await.unwrap();
    let mut members = peer.members("snakes");
    members.sort();
    assert_eq!(members, ["boa", "worker"]);
    assert_eq!(peer.capabilities("snakes", "worker"), json!({ "weight": 5 }));
    assert!(peer.groups().contains(&"snakes".to_owned()));
    let listed: Vec<String> =
        coord.groups().await.unwrap().iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(listed, ["snakes"]);

    peer.kill();
    within("see the killed member gone", async {
        while view.borrow().contains("boa") {
            view.changed().await.unwrap();
        }
    })
    .await;
    membership.leave().await.unwrap();
    let other = Peer::tooz(&python(&etcd, ""), "cobra");
    until("Python sees ours gone", || other.members("snakes").is_empty());
    coord.close().await.unwrap();
}
