//! More is waited for through one ZooKeeper session than its client library sets under watch again after a reconnect.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a failed assumption here is a failed test

mod zookeeper_server;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use conformance::proxy::Proxy;
use conformance::{eventually, unique, within};
use futures_util::future::{LocalBoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, poll};
use tooz_core::backend::{Backend, Doubt, Eviction, Limit, Position, RosterFact, Standing, Turn};
use tooz_core::{Channel, Claim, ErrorKind, Seat};
use zookeeper_client::{Acls, Client, CreateMode};

use zookeeper_server::server;
use zookeeper_server::steps::*;
use zookeeper_server::topics::connect;

/// Short, since who has no watch may look as rarely as that.
const SHORT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);

async fn open_short(port: u16, space: &str) -> Arc<dyn Backend> {
    open_for(&url(port, space), SHORT, PATIENCE).await.unwrap().backend
}

/// Claims of locks whose names are as long as may be.
fn long_claims(count: usize) -> Vec<Claim> {
    (0..count).map(|number| claim(&lock(&format!("{number:0>255}")))).collect()
}

async fn take_all(backend: &Arc<dyn Backend>, claims: &[Claim]) {
    join_all(claims.iter().map(|claim| take(backend, claim))).await;
}

/// Whatever was asked before on the connection of this session is answered.
async fn settled(backend: &Arc<dyn Backend>) {
    for _ in 0..3 {
        locks(backend).queue(&lock("other")).await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Breaks the connection and waits until there is another.
async fn reset(proxy: &Proxy) {
    let before = proxy.counts();
    proxy.reset();
    eventually("see another connection", async || match proxy.counts().since(&before).connections {
        0 => Err("none".to_owned()),
        _ => Ok(()),
    })
    .await;
}

/// Beats until one is answered.
async fn beat(backend: &Arc<dyn Backend>, claims: &[Claim]) {
    within("a beat", async {
        loop {
            match backend.renew(claims, &[]).await {
                Ok(renewal) => return assert!(renewal.ousted.is_empty(), "{:?}", renewal.ousted),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        }
    })
    .await;
}

/// The watches of 500 such locks are of more than 128 KiB.
#[tokio::test]
async fn locks_held_are_held_after_a_reconnect_however_many_they_are() {
    for count in [50, 500] {
        let proxy = Proxy::bytes(server().port());
        let space = unique("held");
        let holder = open_short(proxy.port(), &space).await;
        let claims = long_claims(count);
        take_all(&holder, &claims).await;
        let mut holds: FuturesUnordered<_> =
            claims.iter().map(|claim| locks(&holder).ousted(claim)).collect();
        tokio::select! {
            biased;
            _ = holds.next() => panic!("nobody was ousted"),
            () = async {
                settled(&holder).await;
                for _ in 0..3 {
                    reset(&proxy).await;
                    beat(&holder, &claims).await;
                }
            } => {}
        }

        // Who is under watch is told at once, others some time later.
        let other = open_short(server().port(), &space).await;
        let told = [claims.first().unwrap(), claims.last().unwrap()];
        for claim in told {
            let evicted = locks(&other).evict(&claim.seat, Eviction::Notice, &[]).await.unwrap();
            assert_eq!(evicted, [claim.id]);
        }
        for _ in told {
            within("the notice", holds.next()).await;
        }
    }
}

/// So many locks with long names find no room, all together.
const HOARD: usize = 300;
/// What a session asks for a few changes, if it looks at nothing else.
const LITTLE: u64 = 20;

async fn evict(backend: &Arc<dyn Backend>, claim: &Claim, how: Eviction) {
    assert_eq!(locks(backend).evict(&claim.seat, how, &[]).await.unwrap(), [claim.id]);
}

/// They have one watch together, on what others tell the session; of what was before that, the first look tells.
#[tokio::test]
async fn holds_that_find_no_room_hear_what_others_do_at_once_and_ask_nothing_meanwhile() {
    let proxy = Proxy::zookeeper(server().port());
    let space = unique("told");
    let holder = open_short(proxy.port(), &space).await;
    let other = open(&url(server().port(), &space)).await;
    let claims = long_claims(HOARD);
    take_all(&holder, &claims).await;
    let [.., early, noticed, forced, again] = claims.as_slice() else { panic!("more than four") };
    evict(&other, early, Eviction::Notice).await;
    let told = |claim: &Claim| {
        let (holder, claim) = (Arc::clone(&holder), claim.clone());
        async move {
            locks(&holder).ousted(&claim).await;
            claim.id
        }
    };
    let mut holds: FuturesUnordered<_> = claims.iter().map(told).collect();
    assert_eq!(within("the early notice", holds.next()).await, Some(early.id));
    tokio::select! {
        biased;
        _ = holds.next() => panic!("nobody else was ousted"),
        () = settled(&holder) => {}
    }

    let before = proxy.counts();
    for (claim, how) in [(noticed, Eviction::Notice), (forced, Eviction::Force)] {
        let (ousted, ()) =
            within("the others", async { tokio::join!(holds.next(), evict(&other, claim, how)) }).await;
        assert_eq!(ousted, Some(claim.id));
    }
    let asked = proxy.counts().since(&before).requests;
    assert!(asked < LITTLE, "{asked} requests");

    // However many are broken at the same time.
    let many = claims.iter().rev().skip(4).take(40);
    let evicting = many.clone().map(|claim| evict(&other, claim, Eviction::Notice));
    let evicting = async { join_all(evicting).await };
    let told = async { holds.by_ref().take(40).collect::<HashSet<_>>().await };
    let (told, _) = within("many notices", async { tokio::join!(told, evicting) }).await;
    assert_eq!(told, many.map(|claim| claim.id).collect());

    // Notices that somebody removes are kept anew, and whatever was missed is looked for.
    let stranger = stranger().await;
    let directory = format!("/{space}/tooz-rs/tooz/notices");
    let [notices] = stranger.list_children(&directory).await.unwrap().try_into().unwrap();
    stranger.delete(&format!("{directory}/{notices}"), None).await.unwrap();
    let work = async {
        evict(&other, again, Eviction::Notice).await;
    };
    let (ousted, ()) = within("the last notice", async { tokio::join!(holds.next(), work) }).await;
    assert_eq!(ousted, Some(again.id));
}

#[tokio::test]
async fn waits_behind_claims_of_their_own_session_need_no_watch_and_ask_nothing() {
    let proxy = Proxy::zookeeper(server().port());
    let session = open_short(proxy.port(), &unique("own")).await;
    let held = long_claims(HOARD);
    let waiting: Vec<_> = held.iter().map(|held| claim(&held.seat)).collect();
    take_all(&session, &held).await;
    let places = join_all(waiting.iter().map(|claim| enqueue(&session, claim))).await;
    let mut turns: FuturesUnordered<_> =
        waiting.iter().zip(&places).map(|(claim, place)| locks(&session).turn(claim, place)).collect();
    tokio::select! {
        biased;
        _ = turns.next() => panic!("all are held"),
        () = settled(&session) => {}
    }

    let before = proxy.counts();
    for held in [held.first().unwrap(), held.last().unwrap()] {
        let (turn, ()) =
            within("the turn", async { tokio::join!(turns.next(), release(&session, held)) }).await;
        assert!(matches!(turn, Some(Turn::Granted(_))), "{turn:?}");
    }
    let asked = proxy.counts().since(&before).requests;
    assert!(asked < LITTLE, "{asked} requests");
}

/// A session with no room for what is its own, a lock that another session holds, and two claims of that session in its queue,
/// the second behind the first. All names are of one length: none fits into what the others leave.
struct Neighbours {
    space: String,
    seat: Seat,
    holder: Arc<dyn Backend>,
    held: Claim,
    session: Arc<dyn Backend>,
    crowd: Vec<Claim>,
    first: Claim,
    second: Claim,
}

impl Neighbours {
    async fn new(space: &str) -> Self {
        let space = unique(space);
        let holder = open(&url(server().port(), &space)).await;
        let session = open_short(server().port(), &space).await;
        let crowd = long_claims(HOARD);
        take_all(&session, &crowd).await;
        let seat = lock(&"n".repeat(255));
        let (held, first, second) = (claim(&seat), claim(&seat), claim(&seat));
        take(&holder, &held).await;
        Self { space, seat, holder, held, session, crowd, first, second }
    }

    /// Has the second wait while something is done, until its turn comes.
    fn second_waits<'a>(&'a self, done: impl Future<Output = ()> + 'a) -> LocalBoxFuture<'a, ()> {
        Box::pin(async move {
            let place = enqueue(&self.session, &self.second).await;
            let mut holds: FuturesUnordered<_> =
                self.crowd.iter().map(|claim| locks(&self.session).ousted(claim)).collect();
            let mut turn = pin!(locks(&self.session).turn(&self.second, &place));
            tokio::select! {
                biased;
                _ = holds.next() => panic!("nobody was ousted"),
                _ = &mut turn => panic!("another is before it"),
                () = settled(&self.session) => {}
            }
            let (turn, ()) = within("the turn", async { tokio::join!(turn, done) }).await;
            assert!(matches!(turn, Turn::Granted(_)), "{turn:?}");
        })
    }

    async fn remove_first(&self) {
        let stranger = stranger().await;
        let Seat::Lock(name) = &self.seat else { panic!("no lock") };
        let directory = format!("/{}/tooz/locks/{name}", self.space);
        let nodes = stranger.list_children(&directory).await.unwrap();
        let node = nodes.iter().find(|node| node.starts_with(&self.first.id.to_string())).unwrap();
        stranger.delete(&format!("{directory}/{node}"), None).await.unwrap();
    }
}

/// Else each of the two would wait for the other.
#[tokio::test]
async fn a_wait_behind_a_claim_that_was_removed_and_sent_again_goes_on() {
    let they = Neighbours::new("round").await;
    enqueue(&they.session, &they.first).await;
    they.second_waits(async {
        they.remove_first().await;
        enqueue(&they.session, &they.first).await;
        release(&they.holder, &they.held).await;
    })
    .await;
}

/// The beat alone tells of it.
#[tokio::test]
async fn a_wait_behind_a_removed_claim_goes_on_although_nobody_waits_with_that_one() {
    let they = Neighbours::new("unpolled").await;
    enqueue(&they.session, &they.first).await;
    they.second_waits(async {
        they.remove_first().await;
        let claims = [they.first.clone(), they.second.clone()];
        let renewal = they.session.renew(&claims, &[]).await.unwrap();
        assert_eq!(renewal.ousted, [they.first.id]);
        release(&they.holder, &they.held).await;
    })
    .await;
}

/// What was sent is done, whoever hears of it.
#[tokio::test]
async fn a_turn_comes_although_nobody_waits_for_the_withdrawal_before_it() {
    let they = Neighbours::new("left").await;
    enqueue(&they.session, &they.first).await;
    release(&they.holder, &they.held).await;
    let mut left = pin!(locks(&they.session).withdraw(&they.first, Doubt::None));
    they.second_waits(async { assert!(poll!(&mut left).is_pending()) }).await;
}

/// Waits for the turn, claiming again where the wait ended without.
async fn comes_to_hold(backend: &Arc<dyn Backend>, claim: &Claim, mut place: Position) {
    while !matches!(locks(backend).turn(claim, &place).await, Turn::Granted(_)) {
        match locks(backend).claim(claim).await {
            Ok(Standing::Held(_)) => return,
            Ok(Standing::Waiting(next)) => place = next,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
    }
}

/// Each wait has two watches: on who is before it, and on its own node.
#[tokio::test]
async fn turns_come_after_a_reconnect_however_many_are_waited_for() {
    let proxy = Proxy::bytes(server().port());
    let space = unique("turns");
    let holder = open(&url(server().port(), &space)).await;
    let waiter = open_short(proxy.port(), &space).await;
    let (held, waiting) = (long_claims(200), long_claims(200));
    take_all(&holder, &held).await;
    let places = join_all(waiting.iter().map(|claim| enqueue(&waiter, claim))).await;
    let turns = waiting.iter().zip(places).map(|(claim, place)| comes_to_hold(&waiter, claim, place));
    let mut turns = pin!(join_all(turns));
    tokio::select! {
        biased;
        _ = &mut turns => panic!("others hold"),
        () = async {
            settled(&waiter).await;
            reset(&proxy).await;
            beat(&waiter, &waiting).await;
        } => {}
    }
    let released = join_all(held.iter().map(|claim| release(&holder, claim)));
    within("all the turns", async { tokio::join!(turns, released) }).await;
}

/// Turns that are waited for take all the room there is: whatever else is followed is looked at again, with pauses.
#[tokio::test]
async fn changes_are_seen_where_nothing_finds_room_and_without_haste() {
    let proxy = Proxy::zookeeper(server().port());
    let space = unique("no-room");
    let holder = open(&url(server().port(), &space)).await;
    let waiter = open_short(proxy.port(), &space).await;
    let (held, waiting) = (long_claims(200), long_claims(200));
    take_all(&holder, &held).await;
    let places = join_all(waiting.iter().map(|claim| enqueue(&waiter, claim))).await;
    let turns = waiting.iter().zip(places).map(|(claim, place)| comes_to_hold(&waiter, claim, place));
    let mut turns = pin!(join_all(turns));

    let other = connect(&url(server().port(), &space), "other", TTL).await;
    let (blue, nightly, config) = (name("blue"), lock("nightly"), Channel::Topic(name("config")));
    let (groups, topics) = (waiter.groups().unwrap(), waiter.topics().unwrap());
    groups.create(&blue).await.unwrap();
    let followed = async {
        settled(&waiter).await;
        let roster = members(&waiter).await;
        let queue = locks(&waiter).queue(&nightly).await.unwrap();
        let batch = topics.fetch(&config, None, Limit { messages: 1, bytes: 1 }).await.unwrap();
        let news = join_all([
            groups.stirred(&blue, Some(roster.mark)),
            locks(&waiter).stirred(&nightly, queue.mark),
            topics.stirred(&config, batch.mark),
        ]);
        let changes = async {
            settled(&waiter).await;
            let before = proxy.counts();
            let membership = other.group("blue").join(&1).await.unwrap();
            let guard = other.lock("nightly").acquire().await.unwrap();
            other.topic("config").publish("news").await.unwrap();
            (before, membership, guard)
        };
        let (_, (before, _membership, _guard)) = within("news", async { tokio::join!(news, changes) }).await;
        let asked = proxy.counts().since(&before).requests;
        assert!(asked < 1_500, "{asked} requests");
    };
    tokio::select! {
        biased;
        _ = &mut turns => panic!("others hold"),
        () = followed => {}
    }
    other.close().await.unwrap();
}

async fn members(backend: &Arc<dyn Backend>) -> RosterFact {
    backend.groups().unwrap().members(&name("blue")).await.unwrap().expect("the group stays")
}

/// A member that is not under watch, by what the server tells; the last if all are.
fn unwatched(paths: &[String]) -> &String {
    let watched = server().node().ask("wchp").unwrap();
    paths.iter().find(|path| !watched.contains(path.as_str())).or(paths.last()).unwrap()
}

#[tokio::test]
async fn a_group_is_followed_after_a_reconnect_however_many_are_in_it() {
    const CROWD: u64 = 520;
    let proxy = Proxy::zookeeper(server().port());
    let space = unique("crowd");
    let follower = open_short(proxy.port(), &space).await;
    let (groups, blue) = (follower.groups().unwrap(), name("blue"));
    groups.create(&blue).await.unwrap();
    let crowd: Client = stranger().await;
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    let paths: Vec<_> = (0..CROWD).map(|number| format!("/{space}/tooz/blue/{number:0>255}")).collect();
    let joining = paths.iter().map(|path| crowd.create(path, b"\xc0", &ephemeral));
    for joined in joining.collect::<Vec<_>>() {
        joined.await.unwrap();
    }
    let mut roster = members(&follower).await;
    for round in 0..2 {
        let wait = groups.stirred(&blue, Some(roster.mark));
        let change = async {
            // Twice: by then whatever the wait has asked for is answered, and nothing more is asked.
            for _ in 0..2 {
                settled(&follower).await;
            }
            let before = proxy.counts();
            crowd.set_data(unwatched(&paths), &[round], None).await.unwrap();
            before
        };
        let ((), before) = within("news of the group", async { tokio::join!(wait, change) }).await;
        let asked = proxy.counts().since(&before).requests;
        assert!(asked < 2 * CROWD, "{asked} requests to see one change");
        roster = members(&follower).await;
        assert!(roster.members.iter().any(|entry| *entry.capabilities == [round]));

        reset(&proxy).await;
        roster = within("a look after the reconnect", async {
            loop {
                match groups.members(&blue).await {
                    Ok(roster) => return roster.expect("the group stays"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
                }
            }
        })
        .await;
        assert_eq!(roster.members.len(), usize::try_from(CROWD).unwrap());
    }
}
