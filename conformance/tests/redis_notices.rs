//! Holders that are told to let go, or removed: each word is about one grant.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod redis_server;

use std::time::Duration;

use conformance::servers::Redis;
use conformance::{Session, eventually, within};
use futures_util::FutureExt;
use redis_server::{lock, session_at};
use tooz_core::backend::{Eviction, Standing, Turn};

const LONG: Duration = Duration::from_secs(30);

async fn session(redis: &Redis, member: &str) -> Session {
    session_at(&redis.url(), member, LONG).await
}

/// A session that has claimed before, so that its line is open and the script is known: what it asks goes out at once.
async fn warm_session(redis: &Redis, member: &str) -> Session {
    let session = session(redis, member).await;
    session.take(&session.claim_on(&lock("other"))).await;
    session
}

/// Waits until so many hold and wait.
async fn comes_to(session: &Session, holders: usize, waiting: usize) {
    eventually("reach the server", async || {
        let queue = session.queue(&lock("nightly")).await;
        let found = (queue.holders.len(), queue.waiting.len());
        if found == (holders, waiting) { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// Nobody has read yet that the claim holds; that it was broken is not forgotten when they do.
#[tokio::test]
async fn a_break_heard_before_the_grant_is_read_ends_the_hold_at_once() {
    let redis = Redis::start();
    let (a, b) = (warm_session(&redis, "a").await, session(&redis, "b").await);
    let claim = a.claim_on(&lock("nightly"));
    let mut asking = a.locks().claim(&claim);
    assert!((&mut asking).now_or_never().is_none());
    comes_to(&b, 1, 0).await;

    let seat = lock("nightly");
    let (broken, ()) = tokio::join!(b.locks().evict(&seat, Eviction::Force, &[]), a.locks().ousted(&claim));
    assert_eq!(broken.unwrap(), [claim.id]);

    let standing = within("the grant", asking).await.unwrap();
    assert!(matches!(standing, Standing::Held(_)), "{standing:?}");
    within("news of the break", a.locks().ousted(&claim)).await;

    // What is granted anew is not what was broken.
    a.take(&claim).await;
    assert!(a.locks().ousted(&claim).now_or_never().is_none());
}

/// Nor that it waits: handed over and broken before they do, it has nothing to wait for.
#[tokio::test]
async fn a_break_heard_before_the_place_in_the_queue_is_read_ends_the_wait() {
    let redis = Redis::start();
    let (a, b) = (warm_session(&redis, "a").await, session(&redis, "b").await);
    let (held, claim) = (b.claim_on(&lock("nightly")), a.claim_on(&lock("nightly")));
    b.take(&held).await;
    let mut asking = a.locks().claim(&claim);
    assert!((&mut asking).now_or_never().is_none());
    comes_to(&b, 1, 1).await;

    let breaking = async {
        b.give_back(&held).await;
        b.locks().evict(&lock("nightly"), Eviction::Force, &[claim.id]).await.unwrap()
    };
    let (broken, ()) = tokio::join!(breaking, a.locks().ousted(&claim));
    assert_eq!(broken, [claim.id]);

    let Standing::Waiting(position) = within("the place", asking).await.unwrap() else { panic!("it waits") };
    let turn = within("the end of the wait", a.locks().turn(&claim, &position)).await;
    assert_eq!(turn, Turn::AskAgain);
    a.take(&claim).await;
}

/// A notice that comes after a hand-over, and before anybody has read that, is about what was handed over.
#[tokio::test]
async fn a_notice_to_whom_the_seat_was_handed_is_heard_with_the_grant() {
    for shared in [false, true] {
        let redis = Redis::start();
        let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
        let seat = lock("nightly");
        let held = b.claim_on(&seat);
        let claim = if shared { a.shared_on(&seat) } else { a.claim_on(&seat) };
        b.take(&held).await;
        let position = a.enqueue(&claim).await;
        b.give_back(&held).await;
        let told = b.locks().evict(&seat, Eviction::Notice, &[claim.id]).await.unwrap();
        assert_eq!(told, [claim.id]);
        within("the notice", a.locks().ousted(&claim)).await;

        assert_eq!(within("the turn", a.locks().turn(&claim, &position)).await, Turn::AskAgain);
        a.take(&claim).await;

        within("the notice to the guard", a.locks().ousted(&claim)).await;
    }
}

/// Whoever was told to let go, was removed and claimed anew under the same id holds what nobody broke.
#[tokio::test]
async fn a_notice_ends_with_the_grant_it_was_about() {
    for queued in [false, true] {
        let redis = Redis::start();
        let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
        let (seat, claim) = (lock("nightly"), a.claim_on(&lock("nightly")));
        a.take(&claim).await;
        for how in [Eviction::Notice, Eviction::Force] {
            assert_eq!(b.locks().evict(&seat, how, &[]).await.unwrap(), [claim.id]);
        }
        // What was published before other news is heard before them.
        let other = lock("other");
        let mark = a.queue(&other).await.mark;
        b.take(&b.claim_on(&other)).await;
        within("other news", a.locks().stirred(&other, mark)).await;
        if queued {
            let held = b.claim_on(&seat);
            b.take(&held).await;
            a.enqueue(&claim).await;
            b.give_back(&held).await;
        }
        a.take(&claim).await;

        let renewed = a.backend.renew(std::slice::from_ref(&claim), &[]).await.unwrap();
        assert_eq!(renewed.ousted, []);
        assert!(a.locks().ousted(&claim).now_or_never().is_none(), "nobody broke this grant");
    }
}
