//! What proves a claim on a real etcd, what does not, and what becomes of what nobody speaks of any more.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod etcd_relay;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conformance::proxy::{Proxy, Way};
use conformance::servers::{Etcd, until};
use conformance::{eventually, within};
use etcd_client::{Client, PutOptions};
use etcd_relay::{Relay, varint};
use tooz_core::backend::{Driver, Opened, Opening, Proof};
use tooz_core::{
    BootClock, Claim, ClaimId, Clock, Coordinator, Endpoint, ErrorKind, Lock, Mode, Moment, Name, Registry,
    Seat, SessionId,
};

async fn connect(url: &str, member: &str) -> Coordinator {
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    registry.builder(url).member(member).connect().await.unwrap()
}

/// The ids and the granted times to live of all leases, in seconds, shortest first.
async fn leases(client: &mut Client) -> Vec<(i64, i64)> {
    let ids: Vec<i64> = client.leases().await.unwrap().leases().iter().map(|lease| lease.id()).collect();
    let mut all = Vec::new();
    for id in ids {
        all.push((id, client.lease_time_to_live(id, None).await.unwrap().granted_ttl()));
    }
    all.sort_by_key(|(_, ttl)| *ttl);
    all
}

async fn waiting(lock: &Lock, count: usize) {
    eventually("so many wait", async || match lock.queue().await {
        Ok(queue) if queue.waiting.len() == count => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// The boot clock, ahead by as much as the test wants.
#[derive(Debug, Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> Moment {
        BootClock.now() + Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

fn sent(proof: Proof) -> Moment {
    match proof {
        Proof::Lease { sent, .. } => sent,
        Proof::Kernel => panic!("a lease is proved by the kernel"),
    }
}

/// A session of the driver itself.
async fn open(url: &str, ttl: Duration, clock: Arc<dyn Clock>) -> (Opened, Opening) {
    let opening = Opening {
        member: Name::new("worker").unwrap(),
        session: SessionId::random(),
        predecessor: None,
        ttl,
        membership_ttl: ttl,
        timeout: Duration::from_secs(30),
        clock,
    };
    let endpoint = Endpoint::parse(url).unwrap();
    (tooz_etcd::EtcdDriver::new().open(&endpoint, &opening).await.unwrap(), opening)
}

/// A claim of such a session on the lock "nightly".
fn claim(opening: &Opening, mode: Mode) -> Claim {
    let (seat, member) = (Seat::Lock(Name::new("nightly").unwrap()), opening.member.clone());
    Claim { id: ClaimId::random(), seat, mode, member, value: bytes::Bytes::new() }
}

/// Interleaving 1: the keep-alives' connection stalls while another carries claims. What the store grants meanwhile is
/// proved by the last keep-alive that was answered, and one that is answered late by when it was sent.
#[test]
fn a_claim_that_succeeds_while_the_beats_stall_is_no_proof() {
    const TTL: Duration = Duration::from_secs(60);
    let etcd = Etcd::start();
    let relay = Relay::new(&etcd.node().address());
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (engine, user) = (runtime(), runtime());
    let clock = Arc::new(Ahead::default());
    let (Opened { backend, .. }, opening) =
        engine.block_on(open(&relay.url(), TTL, Arc::clone(&clock) as Arc<dyn Clock>));
    let proved = engine.block_on(backend.renew(&[], &[])).unwrap().proof;
    let lease = user.block_on(async {
        let mut client = Client::connect([etcd.node().address()], None).await.unwrap();
        leases(&mut client).await[0].0
    });

    relay.hold(0);
    let beat = engine.spawn({
        let backend = Arc::clone(&backend);
        async move { backend.renew(&[], &[]).await.unwrap().proof }
    });
    until("a beat is under way", || relay.has_held(0, &varint(lease)));
    clock.0.store(u64::try_from(TTL.as_millis()).unwrap(), Ordering::SeqCst);
    let claim = claim(&opening, Mode::Exclusive);
    let grant = user.block_on(backend.locks().unwrap().try_claim(&claim)).unwrap().unwrap();
    assert_eq!(grant.proof, proved, "the grant proves more than the last beat that was answered");
    assert!(sent(grant.proof) + TTL <= clock.now(), "no guard could be born of it");
    relay.let_go(0);
    let late = engine.block_on(beat).unwrap();
    assert!(sent(late) + TTL <= clock.now(), "a late answer proves more than when it was sent");

    let fresh = engine.block_on(backend.renew(&[], &[])).unwrap().proof;
    assert!(sent(fresh) + TTL > clock.now());
    engine.block_on(backend.close()).unwrap();
}

/// A leader that was stopped answers keep-alives before it hears of its successor: a majority has to answer later in the
/// same term.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keep_alive_that_a_deposed_leader_answered_is_no_proof() {
    let etcd = Etcd::start();
    let relay = Relay::new(&etcd.node().address());
    let mut client = Client::connect([etcd.node().address()], None).await.unwrap();
    let (Opened { backend, .. }, opening) =
        open(&relay.url(), Duration::from_secs(60), Arc::new(BootClock)).await;
    let held = claim(&opening, Mode::Exclusive);
    let locks = backend.locks().unwrap();
    locks.try_claim(&held).await.unwrap().unwrap();
    let lease = leases(&mut client).await[0].0;
    let proved = backend.renew(&[], &[]).await.unwrap().proof;

    relay.depose(lease);
    for claims in [vec![], vec![held.clone()]] {
        let refused = backend.renew(&claims, &[]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    }
    let grant = locks.try_claim(&held).await.unwrap().unwrap();
    assert_eq!(grant.proof, proved, "a grant proves more than the last beat that counted");
    assert!(relay.restore() > 1);
    for claims in [vec![], vec![held]] {
        assert!(sent(backend.renew(&claims, &[]).await.unwrap().proof) > sent(proved));
    }
    backend.close().await.unwrap();
}

/// The same of the lease that readers share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_trust_no_keep_alive_that_a_deposed_leader_answered() {
    let etcd = Etcd::start();
    let relay = Relay::new(&etcd.node().address());
    let mut client = Client::connect([etcd.node().address()], None).await.unwrap();
    let opened = async |url: &str| open(url, Duration::from_secs(60), Arc::new(BootClock)).await;
    let (first, opening) = opened(&format!("etcd://{}", etcd.node().address())).await;
    let held = claim(&opening, Mode::Shared);
    first.backend.locks().unwrap().try_claim(&held).await.unwrap().unwrap();
    let common = client.get("/tooz/locksnightly", None).await.unwrap().kvs()[0].lease();
    let (Opened { backend, .. }, opening) = opened(&relay.url()).await;
    let held = claim(&opening, Mode::Shared);
    let locks = backend.locks().unwrap();

    // While it joins the others, when it has, and with every beat.
    relay.depose(common);
    for _ in ["it gets in", "it finds itself in"] {
        let refused = locks.try_claim(&held).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    }
    assert!(relay.restore() > 1);
    locks.try_claim(&held).await.unwrap().unwrap();
    relay.depose(common);
    let refused = backend.renew(std::slice::from_ref(&held), &[]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(relay.restore() > 1);
    let renewed = backend.renew(&[held], &[]).await.unwrap();
    assert_eq!(renewed.ousted, []);
    backend.close().await.unwrap();
    first.backend.close().await.unwrap();
}

/// Interleaving 1, the same of a guard: it lasts as long as the last proof from before it was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_born_while_the_beats_stall_lasts_no_longer_than_the_last_proof() {
    let etcd = Etcd::start();
    let relay = Relay::new(&etcd.node().address());
    let coord = connect(&format!("{}?lock_timeout=30", relay.url()), "worker").await;
    relay.hold(0);
    let asked = BootClock.now();
    for lock in [coord.lock("nightly"), coord.lock("nightly").shared()] {
        let guard = within("the lock beside the stalled beats", lock.acquire()).await.unwrap();
        let margin = Duration::from_millis(320);
        assert!(guard.deadline().unwrap() < asked + Duration::from_secs(30) - margin);
        guard.release().await.unwrap();
    }
    relay.let_go(0);
    coord.close().await.unwrap();
}

/// Interleaving 2: a beat whose connection breaks is sent again with the claims it began with. What was granted in
/// between is not among them, and waits for the next.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_that_is_sent_again_credits_no_grant_that_came_meanwhile() {
    /// Beats are three seconds apart, and one that is not answered has the next beside it after one and a half.
    const NEXT: Duration = Duration::from_millis(1_200);
    let etcd = Etcd::start();
    let mut client = Client::connect([etcd.node().address()], None).await.unwrap();
    for _ in 0..5 {
        let relay = Relay::new(&etcd.node().address());
        let coord = connect(&format!("{}?lock_timeout=9", relay.url()), "worker").await;
        let first = coord.lock("first").acquire().await.unwrap();
        let moved = async |since: Moment| {
            eventually("a beat is answered", async || match first.deadline() {
                Some(now) if now > since => Ok(()),
                other => Err(format!("{other:?}")),
            })
            .await;
        };
        moved(first.deadline().unwrap()).await;
        relay.hold(0);
        let lease = leases(&mut client).await[0].0;
        until("the next beat is under way", || relay.has_held(0, &varint(lease)));
        let under_way = Instant::now();
        let before = first.deadline().unwrap();
        let later = [coord.lock("later").acquire().await, coord.lock("read").shared().acquire().await];
        let later = later.map(Result::unwrap);
        let born = later.each_ref().map(|guard| guard.deadline().unwrap());
        relay.cut(0);
        moved(before).await;
        let now = later.each_ref().map(|guard| guard.deadline().unwrap());
        // On a machine so slow that the next beat may have come, this tells nothing.
        let tells = under_way.elapsed() < NEXT;
        coord.close().await.unwrap();
        if tells {
            assert_eq!(now, born, "credited by a beat that did not name them");
            return;
        }
    }
    panic!("too slow to tell");
}

/// Interleaving 5: a holder that is cut off knows it before the store lets the next one in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_fires_before_the_next_is_granted() {
    let etcd = Etcd::start();
    let proxy = Proxy::grpc(etcd.node().port());
    let holder = connect(&format!("etcd://{}?lock_timeout=3", proxy.address()), "holder").await;
    let heir = connect(&etcd.url(), "heir").await;
    let guard = holder.lock("nightly").acquire().await.unwrap();
    let next = tokio::spawn({
        let lock = heir.lock("nightly");
        async move { (lock.acquire().await.unwrap(), BootClock.now()) }
    });
    waiting(&heir.lock("nightly"), 1).await;
    // Its beats still arrive, and nothing is known of them: only the answers count.
    proxy.cut(Way::Down);
    within("the loss", guard.lost()).await;
    let told = BootClock.now();
    assert!(!guard.is_held());
    proxy.cut(Way::Both);
    let (next, granted) = within("the lock of the one that is cut off", next).await.unwrap();
    assert!(told < granted, "told {:?} after the grant", told.since(granted));
    next.release().await.unwrap();
    drop(guard);
    drop(holder);
    heir.close().await.unwrap();
}

/// Interleaving 4: answers stall past the deadline while requests arrive, so that the store still has us for the holder
/// when they come again. Who was lost lets go of it, and does not wait for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_whose_answers_came_too_late_gets_its_lock_anew() {
    let etcd = Etcd::start();
    let proxy = Proxy::grpc(etcd.node().port());
    let coord = connect(&format!("etcd://{}?lock_timeout=4", proxy.address()), "holder").await;
    let guard = coord.lock("nightly").acquire().await.unwrap();
    let token = guard.fencing_token();
    proxy.cut(Way::Down);
    within("the loss", guard.lost()).await;
    proxy.join();
    let again = within("the lock anew", coord.lock("nightly").acquire()).await.unwrap();
    assert!(again.fencing_token() > token && !guard.is_held());
    again.release().await.unwrap();
    drop(guard);
    coord.close().await.unwrap();
}

/// Interleaving 9: a grant or a place that stands under our lease and that nobody here knows keeps nobody waiting for
/// longer than two beats, and what is known stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_under_our_lease_that_nobody_here_made_is_withdrawn() {
    let etcd = Etcd::start();
    let mut client = Client::connect([etcd.node().address()], None).await.unwrap();
    let coord = connect(&format!("{}?lock_timeout=3", etcd.url()), "worker").await;
    let lease = leases(&mut client).await[0].0;
    let known = coord.lock("known").acquire().await.unwrap();
    let other = connect(&etcd.url(), "other").await;
    let held = other.lock("waits").acquire().await.unwrap();

    // As a claim leaves them: an array of shared, member, value, share and time.
    let record = [b"\x95\xc2\xa6worker\xc4\x00".as_slice(), &[0xc0, 0xc0]].concat();
    let (granted, queued) = (ClaimId::random(), ClaimId::random());
    let under = || Some(PutOptions::new().with_lease(lease));
    client.put(format!("/tooz-rs/v1/lock/holds/h/{granted}"), record.clone(), under()).await.unwrap();
    client.put("/tooz/locksholds", granted.as_bytes().as_slice(), under()).await.unwrap();
    client.put(format!("/tooz-rs/v1/lock/waits/q/{queued}"), record, under()).await.unwrap();
    assert!(other.lock("holds").try_acquire().await.unwrap().is_none(), "it is as good as any");
    assert_eq!(other.lock("waits").queue().await.unwrap().waiting.len(), 1);

    within("the lock of the unknown claim", other.lock("holds").acquire())
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    waiting(&other.lock("waits"), 0).await;
    assert!(known.is_held());
    held.release().await.unwrap();
    known.release().await.unwrap();
    coord.close().await.unwrap();
    other.close().await.unwrap();
}

/// Interleaving 28: one lease unless the times to live differ, and then what stands under each lives as long as it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_and_memberships_that_live_for_different_times_stand_under_two_leases() {
    let etcd = Etcd::start();
    let mut client = Client::connect([etcd.node().address()], None).await.unwrap();
    for (options, expected) in [
        ("lock_timeout=20&membership_timeout=20", vec![20]),
        ("lock_timeout=20", vec![20]),
        ("lock_timeout=20&membership_timeout=40", vec![20, 40]),
        ("lock_timeout=40&membership_timeout=20", vec![20, 40]),
    ] {
        let coord = connect(&format!("{}?{options}", etcd.url()), "worker").await;
        let granted = leases(&mut client).await;
        assert_eq!(granted.iter().map(|(_, ttl)| *ttl).collect::<Vec<_>>(), expected, "{options}");
        let guard = coord.lock("nightly").acquire().await.unwrap();
        let group = coord.group("blue");
        group.create_if_missing().await.unwrap();
        let membership = group.join(&1).await.unwrap();
        let mut ttl_of = async |key: &str| {
            let lease = client.get(key, None).await.unwrap().kvs().first().unwrap().lease();
            granted.iter().find(|(id, _)| *id == lease).unwrap().1
        };
        let is_lock_short = options.starts_with("lock_timeout=20");
        let [lock, member] = if is_lock_short { [0, expected.len() - 1] } else { [1, 0] };
        assert_eq!(ttl_of("/tooz/locksnightly").await, expected[lock], "{options}");
        assert_eq!(ttl_of("tooz/groups/blue/worker").await, expected[member], "{options}");
        membership.leave().await.unwrap();
        guard.release().await.unwrap();
        coord.close().await.unwrap();
        assert_eq!(leases(&mut client).await, [], "{options}");
    }
}

/// Interleaving 28: beats keep the shorter of the two leases alive, whichever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_membership_that_lives_shorter_than_the_locks_lives_through_the_beats() {
    let etcd = Etcd::start();
    let mut client = Client::connect([etcd.node().address()], None).await.unwrap();
    let url = format!("{}?lock_timeout=30&membership_timeout=3", etcd.url());
    let coord = connect(&url, "worker").await;
    let guard = coord.lock("nightly").acquire().await.unwrap();
    let group = coord.group("blue");
    group.create_if_missing().await.unwrap();
    let membership = group.join(&1).await.unwrap();
    let mut joined_at = async || {
        let seen = client.get("tooz/groups/blue/worker", None).await.unwrap();
        seen.kvs().first().map(|kv| kv.create_revision())
    };
    let before = joined_at().await;
    let (begun, mut deadline) = (Instant::now(), guard.deadline().unwrap());
    while begun.elapsed() < Duration::from_secs(5) {
        let last = deadline;
        eventually("a beat is answered", async || {
            deadline = guard.deadline().unwrap();
            if deadline > last { Ok(()) } else { Err(format!("{deadline:?}")) }
        })
        .await;
        assert_eq!(joined_at().await, before, "it left, and came back at best");
    }
    assert!(before.is_some() && guard.is_held());
    let left = deadline.since(BootClock.now());
    assert!(left > Duration::from_secs(20), "the locks are proved for {left:?} only");
    membership.leave().await.unwrap();
    guard.release().await.unwrap();
    coord.close().await.unwrap();
}

/// The lease of the memberships ends while that of the locks lives: the memberships come back, and no lock is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memberships_whose_lease_is_gone_come_back_and_cost_no_lock() {
    let etcd = Etcd::start();
    let mut client = Client::connect([etcd.node().address()], None).await.unwrap();
    let coord = connect(&format!("{}?lock_timeout=30&membership_timeout=40", etcd.url()), "worker").await;
    let guard = coord.lock("nightly").acquire().await.unwrap();
    let mut memberships = Vec::new();
    for name in ["blue", "green", "red"] {
        let group = coord.group(name);
        group.create_if_missing().await.unwrap();
        memberships.push(group.join(&1).await.unwrap());
    }
    let (session, lease) = (coord.session(), leases(&mut client).await[1].0);
    client.lease_revoke(lease).await.unwrap();
    for name in ["blue", "green", "red"] {
        let client = client.clone();
        eventually("the member is back", async || {
            let seen = client.clone().get(format!("tooz/groups/{name}/worker"), None).await.unwrap();
            match seen.kvs().first().map(|kv| kv.lease()) {
                Some(found) if found == lease => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }
    assert!(guard.is_held() && coord.session() == session, "the session ended with its memberships");
    for membership in memberships {
        membership.leave().await.unwrap();
    }
    guard.release().await.unwrap();
    coord.close().await.unwrap();
    assert_eq!(leases(&mut client).await, []);
}

/// The largest there is, which is more than etcd takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_to_live_that_etcd_does_not_take_is_refused_as_an_option() {
    let etcd = Etcd::start();
    let registry = || Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    let refusal = registry().builder(etcd.url()).ttl(Duration::MAX).connect().await.unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::InvalidOption, "{refusal}");
    assert!(refusal.to_string().contains("too large lease TTL"), "{refusal}");
}
