//! Groups on a ZooKeeper server: what following one costs, and that what is kept between two looks is never told when it
//! is true no more.

#![allow(clippy::print_stdout)] // how many is worth seeing
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed assumption here is a failed test

mod zookeeper_server;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use conformance::proxy::{Counts, Proxy, Way};
use conformance::{eventually, unique, within};
use futures_util::FutureExt;
use tooz_core::ErrorKind;
use tooz_core::backend::{Backend, Deleted, Enrolment, GroupSteps, Joined, Left, RosterFact, Updated};
use tooz_core::{Name, SessionId};
use tooz_zookeeper::ZookeeperDriver;
use zookeeper_client::{Acls, Client, CreateMode};

use zookeeper_server::server;
use zookeeper_server::steps::*;

const CROWD: u64 = 50;

fn blue() -> &'static Name {
    static BLUE: LazyLock<Name> = LazyLock::new(|| name("blue"));
    &BLUE
}

fn groups(backend: &Arc<dyn Backend>) -> &dyn GroupSteps {
    backend.groups().unwrap()
}

fn enrolment(member: &str, session: SessionId, capabilities: &'static [u8]) -> Enrolment {
    Enrolment {
        group: blue().clone(),
        member: name(member),
        session,
        replaces: None,
        capabilities: capabilities.into(),
    }
}

async fn members(backend: &Arc<dyn Backend>) -> RosterFact {
    groups(backend).members(blue()).await.unwrap().expect("the group stays")
}

/// What the look shows of a member.
fn capabilities<'a>(roster: &'a RosterFact, member: &str) -> Option<&'a [u8]> {
    let entry = roster.members.iter().find(|entry| entry.member.as_str() == member);
    entry.map(|entry| entry.capabilities.as_ref())
}

/// Members of another kind, of one session.
async fn crowd(space: &str) -> Client {
    let crowd = stranger().await;
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let paths: Vec<_> = (0..CROWD).map(|number| format!("/{space}/tooz/blue/m{number}")).collect();
    let joining = paths.iter().map(|path| crowd.create(path, b"\xc0", &ephemeral));
    for joined in joining.collect::<Vec<_>>() {
        joined.await.unwrap();
    }
    crowd
}

/// Waits until as many answers have come as were asked for, and so many at least.
async fn answered(proxy: &Proxy, since: &Counts, least: u64) {
    eventually("see everything answered", async || {
        let passed = proxy.counts().since(since);
        let is_done = passed.replies >= least && passed.replies == passed.requests;
        is_done.then_some(()).ok_or_else(|| format!("{passed:?}"))
    })
    .await;
}

/// Whoever is not looked at would seem to have left.
#[tokio::test]
async fn a_group_with_more_members_than_are_looked_at_is_refused() {
    let space = unique("too-many");
    let backend = open(&url(server().port(), &space)).await;
    groups(&backend).create(blue()).await.unwrap();
    let crowd = stranger().await;
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let path = |number: usize| format!("/{space}/tooz/blue/m{number}");
    for first in (0..10_000).step_by(500) {
        let mut joining = crowd.new_multi_writer();
        for number in first..first + 500 {
            joining.add_create(&path(number), b"\xc0", &ephemeral).unwrap();
        }
        joining.commit().await.unwrap();
    }
    // Which is no member.
    crowd.create(&format!("/{space}/tooz/blue/leader"), b"", &ephemeral).await.unwrap();
    assert_eq!(members(&backend).await.members.len(), 10_000);
    crowd.create(&path(10_000), b"\xc0", &ephemeral).await.unwrap();
    let refusal = groups(&backend).members(blue()).await.unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Unsupported, "{refusal}");
    crowd.delete(&path(77), None).await.unwrap();
    assert_eq!(members(&backend).await.members.len(), 10_000);
}

/// However many are in a group: who follows it reads whoever is new or changed, and nobody else.
#[tokio::test]
async fn a_change_among_fifty_members_costs_a_follower_three_requests_at_most() {
    let space = unique("fifty");
    let proxy = Proxy::zookeeper(server().port());
    let follower = open(&url(proxy.port(), &space)).await;
    let (session, member) = open_with(&ZookeeperDriver::new(), &url(server().port(), &space)).await;
    groups(&member).create(blue()).await.unwrap();
    let _crowd = crowd(&space).await;
    let mut roster = members(&follower).await;
    assert_eq!(roster.members.len(), 50);

    // The first wait sets the watches and asks whose the members are, later ones find all that.
    let mut set = CROWD + 2;
    for (what, most) in [("join", 3), ("update", 2), ("leave", 1), ("join", 2), ("leave", 1)] {
        let begun = proxy.counts();
        let wait = groups(&follower).stirred(blue(), Some(roster.mark));
        let change = async {
            answered(&proxy, &begun, set).await;
            assert_eq!(proxy.counts().since(&begun).requests, set, "to begin the wait for a {what}");
            let before = proxy.counts();
            match what {
                "join" => {
                    let joined = groups(&member).join(&enrolment("late", session, b"\x01")).await;
                    assert_eq!(joined.unwrap(), Joined::Done);
                }
                "update" => {
                    let updated = groups(&member).update(&enrolment("late", session, b"\x02")).await;
                    assert_eq!(updated.unwrap(), Updated::Done);
                }
                _ => {
                    let left = groups(&member).leave(&enrolment("late", session, b"")).await;
                    assert_eq!(left.unwrap(), Left::Done);
                }
            }
            before
        };
        let ((), before) = tokio::join!(within("news of the group", wait), change);
        roster = members(&follower).await;
        let expected: Option<&[u8]> = match what {
            "join" => Some(b"\x01"),
            "update" => Some(b"\x02"),
            _ => None,
        };
        assert_eq!(capabilities(&roster, "late"), expected, "after a {what}");
        let passed = proxy.counts().since(&before);
        assert!(passed.requests <= most, "a {what}: {passed:?}");
        println!("requests of a follower for a {what} among 50: {}", passed.requests);
        set = 0;
    }
}

/// A look shows at least what its server has, also while what others changed is still on its way as an event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_during_a_wait_shows_what_was_acknowledged_before() {
    let space = unique("fresh");
    let follower = open(&url(server().port(), &space)).await;
    let (session, member) = open_with(&ZookeeperDriver::new(), &url(server().port(), &space)).await;
    groups(&member).create(blue()).await.unwrap();
    groups(&member).join(&enrolment("a", session, b"\x00")).await.unwrap();
    let roster = members(&follower).await;
    let waiting = {
        let follower = Arc::clone(&follower);
        tokio::spawn(async move {
            let mut roster = roster;
            while roster.members.len() < 2 {
                groups(&follower).stirred(blue(), Some(roster.mark)).await;
                roster = members(&follower).await;
            }
        })
    };
    for round in 0..100 {
        let written: &'static [u8] = if round % 2 == 0 { b"\x01" } else { b"\x02" };
        groups(&member).update(&enrolment("a", session, written)).await.unwrap();
        assert_eq!(capabilities(&members(&follower).await, "a"), Some(written), "round {round}");
        // Gone and back under the same name.
        groups(&member).leave(&enrolment("a", session, written)).await.unwrap();
        groups(&member).join(&enrolment("a", session, b"\x03")).await.unwrap();
        assert_eq!(capabilities(&members(&follower).await, "a"), Some(&b"\x03"[..]), "round {round}");
    }
    groups(&member).join(&enrolment("b", session, b"")).await.unwrap();
    within("the one who waits sees the last change", waiting).await.unwrap();
}

/// What changes while the connection is broken is not slept through, whether somebody came or says something else.
#[tokio::test]
async fn a_change_during_a_reconnect_is_noticed() {
    let space = unique("reconnect");
    let proxy = Proxy::zookeeper(server().port());
    let follower = open(&url(proxy.port(), &space)).await;
    let (session, member) = open_with(&ZookeeperDriver::new(), &url(server().port(), &space)).await;
    groups(&member).create(blue()).await.unwrap();
    groups(&member).join(&enrolment("a", session, b"\x00")).await.unwrap();
    let mut expected: &'static [u8] = b"\x00";
    for written in [b"\x01", b"\x02", b"\x03"] {
        let mut roster = members(&follower).await;
        assert_eq!(capabilities(&roster, "a"), Some(expected));
        let begun = proxy.counts();
        let mut wait = groups(&follower).stirred(blue(), Some(roster.mark));
        assert!(wait.as_mut().now_or_never().is_none());
        tokio::join!(within("news of the group", wait), async {
            // All that the wait sends is answered: after the first time it sends nothing.
            answered(&proxy, &begun, 0).await;
            proxy.refuse();
            proxy.reset();
            groups(&member).update(&enrolment("a", session, written)).await.unwrap();
            proxy.join();
        });
        expected = written;
        // It may wake early, and look before the connection is back.
        within("see the change", async {
            while capabilities(&roster, "a") != Some(expected) {
                if let Ok(Some(now)) = groups(&follower).members(blue()).await {
                    roster = now;
                }
            }
        })
        .await;
    }
}

/// A look that is given up half-way takes the watches of those who wait with it: they are woken.
#[tokio::test]
async fn who_waits_for_a_group_is_woken_where_a_look_came_to_nothing() {
    let space = unique("given-up");
    let proxy = Proxy::zookeeper(server().port());
    let patience = Duration::from_millis(300);
    let follower = open_for(&url(proxy.port(), &space), TTL, patience).await.unwrap().backend;
    groups(&follower).create(blue()).await.unwrap();
    let mark = members(&follower).await.mark;
    let begun = proxy.counts();
    let mut wait = groups(&follower).stirred(blue(), Some(mark));
    assert!(wait.as_mut().now_or_never().is_none());
    tokio::join!(within("the end of the wait", wait), async {
        answered(&proxy, &begun, 1).await;
        proxy.cut(Way::Both);
        let error = groups(&follower).members(blue()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    });
    proxy.join();
}

/// A call may be polled once or twice and then stand still: whoever follows the group goes on without it.
#[tokio::test]
async fn a_look_that_nobody_polls_further_holds_up_no_follower() {
    let space = unique("parked");
    let proxy = Proxy::zookeeper(server().port());
    let follower = open(&url(proxy.port(), &space)).await;
    let (session, member) = open_with(&ZookeeperDriver::new(), &url(server().port(), &space)).await;
    groups(&member).create(blue()).await.unwrap();
    let mut mark = members(&follower).await.mark;
    let mut parked = Vec::new();
    for polls in 1..=2 {
        let begun = proxy.counts();
        let least = u64::from(polls == 1);
        let wait = groups(&follower).stirred(blue(), Some(mark));
        let change = async {
            answered(&proxy, &begun, least).await;
            let early = enrolment(&format!("early-{polls}"), session, b"");
            // One is sent before somebody joins, the others find somebody new.
            if polls > 1 {
                assert_eq!(groups(&member).join(&early).await.unwrap(), Joined::Done);
            }
            for _ in 0..2 {
                let mut look = groups(&follower).members(blue());
                assert!(look.as_mut().now_or_never().is_none());
                for _ in 1..polls {
                    answered(&proxy, &begun, least).await;
                    assert!(look.as_mut().now_or_never().is_none());
                }
                parked.push(look);
            }
            assert_eq!(groups(&member).join(&early).await.unwrap(), Joined::Done);
        };
        tokio::join!(within("news of the group", wait), change);
        let late = format!("late-{polls}");
        let joined = groups(&member).join(&enrolment(&late, session, b"")).await;
        assert_eq!(joined.unwrap(), Joined::Done);
        let roster = members(&follower).await;
        assert_eq!(roster.members.len(), 2 * polls, "{roster:?}");
        mark = roster.mark;
    }
}

/// The old session ends, and a namesake joins, between the look at the old entry and its replacement: the namesake stays.
#[tokio::test]
async fn a_namesake_that_came_after_the_old_session_ended_is_not_replaced() {
    // The old session's owner may push back for some seconds before it is ended.
    for delay in [300, 1_000, 3_000, 3_000, 3_000].map(Duration::from_millis) {
        let (space, driver) = (unique("namesake"), ZookeeperDriver::new());
        let proxy = Proxy::zookeeper(server().port());
        let (old_session, old) = open_with(&driver, &url(server().port(), &space)).await;
        let (session, namesake) = open_with(&driver, &url(server().port(), &space)).await;
        let patience = Duration::from_secs(60);
        let (new_session, new) = open_patiently(&driver, &url(proxy.port(), &space), patience).await;
        groups(&old).create(blue()).await.unwrap();
        groups(&old).join(&enrolment("a", old_session, b"\x00")).await.unwrap();
        proxy.delay(delay);
        let before = proxy.counts();
        let successor = Enrolment { replaces: Some(old_session), ..enrolment("a", new_session, b"\x01") };
        let (replaced, joined) = tokio::join!(groups(&new).join(&successor), async {
            // It has seen the entry and whose it is; now the replacement is on its way.
            eventually("see the entry looked at", async || match proxy.counts().since(&before).replies {
                3.. => Ok(()),
                replies => Err(format!("{replies} replies")),
            })
            .await;
            driver.expire(old_session).await;
            groups(&namesake).join(&enrolment("a", session, b"\x02")).await.unwrap()
        });
        if joined == Joined::Taken {
            continue; // it came too late
        }
        assert_eq!((joined, replaced.unwrap()), (Joined::Done, Joined::Taken));
        assert_eq!(members(&namesake).await.members.first().unwrap().session, Some(session));
        return;
    }
    panic!("vacuous: the namesake came too late each time");
}

/// Who stops following leaves no watch behind, and whoever else follows goes on.
#[tokio::test]
async fn the_last_to_stop_following_leaves_no_watch() {
    let zookeeper = conformance::servers::Zookeeper::start();
    let follower = open(&url(zookeeper.port(), "watches")).await;
    groups(&follower).create(blue()).await.unwrap();
    let crowd = Client::connect(&zookeeper.node().address()).await.unwrap();
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    crowd.create("/watches/tooz/blue/a", b"\xc0", &ephemeral).await.unwrap();
    let mark = members(&follower).await.mark;
    // The server tells of watches on nodes, and not of those on their children.
    let watches = || {
        let text = zookeeper.node().ask("wchs").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Total watches:")).unwrap().to_owned();
        line.trim().parse::<u64>().unwrap()
    };
    let until = async |count: u64| {
        eventually("see the watches", async || match watches() {
            some if some == count => Ok(()),
            other => Err(format!("{other} watches")),
        })
        .await;
    };
    let mut first = groups(&follower).stirred(blue(), Some(mark));
    let mut second = groups(&follower).stirred(blue(), Some(mark));
    let settled = async {
        until(1).await;
        // The server has the watch: after some more answers on the same connection the look has ended that set it.
        for number in 0..3 {
            groups(&follower).create(&name(&format!("other-{number}"))).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = &mut first => panic!("nothing happened"),
        () = &mut second => panic!("nothing happened"),
        () = settled => {}
    }
    drop(first);
    groups(&follower).create(&name("other")).await.unwrap(); // so that whatever was sent has arrived
    assert_eq!(watches(), 1);
    drop(second);
    until(0).await;
}

/// Python remembers that its election's directory was there: one that is gone while the group stays ends its campaigns.
#[tokio::test]
async fn a_refused_deletion_leaves_the_election_of_the_group_alone() {
    let space = unique("refused");
    let (session, backend) = open_with(&ZookeeperDriver::new(), &url(server().port(), &space)).await;
    let other = stranger().await;
    let leader = format!("/{space}/tooz/blue/leader");
    let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let sequential = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    groups(&backend).create(blue()).await.unwrap();
    other.create(&leader, b"", &persistent).await.unwrap();

    // A member, and then a candidate.
    let member = enrolment("a", session, b"");
    groups(&backend).join(&member).await.unwrap();
    assert_eq!(groups(&backend).delete(blue()).await.unwrap(), Deleted::NotEmpty);
    assert!(other.check_stat(&leader).await.unwrap().is_some(), "the election went");
    groups(&backend).leave(&member).await.unwrap();
    let (_, candidate) = other.create(&format!("{leader}/x__lock__"), b"", &sequential).await.unwrap();
    assert_eq!(groups(&backend).delete(blue()).await.unwrap(), Deleted::NotEmpty);

    other.delete(&format!("{leader}/x__lock__{candidate}"), None).await.unwrap();
    assert_eq!(groups(&backend).delete(blue()).await.unwrap(), Deleted::Gone);
    assert_eq!(groups(&backend).delete(blue()).await.unwrap(), Deleted::Missing);
    // The same where nobody ever stood for election.
    groups(&backend).create(blue()).await.unwrap();
    groups(&backend).join(&member).await.unwrap();
    assert_eq!(groups(&backend).delete(blue()).await.unwrap(), Deleted::NotEmpty);
    groups(&backend).leave(&member).await.unwrap();
    assert_eq!(groups(&backend).delete(blue()).await.unwrap(), Deleted::Gone);
}
