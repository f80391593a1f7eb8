//! What the ZooKeeper driver promises beyond the suite: round trips, lost answers, lost watches, strangers'
//! nodes, credentials, TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed assumption here is a failed test

mod zookeeper_server;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conformance::proxy::{Proxy, Way};
use conformance::servers::{Certificates, Zookeeper};
use conformance::{eventually, unique, within};
use tooz_core::backend::{
    Backend, Doubt, Driver, Grant, Liveness, LockSteps, Opened, Opening, Position, Standing, Turn, Withdrawn,
};
use tooz_core::{
    BootClock, Claim, ClaimId, Effect, Endpoint, Error, ErrorKind, Mode, Name, Registry, Seat, SessionId,
};
use tooz_zookeeper::ZookeeperDriver;
use zookeeper_client::{Acls, Client, CreateMode};

use zookeeper_server::{ephemerals, server};

const TTL: Duration = Duration::from_secs(6);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

async fn open_for(url: &str, ttl: Duration, timeout: Duration) -> Result<Opened, Error> {
    let opening = Opening {
        member: name("member"),
        session: SessionId::random(),
        predecessor: None,
        ttl,
        membership_ttl: ttl,
        timeout,
        clock: Arc::new(BootClock),
    };
    ZookeeperDriver::new().open(&Endpoint::parse(url).unwrap(), &opening).await
}

async fn open(url: &str) -> Arc<dyn Backend> {
    open_for(url, TTL, Duration::from_secs(5)).await.unwrap().backend
}

fn url(port: u16, space: &str) -> String {
    format!("zookeeper://127.0.0.1:{port}?chroot=/{space}")
}

/// For tests that count round trips.
fn prompt_url(port: u16, space: &str) -> String {
    format!("{}&nodelay=true", url(port, space))
}

fn claim(seat: &Seat) -> Claim {
    let (id, member) = (ClaimId::random(), name("member"));
    Claim { id, seat: seat.clone(), mode: Mode::Exclusive, member, value: Bytes::new() }
}

fn lock(text: &str) -> Seat {
    Seat::Lock(name(text))
}

fn locks(backend: &Arc<dyn Backend>) -> &dyn LockSteps {
    backend.locks().unwrap()
}

async fn take(backend: &Arc<dyn Backend>, claim: &Claim) -> Grant {
    match locks(backend).claim(claim).await.unwrap() {
        Standing::Held(grant) => grant,
        Standing::Waiting(position) => panic!("waits at {position:?}"),
    }
}

async fn enqueue(backend: &Arc<dyn Backend>, claim: &Claim) -> Position {
    match locks(backend).claim(claim).await.unwrap() {
        Standing::Waiting(position) => position,
        Standing::Held(grant) => panic!("holds {grant:?}"),
    }
}

async fn release(backend: &Arc<dyn Backend>, claim: &Claim) {
    assert_eq!(locks(backend).withdraw(claim, Doubt::None).await.unwrap(), Withdrawn::Removed);
}

/// A client that knows nothing of us.
async fn stranger() -> Client {
    Client::connect(&server().node().address()).await.unwrap()
}

/// The number of the last write that a server has carried out.
fn last_write(zookeeper: &Zookeeper) -> u64 {
    let text = zookeeper.node().ask("srvr").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).unwrap();
    u64::from_str_radix(line, 16).unwrap()
}

#[tokio::test]
async fn a_free_lock_is_one_round_trip_and_its_release_another() {
    let proxy = Proxy::bytes(server().port());
    let backend = open(&prompt_url(proxy.port(), &unique("trips"))).await;
    let seat = lock("nightly");
    let first = claim(&seat);
    take(&backend, &first).await; // makes the directory
    release(&backend, &first).await;

    proxy.delay(Duration::from_millis(10));
    let again = claim(&seat);
    let before = proxy.counts();
    take(&backend, &again).await;
    assert_eq!(proxy.counts().since(&before).trips, 1, "acquire");
    let before = proxy.counts();
    release(&backend, &again).await;
    assert_eq!(proxy.counts().since(&before).trips, 1, "release");
}

#[tokio::test]
async fn a_failed_try_is_one_round_trip_and_writes_nothing() {
    // A server of its own: others write to the common one.
    let zookeeper = Zookeeper::start();
    let proxy = Proxy::bytes(zookeeper.port());
    let holder = open(&url(zookeeper.port(), "try")).await;
    let other = open(&prompt_url(proxy.port(), "try")).await;
    take(&holder, &claim(&lock("nightly"))).await;
    proxy.delay(Duration::from_millis(10));
    let (before, writes) = (proxy.counts(), last_write(&zookeeper));
    assert_eq!(locks(&other).try_claim(&claim(&lock("nightly"))).await.unwrap(), None);
    assert_eq!(proxy.counts().since(&before).trips, 1);
    assert_eq!(last_write(&zookeeper), writes);
}

#[tokio::test]
async fn a_hand_over_is_one_round_trip_after_the_event() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("turn");
    let holder = open(&url(server().port(), &space)).await;
    let waiter = open(&prompt_url(proxy.port(), &space)).await;
    let (first, second) = (claim(&lock("nightly")), claim(&lock("nightly")));
    take(&holder, &first).await;
    let position = enqueue(&waiter, &second).await;
    proxy.delay(Duration::from_millis(10));
    let turn = locks(&waiter).turn(&second, &position);
    let (turn, passed) = tokio::join!(within("the turn", turn), async {
        // Armed once the watches were answered: two looks in one trip.
        let armed = proxy.counts();
        eventually("see the watches answered", async || match proxy.counts().since(&armed).replies {
            0 => Err("no answer".to_owned()),
            _ => Ok(()),
        })
        .await;
        let before = proxy.counts();
        release(&holder, &first).await;
        before
    });
    assert!(matches!(turn, Turn::Granted(_)), "{turn:?}");
    let passed = proxy.counts().since(&passed);
    assert!(passed.trips <= 1, "{passed:?}");
}

#[tokio::test]
async fn a_beat_for_a_thousand_locks_is_one_round_trip_and_one_write() {
    let zookeeper = Zookeeper::start();
    let proxy = Proxy::bytes(zookeeper.port());
    let backend = open(&prompt_url(proxy.port(), "thousand")).await;
    let mut claims = Vec::new();
    for number in 0..1_000 {
        let claim = claim(&lock(&format!("lock-{number}")));
        take(&backend, &claim).await;
        claims.push(claim);
    }
    proxy.delay(Duration::from_millis(10));
    let (before, writes) = (proxy.counts(), last_write(&zookeeper));
    let renewal = backend.renew(&claims, &[]).await.unwrap();
    assert!(renewal.ousted.is_empty() && renewal.stray.is_empty());
    assert_eq!(last_write(&zookeeper) - writes, 1);
    // The answer comes in many pieces, which is no second question.
    assert_eq!(proxy.counts().since(&before).requests, 1);
}

/// The create arrived, its answer did not: the claim sent again is found by its id, and is there once.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_found_again() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("lost");
    let backend = open(&url(proxy.port(), &space)).await;
    let seat = lock("nightly");
    let warm = claim(&seat);
    take(&backend, &warm).await;
    release(&backend, &warm).await;

    let claim = claim(&seat);
    proxy.lose_next_reply_to("__lock__");
    let error = locks(&backend).claim(&claim).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown), "{error}");
    take(&backend, &claim).await;
    let left = ephemerals(&stranger().await, &format!("/{space}/tooz")).await;
    assert_eq!(left.len(), 1, "{left:?}");

    release(&backend, &claim).await;
    let left = ephemerals(&stranger().await, &format!("/{space}/tooz")).await;
    assert!(left.is_empty(), "{left:?}");
}

/// The same, but the caller gives up instead.
#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_withdrawn_whole() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("given-up");
    let backend = open(&url(proxy.port(), &space)).await;
    let seat = Seat::Leader(name("blue"));
    let warm = claim(&seat);
    take(&backend, &warm).await;
    release(&backend, &warm).await;

    let claim = Claim { value: "host:1".into(), ..claim(&seat) };
    proxy.lose_next_reply_to("__lock__");
    locks(&backend).claim(&claim).await.unwrap_err();
    assert_eq!(locks(&backend).withdraw(&claim, Doubt::MayLand).await.unwrap(), Withdrawn::Removed);
    assert_eq!(locks(&backend).claim(&claim).await.unwrap_err().kind(), ErrorKind::Closed);
    let left = ephemerals(&stranger().await, &format!("/{space}/tooz-rs/tooz")).await;
    assert!(left.iter().all(|path| !path.contains("leaders") && !path.contains("values")), "{left:?}");
}

/// What happened while the connection was broken is not slept through.
#[tokio::test]
async fn a_turn_that_came_during_a_reconnect_is_noticed() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("reconnect");
    let holder = open(&url(server().port(), &space)).await;
    let waiter = open(&url(proxy.port(), &space)).await;
    let (first, second) = (claim(&lock("nightly")), claim(&lock("nightly")));
    take(&holder, &first).await;
    let mut position = enqueue(&waiter, &second).await;
    let turn = async {
        loop {
            if let Turn::Granted(grant) = locks(&waiter).turn(&second, &position).await {
                return grant;
            }
            // Unanswered while the connection is broken.
            match locks(&waiter).claim(&second).await {
                Ok(Standing::Held(grant)) => return grant,
                Ok(Standing::Waiting(next)) => position = next,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
    };
    tokio::join!(within("the turn", turn), async {
        proxy.refuse();
        proxy.reset();
        release(&holder, &first).await;
        proxy.join();
    });
}

#[tokio::test]
async fn every_call_ends_though_the_server_never_answers() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("silent");
    let timeout = Duration::from_millis(300);
    let url = url(proxy.port(), &space);
    let backend = open_for(&url, TTL, timeout).await.unwrap().backend;
    proxy.cut(Way::Both);
    let claim = claim(&lock("nightly"));
    for refused in [
        locks(&backend).claim(&claim).await.map(drop),
        locks(&backend).try_claim(&claim).await.map(drop),
        locks(&backend).withdraw(&claim, Doubt::None).await.map(drop),
        locks(&backend).queue(&claim.seat).await.map(drop),
        backend.groups().unwrap().members(&name("blue")).await.map(drop),
        backend.renew(&[], &[]).await.map(drop),
        open_for(&url, TTL, timeout).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    proxy.join();
}

#[tokio::test]
async fn a_time_to_live_below_the_servers_minimum_is_raised_to_four_ticks_and_said_so() {
    let url = url(server().port(), &unique("short"));
    let opened = open_for(&url, Duration::from_millis(300), Duration::from_secs(5)).await.unwrap();
    let profile = opened.backend.profile();
    assert_eq!(profile.liveness, Liveness::Lease(Duration::from_secs(2)), "four ticks of 500 ms");
    assert!(profile.warnings.iter().any(|warning| warning.contains("minimum")), "{:?}", profile.warnings);
}

#[tokio::test]
async fn a_time_to_live_that_is_granted_but_below_four_ticks_is_raised_to_them_and_said_so() {
    let zookeeper = Zookeeper::plan().tick(Duration::from_secs(2)).start();
    let opened = open_for(&url(zookeeper.port(), "coarse"), Duration::from_secs(4), TTL).await.unwrap();
    let profile = opened.backend.profile();
    assert_eq!(profile.liveness, Liveness::Lease(Duration::from_secs(8)), "four ticks of 2 s");
    assert!(profile.warnings.iter().any(|warning| warning.contains("minimum")), "{:?}", profile.warnings);
}

#[tokio::test]
async fn a_time_to_live_of_four_ticks_or_more_is_granted_as_asked_and_nothing_said() {
    for ttl in [2, 4].map(Duration::from_secs) {
        let url = url(server().port(), &unique("fine"));
        let opened = open_for(&url, ttl, Duration::from_secs(5)).await.unwrap();
        let profile = opened.backend.profile();
        assert_eq!(profile.liveness, Liveness::Lease(ttl), "ticks of 500 ms");
        assert!(!profile.warnings.iter().any(|warning| warning.contains("ticks")), "{:?}", profile.warnings);
    }
}

#[tokio::test]
async fn a_server_that_never_grants_four_ticks_is_warned_about() {
    let zookeeper = Zookeeper::plan().option("maxSessionTimeout", "1500").start();
    let opened = open_for(&url(zookeeper.port(), "capped"), TTL, TTL).await.unwrap();
    let profile = opened.backend.profile();
    assert_eq!(profile.liveness, Liveness::Lease(Duration::from_millis(1_500)), "three ticks of 500 ms");
    assert!(profile.warnings.iter().any(|warning| warning.contains("maximum")), "{:?}", profile.warnings);
}

#[tokio::test]
async fn two_times_to_live_are_refused() {
    let url = format!("{}&lock_timeout=5&membership_timeout=6", url(server().port(), &unique("two")));
    let registry = Registry::new().with(ZookeeperDriver::new());
    let error = registry.builder(url).member("a").connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    assert!(error.to_string().contains("membership_timeout"), "{error}");
}

/// Whatever others put among our nodes: nobody holds by it, nothing stalls, nothing panics.
#[tokio::test]
async fn nodes_of_strangers_neither_hold_nor_stall_nor_show() {
    let space = unique("strange");
    let backend = open(&url(server().port(), &space)).await;
    let groups = backend.groups().unwrap();
    groups.create(&name("blue")).await.unwrap();
    take(&backend, &claim(&lock("seen"))).await;
    let client = stranger().await;
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let directory = format!("/{space}/tooz/locks/nightly");
    client.mkdir(&directory, &persistent).await.unwrap();
    for (path, data) in [
        (format!("{directory}/note"), b"".as_slice()),
        (format!("{directory}/x__lock__12"), b""),
        (format!("{directory}/x__lock__00000000zz"), b"\xff"),
        (format!("/{space}/tooz/blue/leader"), b""),
        (format!("/{space}/tooz/blue/furniture"), b"\xff\xff"),
    ] {
        client.create(&path, data, &persistent).await.unwrap();
    }
    let own = claim(&lock("nightly"));
    take(&backend, &own).await;
    assert_eq!(locks(&backend).queue(&own.seat).await.unwrap().holders.len(), 1);
    assert!(groups.members(&name("blue")).await.unwrap().unwrap().members.is_empty());

    // One that contends in kazoo's way is waited for, though its name and data say nothing.
    let sequential = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    release(&backend, &own).await;
    client.create(&format!("{directory}/\u{e9}__lock__"), b"\xff\xff", &sequential).await.unwrap();
    let behind = claim(&lock("nightly"));
    let position = enqueue(&backend, &behind).await;
    let queue = locks(&backend).queue(&behind.seat).await.unwrap();
    assert_eq!((queue.holders[0].claim, queue.holders[0].member.clone()), (None, None));
    let (turn, ()) = tokio::join!(within("the turn", locks(&backend).turn(&behind, &position)), async {
        drop(client);
    });
    assert!(matches!(turn, Turn::Granted(_)));
}

#[tokio::test]
async fn a_later_layout_is_refused_and_a_missing_chroot_is_made_and_said_so() {
    let space = unique("layout");
    let backend = open(&url(server().port(), &space)).await;
    assert!(backend.profile().warnings.iter().any(|warning| warning.contains("chroot")));
    let again = open(&url(server().port(), &space)).await;
    assert!(again.profile().warnings.is_empty(), "{:?}", again.profile().warnings);

    let client = stranger().await;
    client.set_data(&format!("/{space}/tooz-rs/tooz"), b"tooz-zookeeper 2", None).await.unwrap();
    let error = open_for(&url(server().port(), &space), TTL, TTL).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("update"), "{error}");
}

#[tokio::test]
async fn with_credentials_everything_is_its_makers_alone() {
    let space = unique("acl");
    let port = server().port();
    let of = |user: &str| format!("zookeeper://{user}:canary@127.0.0.1:{port}?chroot=/{space}");
    let backend = open(&of("alice")).await;
    let own = claim(&lock("nightly"));
    take(&backend, &own).await;
    backend.groups().unwrap().create(&name("blue")).await.unwrap();

    let client = stranger().await;
    let refused = client.list_children(&format!("/{space}/tooz/locks/nightly")).await;
    assert_eq!(refused.unwrap_err(), zookeeper_client::Error::NoAuth);
    for other in [open_for(&of("bob"), TTL, TTL).await, open_for(&url(port, &space), TTL, TTL).await] {
        let error = other.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
    take(&open(&of("alice")).await, &claim(&lock("other"))).await;
}

#[tokio::test]
async fn doors_that_stand_open_are_warned_about() {
    let space = unique("doors");
    let port = server().port();
    open(&url(port, &space)).await;
    let backend = open(&format!("zookeeper://alice:canary@127.0.0.1:{port}?chroot=/{space}")).await;
    let warnings = &backend.profile().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("\"/tooz/locks\"")), "{warnings:?}");
}

#[tokio::test]
async fn tls_is_spoken_to_the_right_server_with_the_right_certificate_only() {
    let certificates = Arc::new(Certificates::new());
    let zookeeper = Zookeeper::plan().tls(&certificates, true).start();
    let (cert, key) = certificates.client();
    let base = format!("zookeeper://{}?use_ssl=true", zookeeper.secure_addresses());
    let trusting = format!("{base}&ca={}", certificates.authority().display());
    let whole = format!("{trusting}&certfile={}&keyfile={}", cert.display(), key.display());
    let backend = open(&whole).await;
    let own = claim(&lock("nightly"));
    take(&backend, &own).await;
    release(&backend, &own).await;

    let strangers = Certificates::new();
    let mistrusting = format!(
        "{base}&ca={}&certfile={}&keyfile={}",
        strangers.authority().display(),
        cert.display(),
        key.display()
    );
    for url in [trusting, mistrusting] {
        let error = open_for(&url, TTL, Duration::from_secs(3)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    let unreadable = format!("{base}&ca=/nowhere");
    assert_eq!(open_for(&unreadable, TTL, TTL).await.err().unwrap().kind(), ErrorKind::InvalidOption);
}

/// A session outlives its server where the data is kept: what was held is held, what is watched goes on.
#[tokio::test]
async fn locks_and_waits_survive_the_restart_of_the_server() {
    let zookeeper = Zookeeper::start();
    let space = "restart";
    let holder = open_for(&url(zookeeper.port(), space), Duration::from_secs(10), TTL).await.unwrap().backend;
    let waiter = open_for(&url(zookeeper.port(), space), Duration::from_secs(10), TTL).await.unwrap().backend;
    let (first, second) = (claim(&lock("nightly")), claim(&lock("nightly")));
    let grant = take(&holder, &first).await;
    let mut position = enqueue(&waiter, &second).await;
    zookeeper.process().restart();
    zookeeper.serving();
    let renewed = within("a beat after the restart", async {
        loop {
            match holder.renew(std::slice::from_ref(&first), &[]).await {
                Ok(renewal) => return renewal,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
    })
    .await;
    assert!(renewed.ousted.is_empty());
    let turn = async {
        loop {
            if let Turn::Granted(grant) = locks(&waiter).turn(&second, &position).await {
                return grant;
            }
            match locks(&waiter).claim(&second).await {
                Ok(Standing::Held(grant)) => return grant,
                Ok(Standing::Waiting(next)) => position = next,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
    };
    let (next, ()) = tokio::join!(within("the turn", turn), release(&holder, &first));
    assert!(next.token > grant.token, "tokens go on after a restart");
}
