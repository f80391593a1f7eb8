//! Races and hostile surroundings that only a real Redis has.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod redis_server;

use std::time::Duration;

use conformance::servers::{Cluster, Redis, redis::Fsync};
use conformance::{Session, eventually, within};
use redis_server::{lock, name, session_at};
use tooz_core::backend::{Deleted, Doubt, Joined, Proof, Standing};
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

/// Python removes whoever shows no life: what one session leaves must not take the members of another with it.
#[tokio::test]
async fn a_sign_of_life_stays_for_the_other_session_of_its_member() {
    let redis = Redis::start();
    let beat = "_tooz_beats:w";
    for first in [0, 1] {
        let mut sessions = vec![session(&redis, "w").await, session(&redis, "w").await];
        for (session, group) in sessions.iter().zip(["green", "blue"]) {
            session.groups().create(&name(group)).await.unwrap();
            let joined = session.groups().join(&session.enrolment(&name(group), b"\xc0")).await;
            assert_eq!(joined.unwrap(), Joined::Done);
        }
        sessions.remove(first).closed().await;
        assert!(left_ms(&redis, beat) > 20_000, "the session that was opened at place {first} closed");
        sessions.remove(0).closed().await;
        redis.command(&["FLUSHALL"]);
    }
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
    redis.command(&["HSET", "_tooz_group:blue", "ghost", "\u{c0}"]);
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
