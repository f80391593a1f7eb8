//! Queues that only a real Redis has: with members of other languages among them, dead waiters and broken lines.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod redis_server;

use std::time::{Duration, Instant};

use conformance::proxy::Proxy;
use conformance::servers::Redis;
use conformance::{Session, eventually, within};
use redis_server::{lock, name, session_at};
use tooz_core::backend::{Eviction, Standing, Turn};
use tooz_core::{Claim, Seat};

const LONG: Duration = Duration::from_secs(30);
const MAIN: &str = "_tooz_nightly_lock";
const SEAT: &str = "{_tooz_nightly_lock}:seat";

async fn session(redis: &Redis, member: &str) -> Session {
    session_at(&redis.url(), member, LONG).await
}

fn left_ms(redis: &Redis, key: &str) -> i64 {
    redis.command(&["PTTL", key]).number().unwrap()
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

/// A notice is heard by ours alone. Who does not hear it is removed when its time is over, like whoever does not heed it.
#[tokio::test]
async fn a_stranger_that_no_notice_reaches_is_removed_after_it() {
    let redis = Redis::start();
    let registry = tooz_core::Registry::embedded().with(tooz_redis::RedisDriver::new());
    let coord = registry.builder(redis.url()).member("a").connect().await.unwrap();
    redis.command(&["SET", MAIN, "0123456789abcdef0123456789abcdef", "PX", "30000"]);
    let lock = coord.lock("nightly");
    let stranger = lock.queue().await.unwrap().holders[0].claim.unwrap();
    assert_eq!(lock.evict(Eviction::Notice).await.unwrap(), [stranger]);
    assert!(lock.queue().await.unwrap().holders.is_empty());
    assert_eq!(lock.evict(Eviction::Notice).await.unwrap(), []);
    coord.close().await.unwrap();
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

/// A waiter behind one of its own session has no timer. Whoever stands before it once that one gave up may die without a word.
#[tokio::test]
async fn a_waiter_whose_predecessor_gives_up_watches_the_one_before_that() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let x = session_at(&redis.url(), "x", Duration::from_secs(1)).await;
    let (held, second) = (a.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
    let third = b.claim_on(&lock("nightly"));
    a.take(&held).await;
    x.enqueue(&x.claim_on(&lock("nightly"))).await;
    b.enqueue(&second).await;
    let position = b.enqueue(&third).await;
    assert_eq!(position.revisit, None, "behind one of its own session it has no timer");

    b.give_back(&second).await;
    let turn = within("the call to the next", b.locks().turn(&third, &position)).await;
    assert_eq!(turn, Turn::AskAgain);

    // Now x is granted, and gives no sign of life.
    a.give_back(&held).await;
    let began = Instant::now();
    b.hold(&third).await;
    let waited = began.elapsed();
    assert!(waited < Duration::from_millis(1_250), "{waited:?}");
}

/// Nor has one behind a reader of its own session: the other readers may die without a word.
#[tokio::test]
async fn a_writer_whose_own_reader_lets_go_watches_the_other_readers() {
    for broken in [false, true] {
        let redis = Redis::start();
        let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
        let x = session_at(&redis.url(), "x", Duration::from_secs(1)).await;
        let (held, reader) = (a.claim_on(&lock("nightly")), b.shared_on(&lock("nightly")));
        let writer = b.claim_on(&lock("nightly"));
        a.take(&held).await;
        x.enqueue(&x.shared_on(&lock("nightly"))).await;
        b.enqueue(&reader).await;
        let position = b.enqueue(&writer).await;
        assert_eq!(position.revisit, None, "behind one of its own session it has no timer");
        a.give_back(&held).await;

        if broken {
            let evicted = a.locks().evict(&lock("nightly"), Eviction::Force, &[reader.id]).await.unwrap();
            assert_eq!(evicted, [reader.id]);
        } else {
            b.give_back(&reader).await;
        }

        let began = Instant::now();
        let turn = within("the call to the writer", b.locks().turn(&writer, &position)).await;
        if turn == Turn::AskAgain {
            b.hold(&writer).await;
        }
        let waited = began.elapsed();
        assert!(waited < Duration::from_millis(1_250), "{waited:?}");
    }
}

/// While a stranger holds, whoever lives is the head of the queue, whatever stands before it.
#[tokio::test]
async fn a_dead_waiter_does_not_keep_the_next_from_watching_a_strangers_key() {
    let redis = Redis::start();
    let (b, x) = (session(&redis, "b").await, session(&redis, "x").await);
    redis.command(&["SET", MAIN, "0123456789abcdef0123456789abcdef", "PX", "30000"]);
    let (dying, claim) = (x.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
    x.enqueue(&dying).await;
    b.enqueue(&claim).await;
    redis.command(&["HSET", SEAT, &format!("e:{}", dying.id), "1"]);

    let unwatched = b.enqueue(&claim).await;
    assert_eq!(within("the watch", b.locks().turn(&claim, &unwatched)).await, Turn::AskAgain);
    let watched = b.enqueue(&claim).await;
    let released = async {
        tokio::task::yield_now().await;
        redis.command(&["DEL", MAIN]);
        Instant::now()
    };
    let (turn, released) = tokio::join!(within("the release", b.locks().turn(&claim, &watched)), released);
    assert_eq!(turn, Turn::AskAgain);
    b.take(&claim).await;
    assert!(released.elapsed() < Duration::from_millis(150), "{:?}", released.elapsed());
}

/// Whoever finds the head of the queue dead, asking again or on its way out, tells the new one.
#[tokio::test]
async fn a_head_that_is_found_dead_leaves_its_watch_to_the_next() {
    for leaves in [false, true] {
        let redis = Redis::start();
        let (a, b, x) = (session(&redis, "a").await, session(&redis, "b").await, session(&redis, "x").await);
        redis.command(&["SET", MAIN, "0123456789abcdef0123456789abcdef", "PX", "30000"]);
        let (dying, claim) = (x.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
        let last = a.claim_on(&lock("nightly"));
        x.enqueue(&dying).await;
        let position = b.enqueue(&claim).await;
        a.enqueue(&last).await;
        redis.command(&["HSET", SEAT, &format!("e:{}", dying.id), "1"]);

        if leaves {
            a.give_back(&last).await;
        } else {
            a.enqueue(&last).await;
        }

        let turn = within("the call to the new head", b.locks().turn(&claim, &position)).await;
        assert_eq!(turn, Turn::AskAgain);
    }
}

/// A release in the moment left to strangers hands nothing over: the head is told that nobody holds.
#[tokio::test]
async fn a_release_in_a_strangers_moment_wakes_the_head_of_the_queue() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let (held, claim) = (a.claim_on(&lock("nightly")), b.claim_on(&lock("nightly")));
    a.take(&held).await;
    let position = b.enqueue(&claim).await;
    // A moment that began before somebody of ours came, found no queue and took the seat.
    let now: i64 = redis.command(&["TIME"]).list()[0].number().unwrap() * 1000;
    redis.command(&["HSET", SEAT, "g", &(now + 10_000).to_string()]);

    a.give_back(&held).await;

    let turn = within("the call to the head", b.locks().turn(&claim, &position)).await;
    assert_eq!(turn, Turn::AskAgain);
}

/// What a look tells of those who wait is short, however long their values are.
#[tokio::test]
async fn a_look_at_an_election_does_not_carry_the_candidates_values() {
    let redis = Redis::start();
    let proxy = Proxy::redis(redis.port());
    let a = session_at(&format!("redis://{}", proxy.address()), "a", LONG).await;
    let b = session(&redis, "b").await;
    let seat = Seat::Leader(name("blue"));
    a.take(&a.claim_on(&seat)).await;
    for _ in 0..50 {
        let claim = Claim { value: vec![b'v'; 64 * 1024].into(), ..b.claim_on(&seat) };
        b.enqueue(&claim).await;
    }

    let before = proxy.counts();
    let waiting = a.queue(&seat).await.waiting;
    let bytes = proxy.counts().since(&before).bytes_down;

    assert_eq!(waiting.len(), 50);
    assert!(waiting.iter().all(|contender| contender.member == Some(name("b"))), "{waiting:?}");
    assert!(bytes < 256 * 1024, "{bytes} bytes");
}
