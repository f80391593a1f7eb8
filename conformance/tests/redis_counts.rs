//! What Redis is asked for: counted on the wire and in the server, not timed.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod redis_server;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use conformance::proxy::{Counts, Proxy};
use conformance::servers::Redis;
use conformance::{Session, within};
use futures_util::future::join_all;
use redis_server::{lock, name, session_at};
use tooz_core::Claim;
use tooz_core::backend::{Doubt, Turn};

const LONG: Duration = Duration::from_secs(30);

/// Says a figure past the capture of the test runner.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "redis: {line}");
}

/// A server behind a proxy that counts.
struct Counted {
    redis: Redis,
    proxy: Proxy,
}

impl Counted {
    fn new() -> Self {
        let redis = Redis::start();
        let proxy = Proxy::redis(redis.port());
        Self { redis, proxy }
    }

    async fn session(&self, member: &str) -> Session {
        session_at(&format!("redis://{}", self.proxy.address()), member, LONG).await
    }

    /// What passes while `work` goes on.
    async fn during<T>(&self, work: impl Future<Output = T>) -> (T, Counts) {
        let before = self.proxy.counts();
        let done = work.await;
        (done, self.proxy.counts().since(&before))
    }

    /// How often each command but the scripts themselves was carried out so far.
    fn operations(&self) -> u64 {
        let calls: BTreeMap<_, _> = self.redis.calls();
        let outer = ["evalsha", "eval", "info", "script|load"];
        calls.iter().filter(|(name, _)| !outer.contains(&name.as_str())).map(|(_, calls)| calls).sum()
    }
}

/// Teaches the server the scripts, which costs one more request each time a script is new.
async fn warm(a: &Session, b: &Session) {
    let (first, second) = (a.claim_on(&lock("warm")), b.claim_on(&lock("warm")));
    a.take(&first).await;
    b.attempt(&b.claim_on(&lock("warm"))).await;
    b.enqueue(&second).await;
    a.give_back(&first).await;
    b.hold(&second).await;
    b.give_back(&second).await;
}

fn assert_one(counts: &Counts, what: &str) {
    assert_eq!((counts.requests, counts.command("EVALSHA"), counts.trips), (1, 1, 1), "{what}: {counts:?}");
}

#[tokio::test]
async fn every_step_of_a_lock_is_one_script() {
    let counted = Counted::new();
    let (a, b) = (counted.session("a").await, counted.session("b").await);
    warm(&a, &b).await;
    let seat = lock("nightly");
    let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));

    let (_, acquire) = counted.during(a.take(&first)).await;
    assert_one(&acquire, "acquire");
    let before = counted.redis.command(&["DEBUG", "DIGEST"]).text();
    let other = b.claim_on(&seat);
    let (busy, attempt) = counted.during(b.attempt(&other)).await;
    assert_one(&attempt, "failed try");
    assert_eq!(busy, None);
    assert_eq!(counted.redis.command(&["DEBUG", "DIGEST"]).text(), before, "a failed try wrote something");
    let (position, queue) = counted.during(b.enqueue(&second)).await;
    assert_one(&queue, "queue");

    // The waiter hears of its grant: nobody asks for anything after the event.
    let (granted, hand_over) = counted
        .during(async {
            let (turn, ()) =
                tokio::join!(within("turn", b.locks().turn(&second, &position)), a.give_back(&first));
            turn
        })
        .await;
    assert!(matches!(granted, Turn::Granted(_)), "{granted:?}");
    assert_one(&hand_over, "release with a hand-over");
    let ((), release) = counted.during(b.give_back(&second)).await;
    assert_one(&release, "release");
    say("requests: acquire 1, failed try 1 (no write), queue 1, release 1, after a hand-over 0");
}

#[tokio::test]
async fn a_beat_of_a_thousand_locks_and_a_hundred_memberships_is_one_round_trip() {
    let counted = Counted::new();
    let a = counted.session("a").await;
    let claims: Vec<Claim> = (0..1000).map(|i| a.claim_on(&lock(&format!("l{i}")))).collect();
    join_all(claims.iter().map(|claim| a.take(claim))).await;
    let mut enrolments = Vec::new();
    for i in 0..100 {
        let group = name(&format!("g{i}"));
        a.groups().create(&group).await.unwrap();
        enrolments.push(a.enrolment(&group, b"\xc0"));
        a.groups().join(&enrolments[i]).await.unwrap();
    }
    a.backend.renew(&claims, &enrolments).await.unwrap();
    counted.proxy.delay(Duration::from_millis(20));
    let (renewal, beat) = counted.during(a.backend.renew(&claims, &enrolments)).await;
    let renewal = renewal.unwrap();
    assert_eq!((renewal.ousted.len(), renewal.expelled.len()), (0, 0));
    assert_eq!(beat.trips, 1, "{beat:?}");
    say(&format!(
        "a beat of 1,000 locks and 100 memberships: {} trip, {} requests",
        beat.trips, beat.requests
    ));
    counted.proxy.delay(Duration::ZERO);
    a.closed().await;
}

#[tokio::test]
async fn a_hand_over_costs_the_same_however_many_wait() {
    let mut costs = Vec::new();
    for waiters in [1_usize, 100, 10_000] {
        let counted = Counted::new();
        let (a, b) = (counted.session("a").await, counted.session("b").await);
        warm(&a, &b).await;
        let seat = lock("nightly");
        let first = a.claim_on(&seat);
        a.take(&first).await;
        let claims: Vec<Claim> = (0..waiters).map(|_| b.claim_on(&seat)).collect();
        for chunk in claims.chunks(500) {
            join_all(chunk.iter().map(|claim| b.enqueue(claim))).await;
        }
        let before = counted.operations();
        a.give_back(&first).await;
        let cost = counted.operations() - before;
        say(&format!("{waiters} waiters: a hand-over is {cost} operations in the server"));
        costs.push(cost);
        if waiters > 100 {
            b.closed().await;
        } else {
            for claim in &claims {
                b.locks().withdraw(claim, Doubt::None).await.unwrap();
            }
        }
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
}
