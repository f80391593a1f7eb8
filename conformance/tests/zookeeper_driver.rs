//! What the ZooKeeper driver promises beyond the suite: times to live, strangers' nodes, credentials, TLS.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed assumption here is a failed test

mod zookeeper_server;

use std::sync::Arc;
use std::time::Duration;

use conformance::servers::{Certificates, Zookeeper};
use conformance::{eventually, unique, within};
use tooz_core::backend::{Eviction, Liveness, Standing, Turn};
use tooz_core::{Claim, ErrorKind, Mode, Registry, Seat};
use tooz_zookeeper::ZookeeperDriver;
use zookeeper_client::{Acls, Client, CreateMode};

use zookeeper_server::server;
use zookeeper_server::steps::*;

/// In the names of nodes that are nobody's.
const ID: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_time_to_live_below_the_servers_minimum_is_raised_to_four_ticks_and_said_so() {
    let url = url(server().port(), &unique("short"));
    let opened = open_for(&url, Duration::from_millis(300), Duration::from_secs(5)).await.unwrap();
    let profile = opened.backend.profile();
    assert_eq!(profile.liveness, Liveness::Lease(Duration::from_secs(2)), "four ticks of 500 ms");
    assert!(profile.warnings.iter().any(|warning| warning.contains("minimum")), "{:?}", profile.warnings);
}

/// Interleaving 3: the rule has slack from four ticks on.
#[tokio::test]
async fn a_time_to_live_that_is_granted_but_below_four_ticks_is_raised_to_them_and_said_so() {
    let zookeeper = Zookeeper::plan().tick(Duration::from_secs(2)).start();
    let opened = open_for(&url(zookeeper.port(), "coarse"), Duration::from_secs(4), TTL).await.unwrap();
    let profile = opened.backend.profile();
    assert_eq!(profile.liveness, Liveness::Lease(Duration::from_secs(8)), "four ticks of 2 s");
    assert!(profile.warnings.iter().any(|warning| warning.contains("minimum")), "{:?}", profile.warnings);
}

/// The protocol has 31 bits for the milliseconds.
#[tokio::test]
async fn a_time_to_live_of_months_is_as_long_as_the_server_grants() {
    let most =
        open_for(&url(server().port(), &unique("month")), Duration::from_secs(86_400), TTL).await.unwrap();
    for ttl in [Duration::from_secs(86_400 * 30), Duration::MAX] {
        let opened = open_for(&url(server().port(), &unique("months")), ttl, TTL).await.unwrap();
        assert_eq!(opened.backend.profile().liveness, most.backend.profile().liveness);
        let warnings = &opened.backend.profile().warnings;
        assert!(!warnings.iter().any(|warning| warning.contains("minimum")), "{ttl:?}: {warnings:?}");
    }
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

/// Data beside the locks: written while the lock is held, and not by whoever only believes to hold it.
#[tokio::test]
async fn a_guarded_write_goes_through_while_the_lock_is_held_and_not_after() {
    let space = unique("guarded");
    let registry = Registry::new().with(ZookeeperDriver::new());
    let url = url(server().port(), &space);
    let coord = registry.builder(&url).member("a").ttl(TTL).connect().await.unwrap();
    let guard = coord.lock("a/b").acquire().await.unwrap();
    let client = stranger().await;
    let report = format!("/{space}/report");
    client.create(&report, b"", &CreateMode::Persistent.with_acls(Acls::anyone_all())).await.unwrap();

    let directory = tooz_zookeeper::lock_directory(coord.endpoint(), &guard.name()).unwrap();
    let claim = guard.claim_id().to_string();
    let claims = client.list_children(&directory).await.unwrap();
    let own = claims.iter().find(|node| node.starts_with(&claim)).unwrap();
    let write = async |data: &[u8]| {
        let mut write = client.new_check_writer(&format!("{directory}/{own}"), None).unwrap();
        write.add_set_data(&report, data, None).unwrap();
        write.commit().await.map(drop)
    };
    write(b"held").await.unwrap();
    coord.lock("a/b").evict(Eviction::Force).await.unwrap();
    write(b"broken").await.unwrap_err();
    assert_eq!(client.get_data(&report).await.unwrap().0, b"held");
    coord.close().await.unwrap();
}

#[tokio::test]
async fn the_profile_names_the_server_where_it_may_be_asked() {
    eventually("see the server named", async || {
        let backend = open(&url(server().port(), &unique("named"))).await;
        match backend.profile().server.as_deref() {
            Some(server) if server.starts_with("zookeeper 3.") && server.ends_with(", standalone") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// It counts from when the holder came to hold, not from when it began to wait, where the one before it left word.
#[tokio::test]
async fn a_holder_is_as_old_as_its_hold() {
    let space = unique("age");
    let (one, other) = (open(&url(server().port(), &space)).await, open(&url(server().port(), &space)).await);
    let seat = lock("nightly");
    let claims = [(); 3].map(|()| claim(&seat));
    let age = async || locks(&other).queue(&seat).await.unwrap().holders[0].age.unwrap();
    take(&one, &claims[0]).await;
    let mut places = Vec::new();
    for claim in &claims[1..] {
        places.push(enqueue(&one, claim).await);
    }
    eventually("see the holder grow old", async || match age().await {
        age if age > Duration::from_millis(500) => Ok(()),
        age => Err(format!("{age:?}")),
    })
    .await;
    for (number, place) in places.iter().enumerate() {
        let before = std::time::Instant::now();
        release(&one, &claims[number]).await;
        let turn = within("the turn", locks(&one).turn(&claims[number + 1], place)).await;
        assert!(matches!(turn, Turn::Granted(_)));
        let age = age().await;
        match number {
            // The first one was never waited for, as far as it knew: at most.
            0 => assert!(age > Duration::from_millis(500), "{age:?}"),
            // Whole milliseconds.
            _ => assert!(age <= before.elapsed() + Duration::from_millis(1), "{age:?} of {before:?}"),
        }
    }
}

/// Interleaving 28: both are the session's.
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
    let container = CreateMode::Container.with_acls(Acls::anyone_all());
    let for_a_day =
        CreateMode::Persistent.with_acls(Acls::anyone_all()).with_ttl(Duration::from_secs(86_400));
    client.create(&format!("/{space}/tooz/blue/box"), b"\xc0", &container).await.unwrap();
    client.create(&format!("/{space}/tooz/blue/for-a-day"), b"\xc0", &for_a_day).await.unwrap();
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

/// Puts nodes among a seat's claims that are named like claims and go with no session.
async fn furnish(client: &Client, space: &str, seat: &Seat) {
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let container = CreateMode::Container.with_acls(Acls::anyone_all());
    let for_a_day =
        CreateMode::Persistent.with_acls(Acls::anyone_all()).with_ttl(Duration::from_secs(86_400));
    let directory = match seat {
        Seat::Lock(_) => format!("/{space}/tooz/locks/nightly"),
        Seat::Leader(_) => format!("/{space}/tooz-rs/tooz/leaders/blue"),
    };
    client.mkdir(&directory, &persistent).await.unwrap();
    for (node, data, mode) in [
        (format!("{ID}__lock__0000000000"), b"ghost".as_slice(), &persistent),
        (format!("{ID}__rlock__-000000007"), b"", &persistent),
        ("x__lock__-000000001".to_owned(), b"\xff", &container),
        ("y__lock__-000000001".to_owned(), b"\xff", &for_a_day),
    ] {
        client.create(&format!("{directory}/{node}"), data, mode).await.unwrap();
    }
}

/// Nodes that are named like claims but go with no session are nobody's: they hold nothing, and nobody waits for them;
/// nor does garbage in our own rooms hurt.
#[tokio::test]
async fn nodes_that_only_look_like_claims_neither_hold_nor_stall() {
    let space = unique("furniture");
    let backend = open(&url(server().port(), &space)).await;
    let client = stranger().await;
    for seat in [lock("nightly"), Seat::Leader(name("blue"))] {
        furnish(&client, &space, &seat).await;
        let own = [(); 3].map(|()| claim(&seat));
        let grant = async |claim: &Claim| {
            let turns = async {
                loop {
                    match locks(&backend).claim(claim).await.unwrap() {
                        Standing::Held(grant) => return grant,
                        Standing::Waiting(place) => {
                            if let Turn::Granted(grant) = locks(&backend).turn(claim, &place).await {
                                return grant;
                            }
                        }
                    }
                }
            };
            within("the turn", turns).await
        };
        grant(&own[0]).await;
        let queue = locks(&backend).queue(&seat).await.unwrap();
        assert_eq!((queue.holders.len(), queue.holders[0].claim), (1, Some(own[0].id)), "{queue:?}");
        enqueue(&backend, &own[1]).await;
        release(&backend, &own[0]).await;
        grant(&own[1]).await;
        release(&backend, &own[1]).await;
        assert!(locks(&backend).try_claim(&own[2]).await.unwrap().is_some());
        // Whoever has only looked knows them too.
        let other = open(&url(server().port(), &space)).await;
        assert_eq!(locks(&other).queue(&seat).await.unwrap().holders.len(), 1);
        release(&backend, &own[2]).await;
        assert!(locks(&other).try_claim(&claim(&seat)).await.unwrap().is_some());
    }
    for room in ["leaders", "sessions", "values", "voids"] {
        for node in [ID, "%zz", "\u{e9}"] {
            let path = format!("/{space}/tooz-rs/tooz/{room}/{node}");
            let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
            client.create(&path, &[0xff; 70_000], &persistent).await.unwrap();
        }
    }
    take(&backend, &claim(&lock("beside"))).await;
    assert!(backend.renew(&[], &[]).await.unwrap().stray.len() == 1);
}

/// The same, by the first try of a session that has looked at nothing before: furniture is no holder, and a holder
/// behind furniture is one.
#[tokio::test]
async fn a_first_try_takes_no_furniture_for_a_holder() {
    let space = unique("first-try");
    let holder = open(&url(server().port(), &space)).await;
    let client = stranger().await;
    for seat in [lock("nightly"), Seat::Leader(name("blue"))] {
        furnish(&client, &space, &seat).await;
        for mode in [Mode::Exclusive, Mode::Shared] {
            let fresh = open(&url(server().port(), &space)).await;
            let own = Claim { mode, ..claim(&seat) };
            let grant = locks(&fresh).try_claim(&own).await.unwrap();
            assert!(grant.is_some(), "{mode:?} {seat:?}");

            let held = claim(&seat);
            assert_eq!(locks(&holder).try_claim(&held).await.unwrap(), None, "{mode:?} {seat:?}");
            release(&fresh, &own).await;
            assert!(locks(&holder).try_claim(&held).await.unwrap().is_some(), "{mode:?} {seat:?}");
            let other = open(&url(server().port(), &space)).await;
            let tried = Claim { mode, ..claim(&seat) };
            assert_eq!(locks(&other).try_claim(&tried).await.unwrap(), None, "{mode:?} {seat:?}");
            release(&holder, &held).await;
        }
    }
}

/// Breaking a lock hits its holder, and not what only looks like one, by a session that has looked at nothing before.
#[tokio::test]
async fn an_eviction_hits_the_holder_and_no_furniture() {
    let space = unique("evict");
    let holder = open(&url(server().port(), &space)).await;
    let client = stranger().await;
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let directory = format!("/{space}/tooz/locks/nightly");
    let furniture = ["__lock__0000000000", "__rlock__-000000001"]
        .map(|tail| format!("{directory}/{}{tail}", "0123456789abcdef".repeat(2)));
    client.mkdir(&directory, &persistent).await.unwrap();
    for path in &furniture {
        client.create(path, b"ghost", &persistent).await.unwrap();
    }
    let held = claim(&lock("nightly"));
    assert!(locks(&holder).try_claim(&held).await.unwrap().is_some());
    for how in [Eviction::Notice, Eviction::Force] {
        let fresh = open(&url(server().port(), &space)).await;
        assert_eq!(locks(&fresh).evict(&held.seat, how, &[]).await.unwrap(), [held.id], "{how:?}");
    }
    within("the holder is told", locks(&holder).ousted(&held)).await;
    for path in &furniture {
        let (_, stat) = client.get_data(path).await.unwrap();
        assert_eq!(stat.version, 0, "{path} was written to");
    }
}

/// Interleaving 29: everything of ours carries a version.
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
