//! Races and hostile surroundings that only a real Redis has.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod redis_server;

use std::time::{Duration, Instant};

use conformance::servers::{Cluster, Redis, redis::Fsync};
use conformance::{Session, eventually, within};
use redis_server::{lock, name, session_at};
use tooz_core::backend::{Deleted, Doubt, Eviction, Joined, Proof, Standing, Turn};
use tooz_core::{Claim, ErrorKind, Seat};

const LONG: Duration = Duration::from_secs(30);
const MAIN: &str = "_tooz_nightly_lock";
const SEAT: &str = "{_tooz_nightly_lock}:seat";

async fn session(redis: &Redis, member: &str) -> Session {
    session_at(&redis.url(), member, LONG).await
}

fn left_ms(redis: &Redis, key: &str) -> i64 {
    redis.command(&["PTTL", key]).number().unwrap()
}

/// Interleaving 1: the moment of a proof is before the request that set the key's time to live.
#[tokio::test]
async fn a_grant_is_proved_by_the_step_that_set_its_time_to_live() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let claim = a.claim_on(&lock("nightly"));
    let Proof::Lease { sent, ttl } = a.take(&claim).await.proof else { panic!("no lease") };
    assert!(left_ms(&redis, MAIN) <= 30_000 && ttl == LONG);

    redis.command(&["PEXPIRE", MAIN, "5000"]);
    let Proof::Lease { sent: again, .. } = a.take(&claim).await.proof else { panic!("no lease") };
    assert!(again > sent, "a repeated claim is proved anew …");
    assert!(left_ms(&redis, MAIN) > 25_000, "… because it set the time to live again");
}

/// Interleaving 6: who holds a key that Python broke is told by the next beat.
#[tokio::test]
async fn a_holder_whose_key_was_deleted_is_told_by_the_next_beat() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let (held, other) = (a.claim_on(&lock("nightly")), a.claim_on(&lock("other")));
    a.take(&held).await;
    a.take(&other).await;
    redis.command(&["DEL", MAIN]);
    let renewal = a.backend.renew(&[held.clone(), other], &[]).await.unwrap();
    assert_eq!(renewal.ousted, [held.id]);
    within("news for the holder", a.locks().ousted(&held)).await;
}

/// Interleaving 6: a break by Python does not leave a queue that nobody moves.
#[tokio::test]
async fn a_deleted_key_does_not_leave_a_stuck_queue() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    a.take(&a.claim_on(&lock("nightly"))).await;
    let waiter = b.claim_on(&lock("nightly"));
    let position = b.enqueue(&waiter).await;
    redis.command(&["DEL", MAIN]);

    // The waiter's own beat hands it over; nobody else has to come.
    let beaten = [waiter.clone()];
    let beat = b.backend.renew(&beaten, &[]);
    let (turn, renewal) = tokio::join!(b.locks().turn(&waiter, &position), beat);
    assert_eq!(renewal.unwrap().ousted, []);
    // The push and the beat's answer come on two connections: either may tell first.
    if turn == Turn::AskAgain {
        b.take(&waiter).await;
    }
}

/// Interleaving 13: a hand-over gives the key the waiter's own remaining time, not the releaser's.
#[tokio::test]
async fn a_hand_over_lasts_as_long_as_the_waiter_was_proved_to_live() {
    let redis = Redis::start();
    let a = session_at(&redis.url(), "a", Duration::from_secs(5)).await;
    let b = session_at(&redis.url(), "b", Duration::from_secs(60)).await;
    let (first, second) = (a.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
    a.take(&first).await;
    b.enqueue(&second).await;
    a.give_back(&first).await;
    assert!((50_000..=60_000).contains(&left_ms(&redis, MAIN)), "{}", left_ms(&redis, MAIN));

    let third = a.claim_on(&lock("nightly"));
    a.enqueue(&third).await;
    b.give_back(&second).await;
    assert!((1..=5_000).contains(&left_ms(&redis, MAIN)), "{}", left_ms(&redis, MAIN));
}

/// Interleaving 14: while a foreign client was seen, the key is absent for a moment at least once a second,
/// and nobody of ours takes it meanwhile.
#[tokio::test]
async fn a_stranger_gets_a_moment_in_which_nobody_holds() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let (first, second) = (a.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
    a.take(&first).await;
    b.enqueue(&second).await;
    let now: i64 = redis.command(&["TIME"]).list()[0].number().unwrap() * 1000;
    redis.command(&["HSET", SEAT, "f", &(now + 600_000).to_string(), "a", &(now - 5_000).to_string()]);

    a.give_back(&first).await;
    assert_eq!(redis.command(&["EXISTS", MAIN]).number(), Some(0), "handed over in spite of the stranger");
    assert_eq!(
        a.attempt(&a.claim_on(&lock("nightly"))).await,
        None,
        "a try of ours took the stranger's moment"
    );
    b.hold(&second).await;

    // The next one within the second is handed over at once.
    let third = a.claim_on(&lock("nightly"));
    a.enqueue(&third).await;
    b.give_back(&second).await;
    assert_eq!(redis.command(&["EXISTS", MAIN]).number(), Some(1), "two gaps within a second");
}

/// Interleaving 14, turned off: nobody leaves gaps where no Python client can be.
#[tokio::test]
async fn without_strangers_there_are_no_gaps() {
    let redis = Redis::start();
    let url = format!("{}?foreign=false", redis.url());
    let a = session_at(&url, "a", LONG).await;
    let (first, second) = (a.claim_on(&lock("nightly")), a.claim_on(&lock("nightly")));
    a.take(&first).await;
    a.enqueue(&second).await;
    redis.command(&["HSET", SEAT, "a", "1", "f", "9999999999999"]);
    a.give_back(&first).await;
    assert_eq!(redis.command(&["EXISTS", MAIN]).number(), Some(1));
}

/// A foreign holder publishes nothing when it lets go; the head of the queue hears of the key itself.
#[tokio::test]
async fn a_strangers_silent_release_wakes_the_head_of_the_queue() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let stranger = "0123456789abcdef0123456789abcdef";
    redis.command(&["SET", MAIN, stranger, "PX", "30000"]);
    let claim = a.claim_on(&lock("nightly"));
    let queue = a.queue(&lock("nightly")).await;
    let holder = queue.holders.first().unwrap();
    assert_eq!(holder.claim.map(|claim| claim.to_string()).as_deref(), Some(stranger));
    assert_eq!((&holder.member, holder.token, &holder.value), (&None, None, &None));

    // One question to wait for the key, and one more in case it changed before.
    let first = a.enqueue(&claim).await;
    assert_eq!(within("the watch", a.locks().turn(&claim, &first)).await, Turn::AskAgain);
    let second = a.enqueue(&claim).await;
    let released = async {
        tokio::task::yield_now().await;
        redis.command(&["DEL", MAIN]);
        Instant::now()
    };
    let (turn, released) = tokio::join!(within("the release", a.locks().turn(&claim, &second)), released);
    assert_eq!(turn, Turn::AskAgain);
    a.take(&claim).await;
    assert!(released.elapsed() < Duration::from_millis(150), "{:?}", released.elapsed());
}

/// Interleaving 17: after a broken connection every waiter asks again at once.
#[tokio::test]
async fn a_broken_ear_makes_every_waiter_ask_again() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let (first, second) = (a.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
    a.take(&first).await;
    let position = b.enqueue(&second).await;
    let broken = async {
        tokio::task::yield_now().await;
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    };
    let (turn, ()) = tokio::join!(within("the ear is back", b.locks().turn(&second, &position)), broken);
    assert_eq!(turn, Turn::AskAgain);
    a.give_back(&first).await;
    b.hold(&second).await;
}

/// Interleaving 17: the head of a queue looks again when the holder's time is up, without being told.
#[tokio::test]
async fn the_head_of_a_queue_takes_over_from_a_silent_holder_in_time() {
    let redis = Redis::start();
    let a = session_at(&redis.url(), "a", Duration::from_secs(1)).await;
    let b = session(&redis, "b").await;
    a.take(&a.claim_on(&lock("nightly"))).await;
    let began = Instant::now();
    b.hold(&b.claim_on(&lock("nightly"))).await;
    let waited = began.elapsed();
    assert!(waited < Duration::from_millis(1_250), "{waited:?}");
}

/// Interleaving 19: a reader's beat never shortens the common key, and never touches what is not theirs.
#[tokio::test]
async fn a_readers_beat_never_shortens_the_common_key() {
    let redis = Redis::start();
    let a = session_at(&redis.url(), "a", Duration::from_secs(60)).await;
    let b = session_at(&redis.url(), "b", Duration::from_secs(5)).await;
    let (long, short) = (a.shared_on(&lock("nightly")), b.shared_on(&lock("nightly")));
    a.take(&long).await;
    b.take(&short).await;
    assert_eq!(b.backend.renew(std::slice::from_ref(&short), &[]).await.unwrap().ousted, []);
    assert!(left_ms(&redis, MAIN) > 50_000);

    redis.command(&["SET", MAIN, "0123456789abcdef0123456789abcdef", "PX", "1234"]);
    let renewal = b.backend.renew(std::slice::from_ref(&short), &[]).await.unwrap();
    assert_eq!(renewal.ousted, [short.id]);
    assert!(left_ms(&redis, MAIN) <= 1_234, "a reader prolonged a stranger's key");
}

/// Interleaving 19: readers whose key was broken do not come back with the next readers.
#[tokio::test]
async fn broken_readers_do_not_come_back_with_the_next_ones() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let (old, new) = (a.shared_on(&lock("nightly")), b.shared_on(&lock("nightly")));
    a.take(&old).await;
    redis.command(&["DEL", MAIN]);
    b.take(&new).await;
    let holders: Vec<_> = b.queue(&lock("nightly")).await.holders.iter().map(|holder| holder.claim).collect();
    assert_eq!(holders, [Some(new.id)]);
    assert_eq!(a.backend.renew(std::slice::from_ref(&old), &[]).await.unwrap().ousted, [old.id]);
}

/// Interleaving 21: a namesake's sign of life is only ever made longer, and never taken away.
#[tokio::test]
async fn a_namesakes_sign_of_life_is_left_alone() {
    let redis = Redis::start();
    let beat = "_tooz_beats:a";
    redis.command(&["SET", beat, "Not dead!", "PX", "60000"]);
    let a = session_at(&redis.url(), "a", Duration::from_secs(10)).await;
    a.groups().create(&name("blue")).await.unwrap();
    let enrolment = a.enrolment(&name("blue"), b"\xc0");
    assert_eq!(a.groups().join(&enrolment).await.unwrap(), Joined::Done);
    a.backend.renew(&[], &[enrolment]).await.unwrap();
    assert!(left_ms(&redis, beat) > 50_000);
    a.closed().await;
    assert_eq!(redis.command(&["GET", beat]).text(), "Not dead!");
}

/// A member that Python reaped although it lives is told by the next beat, and joins again.
#[tokio::test]
async fn a_member_that_was_reaped_alive_is_told_and_joins_again() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    a.groups().create(&name("blue")).await.unwrap();
    let enrolment = a.enrolment(&name("blue"), b"\x01");
    a.groups().join(&enrolment).await.unwrap();
    redis.command(&["HDEL", "_tooz_group:blue", "a"]);
    let renewal = a.backend.renew(&[], std::slice::from_ref(&enrolment)).await.unwrap();
    assert_eq!(renewal.expelled, [name("blue")]);
    assert_eq!(a.groups().join(&enrolment).await.unwrap(), Joined::Done);
    assert_eq!(a.members(&name("blue")).await.unwrap().members.len(), 1);
}

/// Dead members do not keep a group; whoever comes while they are looked at does.
#[tokio::test]
async fn a_group_of_dead_members_can_be_deleted() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    a.groups().create(&name("blue")).await.unwrap();
    redis.command(&["HSET", "_tooz_group:blue", "ghost", "\u{c0}"]);
    assert!(a.members(&name("blue")).await.unwrap().members.is_empty());
    redis.command(&["SET", "_tooz_beats:ghost", "Not dead!"]);
    assert_eq!(a.groups().delete(&name("blue")).await.unwrap(), Deleted::NotEmpty);
    redis.command(&["DEL", "_tooz_beats:ghost"]);
    assert_eq!(a.groups().delete(&name("blue")).await.unwrap(), Deleted::Gone);
    assert_eq!(redis.command(&["SMEMBERS", "_tooz_groups"]).list().len(), 0);
}

/// Interleaving 26: our keys are in the slot where a cluster looks for them.
#[tokio::test]
async fn keys_are_in_the_slots_that_a_cluster_counts() {
    let redis = Redis::plan().option("cluster-enabled", "yes").start();
    let slot = |key: &str| redis.command(&["CLUSTER", "KEYSLOT", key]).number().unwrap();
    let plain = Redis::start();
    let a = session(&plain, "a").await;
    for text in ["nightly", "{a}", "{a}b", "a}b{", "{}", "a{}{b}", "a{{b}c", "é}", "x}{y}"] {
        let claim = a.claim_on(&lock(text));
        a.take(&claim).await;
        let keys = plain.command(&["KEYS", "*"]);
        let keys: Vec<_> = keys.list().iter().map(conformance::servers::resp::Value::text).collect();
        let keys = keys.iter().filter(|key| !key.starts_with("tooz-rs:"));
        let slots: std::collections::BTreeSet<_> = keys.clone().map(|key| slot(key)).collect();
        assert!(slots.len() == 1 && keys.clone().count() == 2, "{text}: {:?}", keys.collect::<Vec<_>>());
        a.give_back(&claim).await;
        plain.command(&["DEL", &format!("{{_tooz_{text}_lock}}:seat")]);
        for key in plain.command(&["KEYS", "*:seat"]).list() {
            plain.command(&["DEL", &key.text()]);
        }
    }
}

/// Interleaving 29: what a newer version wrote is refused with a sentence, and left alone.
#[tokio::test]
async fn what_a_newer_version_wrote_is_refused() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    redis.command(&["HSET", SEAT, "v", "2", "t", "7"]);
    let refused = a.locks().claim(&a.claim_on(&lock("nightly"))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.to_string().contains("newer version"), "{refused}");
    assert_eq!(redis.command(&["HGET", SEAT, "v"]).text(), "2");
    assert_eq!(redis.command(&["EXISTS", MAIN]).number(), Some(0));
}

/// Interleaving 32: tokens go on growing after a restart that forgot everything.
#[tokio::test]
async fn tokens_grow_over_a_restart_that_lost_everything() {
    let redis = Redis::start();
    let before = {
        let a = session(&redis, "a").await;
        a.take(&a.claim_on(&lock("nightly"))).await.token
    };
    redis.restart_empty();
    let b = session(&redis, "b").await;
    assert!(b.take(&b.claim_on(&lock("nightly"))).await.token > before);
}

/// Tokens have all their digits, and a last one ahead of the clock only counts up.
#[tokio::test]
async fn tokens_keep_all_their_digits() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    redis.command(&["HSET", SEAT, "v", "1", "t", "8765432109876543"]);
    for wanted in [8_765_432_109_876_544, 8_765_432_109_876_545] {
        let claim = a.claim_on(&lock("nightly"));
        assert_eq!(a.take(&claim).await.token.get(), wanted);
        a.give_back(&claim).await;
    }
    assert_eq!(redis.command(&["HGET", SEAT, "t"]).text(), "8765432109876545");
}

/// A server that kept its data lets sessions, locks and queues go on; scripts it forgot heal themselves.
#[tokio::test]
async fn a_restart_that_kept_everything_is_no_loss() {
    let redis = Redis::plan().append_only(Fsync::Always).start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let (first, second) = (a.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
    let token = a.take(&first).await.token;
    b.enqueue(&second).await;
    redis.kill();
    redis.restart();
    eventually("beat again", async || {
        a.backend.renew(std::slice::from_ref(&first), &[]).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let mut last = None;
    eventually("claim again", async || {
        last = a.locks().claim(&first).await.ok();
        last.as_ref().map(drop).ok_or_else(String::new)
    })
    .await;
    assert!(matches!(last, Some(Standing::Held(grant)) if grant.token == token), "{last:?}");
    eventually("give back", async || {
        a.locks().withdraw(&first, Doubt::None).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    b.hold(&second).await;
}

/// Things of another type under our keys are errors that name the script, never holders, and stay.
#[tokio::test]
async fn things_of_another_type_are_errors_and_never_holders() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    for (key, what) in [(MAIN, "main"), (SEAT, "seat"), ("{_tooz_nightly_lock}:queue", "queue")] {
        redis.command(&["RPUSH", key, "x"]);
        let refused = a.locks().claim(&a.claim_on(&lock("nightly"))).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{what}: {refused}");
        assert_eq!(redis.command(&["TYPE", key]).text(), "list", "{what}");
        redis.command(&["DEL", key]);
    }
    redis.command(&["SET", "_tooz_group:blue", "x"]);
    let refused = a.groups().members(&name("blue")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
}

/// Garbage in the queue, in records and among the members stalls nobody.
#[tokio::test]
async fn garbage_stalls_nobody() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let (first, second) = (a.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
    a.take(&first).await;
    redis.command(&["ZADD", "{_tooz_nightly_lock}:queue", "-5", "garbage"]);
    redis.command(&["HSET", SEAT, "c:garbage", "no record", "e:garbage", "9999999999999"]);
    redis.command(&["ZADD", "{_tooz_nightly_lock}:queue", "-4", "nothing"]);
    b.enqueue(&second).await;
    assert_eq!(b.queue(&lock("nightly")).await.waiting.len(), 1);
    a.give_back(&first).await;
    b.hold(&second).await;

    a.groups().create(&name("blue")).await.unwrap();
    a.groups().join(&a.enrolment(&name("blue"), b"\xc0")).await.unwrap();
    redis.command(&["HSET", "_tooz_group:blue", "", "x"]);
    redis.command(&["HSET", "{_tooz_group:blue}:sessions", "ghost", "garbage"]);
    redis.command(&["SADD", "_tooz_groups", ""]);
    assert_eq!(a.members(&name("blue")).await.unwrap().members.len(), 1);
    assert_eq!(a.groups().list().await.unwrap(), [name("blue")]);
}

/// A seat that cannot be read costs no other its beat.
#[tokio::test]
async fn a_broken_seat_costs_no_other_its_beat() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let (broken, whole) = (a.claim_on(&lock("nightly")), a.claim_on(&lock("other")));
    a.take(&broken).await;
    a.take(&whole).await;
    redis.command(&["DEL", SEAT]);
    redis.command(&["SET", SEAT, "x"]);
    redis.command(&["PEXPIRE", "_tooz_other_lock", "5000"]);
    let renewal = a.backend.renew(&[broken.clone(), whole], &[]).await.unwrap();
    assert_eq!(renewal.ousted, [broken.id]);
    assert!(left_ms(&redis, "_tooz_other_lock") > 25_000);
}

/// A full server refuses, and grants nothing.
#[tokio::test]
async fn a_full_server_grants_nothing() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = a.locks().claim(&a.claim_on(&lock("nightly"))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Exhausted, "{refused}");
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(redis.command(&["EXISTS", MAIN]).number(), Some(0));
}

/// Interleaving 16: without the replicas that were asked for there is no grant, and nothing stays behind.
#[tokio::test]
async fn a_grant_that_too_few_replicas_have_is_taken_back() {
    let redis = Redis::start();
    let url = format!("{}?wait_replicas=1", redis.url());
    let a = session_at(&url, "a", Duration::from_secs(30)).await;
    let refused = a.locks().claim(&a.claim_on(&lock("nightly"))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable, "{refused}");
    assert!(refused.to_string().contains("0 of the 1 replicas"), "{refused}");
    assert_eq!(redis.command(&["EXISTS", MAIN]).number(), Some(0));

    let replica = Redis::plan().replica_of(&redis).start();
    redis.replicated(1);
    let claim = a.claim_on(&lock("nightly"));
    a.take(&claim).await;
    assert_eq!(replica.command(&["GET", MAIN]).text(), claim.id.to_string());
}

/// A foreign holder can be removed by its own id, and only while it holds.
#[tokio::test]
async fn a_stranger_is_removed_by_its_id() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    redis.command(&["SET", MAIN, "0123456789abcdef0123456789abcdef", "PX", "30000"]);
    let stranger = a.queue(&lock("nightly")).await.holders[0].claim.unwrap();
    let evict = async |only: &[tooz_core::ClaimId]| {
        a.locks().evict(&lock("nightly"), Eviction::Force, only).await.unwrap()
    };
    assert_eq!(evict(&[tooz_core::ClaimId::random()]).await, []);
    assert_eq!(evict(&[stranger]).await, [stranger]);
    a.take(&a.claim_on(&lock("nightly"))).await;
    assert_eq!(evict(&[stranger]).await, []);
}

/// No key of ours stays for ever, whatever stands there.
#[tokio::test]
async fn every_key_of_ours_has_an_end() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let seats = [lock("nightly"), lock("{x}y"), Seat::Leader(name("blue"))];
    for seat in &seats {
        a.take(&a.claim_on(seat)).await;
        b.enqueue(&b.claim_on(seat)).await;
        a.locks().withdraw(&a.claim_on(seat), Doubt::MayLand).await.unwrap();
    }
    a.take(&a.shared_on(&lock("shared"))).await;
    let mixed = Claim { value: "v".into(), ..b.shared_on(&lock("shared")) };
    b.take(&mixed).await;
    a.groups().create(&name("blue")).await.unwrap();
    a.groups().join(&a.enrolment(&name("blue"), b"\xc0")).await.unwrap();
    for key in redis.command(&["KEYS", "*"]).list() {
        let key = key.text();
        let is_pythons = key.starts_with("_tooz_group");
        assert_eq!(left_ms(&redis, &key) > 0, !is_pythons, "{key}");
    }
}

/// Locks, queues, shared locks and groups on a cluster, each seat in the slot of its name.
#[tokio::test]
async fn a_cluster_keeps_the_same_promises() {
    let cluster = Cluster::start();
    let url = format!("redis+cluster://{}", cluster.addresses());
    let a = session_at(&url, "a", LONG).await;
    let b = session_at(&url, "b", LONG).await;
    let mut held = Vec::new();
    for text in ["nightly", "{a}", "a}b{", "x", "y", "z"] {
        let (first, second) = (a.claim_on(&lock(text)), b.claim_on(&lock(text)));
        a.take(&first).await;
        b.enqueue(&second).await;
        a.give_back(&first).await;
        b.hold(&second).await;
        held.push(second);
    }
    let renewal = b.backend.renew(&held, &[]).await.unwrap();
    assert_eq!(renewal.ousted, []);
    a.groups().create(&name("blue")).await.unwrap();
    a.groups().join(&a.enrolment(&name("blue"), b"\xc0")).await.unwrap();
    assert_eq!(b.members(&name("blue")).await.unwrap().members.len(), 1);
    b.closed().await;
    for text in ["nightly", "{a}", "a}b{", "x", "y", "z"] {
        a.take(&a.claim_on(&lock(text))).await;
    }
    a.closed().await;
}

/// Interleaving 14: a stranger that came and went within its moment is remembered all the same.
#[tokio::test]
async fn a_stranger_that_came_and_went_in_its_moment_is_remembered() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let (first, second) = (a.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
    a.take(&first).await;
    b.enqueue(&second).await;
    redis.command(&["HSET", SEAT, "a", "1"]);
    a.give_back(&first).await;
    // A longer moment than usual, so that the test need not hurry.
    redis.command(&["HSET", SEAT, "g", "9999999999999"]);
    let watched = b.enqueue(&second).await;
    assert_eq!(within("the watch", b.locks().turn(&second, &watched)).await, Turn::AskAgain);
    let mut waits = b.enqueue(&second).await;
    redis.command(&["SET", MAIN, "0123456789abcdef0123456789abcdef", "PX", "30000"]);
    redis.command(&["DEL", MAIN]);
    eventually("remember the stranger", async || {
        within("news of the key", b.locks().turn(&second, &waits)).await;
        waits = b.enqueue(&second).await;
        let seen = redis.command(&["HEXISTS", SEAT, "f"]).number();
        if seen == Some(1) { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    redis.command(&["HSET", SEAT, "g", "1"]);
    b.take(&second).await;
}

/// Dead waiters that nobody moved past do not hide the living one behind them, and are swept from the end of the
/// queue while it is long.
#[tokio::test]
async fn a_living_waiter_behind_many_dead_ones_gets_the_seat() {
    let redis = Redis::start();
    let url = format!("{}?foreign=false", redis.url());
    let (a, b) = (session_at(&url, "a", LONG).await, session_at(&url, "b", LONG).await);
    let first = a.claim_on(&lock("nightly"));
    a.take(&first).await;
    let dying = b.claim_on(&lock("nightly"));
    b.enqueue(&dying).await;
    let record = redis.command(&["HGET", SEAT, &format!("c:{}", dying.id)]).text();
    redis.command(&["HSET", SEAT, &format!("e:{}", dying.id), "1"]);
    for number in 0..450 {
        let dead = format!("{number:032x}");
        redis.command(&["ZADD", "{_tooz_nightly_lock}:queue", &(number + 1).to_string(), &dead]);
        redis.command(&["HSET", SEAT, &format!("c:{dead}"), &record, &format!("e:{dead}"), "1"]);
    }
    let living = b.claim_on(&lock("nightly"));
    b.enqueue(&living).await;

    a.give_back(&first).await;

    b.take(&living).await;
    assert_eq!(
        redis.command(&["EXISTS", "{_tooz_nightly_lock}:queue"]).number(),
        Some(0),
        "the dead still queue"
    );
}

/// A queue outlives its records, so that none is left that nobody finds.
#[tokio::test]
async fn a_queue_stays_as_long_as_the_records_of_those_who_wait() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    a.take(&a.claim_on(&lock("nightly"))).await;
    b.enqueue(&b.claim_on(&lock("nightly"))).await;
    let (queue, seat) = (left_ms(&redis, "{_tooz_nightly_lock}:queue"), left_ms(&redis, SEAT));
    assert!(queue > 0 && queue >= seat - 5_000, "queue {queue} ms, seat {seat} ms");
}

/// The head of a queue that gives up in the moment left to strangers leaves its part to the next.
#[tokio::test]
async fn a_head_that_gives_up_leaves_its_watch_to_the_next() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let (first, second, third) =
        (a.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
    a.take(&first).await;
    b.enqueue(&second).await;
    let position = b.enqueue(&third).await;
    assert_eq!(position.revisit, None, "behind one of its own session it has no timer");

    b.give_back(&second).await;

    let turn = within("the call to the new head", b.locks().turn(&third, &position)).await;
    assert_eq!(turn, Turn::AskAgain);
    let Standing::Waiting(position) = b.send(&third).await else { panic!("it cannot hold yet") };
    assert!(position.revisit.is_some(), "the head looks again when the holder's time is up");
}

/// A server that is full refuses a beat; it has not taken anything away.
#[tokio::test]
async fn a_beat_that_a_full_server_refuses_ousts_nobody() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let reader = a.shared_on(&lock("nightly"));
    a.take(&reader).await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);

    let refused = a.backend.renew(std::slice::from_ref(&reader), &[]).await.unwrap_err();

    assert_eq!(refused.kind(), ErrorKind::Exhausted, "{refused}");
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(a.backend.renew(&[reader], &[]).await.unwrap().ousted, []);
}

/// Waiting for replicas covers what one connection wrote: confirming a grant always writes.
#[tokio::test]
async fn a_repeated_claim_is_always_a_write() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let (alone, shared) = (a.claim_on(&lock("alone")), a.shared_on(&lock("shared")));
    for claim in [&alone, &shared] {
        a.take(claim).await;
        for _ in 0..20 {
            let before = dirty(&redis);
            a.take(claim).await;
            assert!(dirty(&redis) > before, "the repetition wrote nothing");
        }
    }
}

/// How many changes the server counts.
fn dirty(redis: &Redis) -> u64 {
    let info = redis.command(&["INFO", "persistence"]).text();
    let line = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    line.unwrap().trim().parse().unwrap()
}
