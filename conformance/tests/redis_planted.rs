//! What others put under our keys on Redis makes nobody a holder and stalls no group.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod redis_server;

use std::time::Duration;

use conformance::servers::Redis;
use conformance::{Session, eventually, within};
use redis_server::{lock, name, session_at};
use tooz_core::ErrorKind;
use tooz_core::backend::{Deleted, Joined, Left};

const LONG: Duration = Duration::from_secs(30);
const SEAT: &str = "{_tooz_nightly_lock}:seat";
const QUEUE: &str = "{_tooz_nightly_lock}:queue";
const READERS: &str = "{_tooz_nightly_lock}:readers";
const GROUP: &str = "_tooz_group:blue";
const SESSIONS: &str = "{_tooz_group:blue}:sessions";
const BEAT: &str = "_tooz_beats:w";
const ID: &str = "0123456789abcdef0123456789abcdef";

/// More members than a look shows, of a version that may keep them alive.
const PLANT_NEWER: &str = "for i = 1, 10001 do
  redis.call('HSET', KEYS[1], i, 'x')
  redis.call('HSET', KEYS[2], i, '2 in another way')
end";

async fn session(redis: &Redis, member: &str) -> Session {
    session_at(&redis.url(), member, LONG).await
}

fn record(mode: char) -> String {
    format!("1{mode}{ID}0000030000003abcvalue")
}

/// What may stand beside a lock without being anybody's claim: each line is what a stranger says to the server.
fn beside_a_lock() -> Vec<Vec<Vec<String>>> {
    let words = |lines: &[&[&str]]| -> Vec<Vec<String>> {
        lines.iter().map(|line| line.iter().map(|word| (*word).to_owned()).collect()).collect()
    };
    let (exclusive, shared) = (record('x'), record('s'));
    let (claim, expiry, hold) = (format!("c:{ID}"), format!("e:{ID}"), format!("h:{ID}"));
    vec![
        // Someone who waits and is not there, with times that are none.
        words(&[&["ZADD", QUEUE, "-5", ID], &["HSET", SEAT, &claim, &exclusive, &expiry, "soon"]]),
        words(&[&["ZADD", QUEUE, "-5", ID], &["HSET", SEAT, &claim, &exclusive]]),
        words(&[
            &["ZADD", QUEUE, "-5", ID],
            &["HSET", SEAT, &claim, &exclusive, &expiry, "-9223372036854775808"],
        ]),
        words(&[&["ZADD", QUEUE, "-inf", ID], &["HSET", SEAT, &claim, "", &expiry, ""]]),
        words(&[
            &["ZADD", QUEUE, "-5", "not an id"],
            &["HSET", SEAT, "c:not an id", &exclusive, "e:not an id", "1"],
        ]),
        words(&[&["ZADD", QUEUE, "-5", ""], &["HSET", SEAT, "c:", "x"]]),
        // Someone who shares and is not there: the main key is not the readers'.
        words(&[&["ZADD", READERS, "inf", ID], &["HSET", SEAT, &claim, &shared, &hold, "9 9500", "r", ID]]),
        words(&[&["ZADD", READERS, "9e15", ID], &["HSET", SEAT, &claim, &shared, &hold, "x y"]]),
        words(&[&["ZADD", READERS, "-inf", "x"]]),
        // A seat that says what is not so.
        words(&[&["HSET", SEAT, "m", ID, "c", &exclusive, "s", "1"]]),
        words(&[&["HSET", SEAT, "m", ID, "c", "garbage", "s", "never", "n", ID]]),
        words(&[&["HSET", SEAT, "f", "x", "g", "x", "a", "x", "q", "x", "w", "x"]]),
        words(&[&["HSET", SEAT, "later", "field", "", ""]]),
    ]
}

#[tokio::test]
async fn what_is_planted_beside_a_lock_makes_no_holder_and_stops_nobody() {
    let redis = Redis::start();
    for (nth, lines) in beside_a_lock().into_iter().enumerate() {
        redis.command(&["FLUSHALL"]);
        let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
        for line in &lines {
            redis.command(&line.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let seat = lock("nightly");

        let holders = within("a look", a.queue(&seat)).await.holders;
        assert_eq!(holders, [], "{nth}: {lines:?} makes a holder");
        let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));
        // A waiter that is not there may come first; it is passed over when its time is up, at once if it has none.
        within(&format!("{nth}: a claim beside {lines:?}"), a.hold(&first)).await;
        let holders = b.queue(&seat).await.holders;
        assert_eq!(holders.iter().map(|holder| holder.claim).collect::<Vec<_>>(), [Some(first.id)], "{nth}");
        b.enqueue(&second).await;
        a.give_back(&first).await;
        within(&format!("{nth}: the next one beside {lines:?}"), b.hold(&second)).await;
        b.give_back(&second).await;
        a.closed().await;
        b.closed().await;
    }
}

#[tokio::test]
async fn what_is_planted_in_a_group_is_no_member_and_stalls_nobody() {
    let redis = Redis::start();
    let plants: &[&[&[&str]]] = &[
        &[&["HSET", GROUP, "ghost", "\u{fffd}"]],
        &[&["HSET", GROUP, "ghost", "x"], &["HSET", SESSIONS, "ghost", "garbage"]],
        &[&["HSET", GROUP, "ghost", "x"], &["HSET", SESSIONS, "ghost", "1"]],
        &[&["HSET", GROUP, "ghost", "x"], &["HSET", SESSIONS, "ghost", "1 x y z"]],
        &[
            &["HSET", GROUP, "ghost", "x"],
            &["HSET", SESSIONS, "ghost", "1 0123456789abcdef0123456789abcdef soon ago"],
        ],
        &[
            &["HSET", GROUP, "ghost", "x"],
            &["HSET", SESSIONS, "ghost", "1 0123456789abcdef0123456789abcdef -9223372036854775808 -1"],
        ],
        // A member of a version to come.
        &[&["HSET", GROUP, "ghost", "x"], &["HSET", SESSIONS, "ghost", "2 in another way"]],
        &[&["HSET", SESSIONS, "", "", "nobody", "1 0123456789abcdef0123456789abcdef 99999999999999 1"]],
        &[&["HSET", GROUP, "", "x"], &["SADD", "_tooz_groups", "", "\u{0}"]],
    ];
    for (nth, lines) in plants.iter().enumerate() {
        redis.command(&["FLUSHALL"]);
        let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
        let blue = name("blue");
        a.groups().create(&blue).await.unwrap();
        a.groups().join(&a.enrolment(&blue, b"\xc0")).await.unwrap();
        for line in *lines {
            redis.command(line);
        }

        let shown = |roster: Option<tooz_core::backend::RosterFact>| -> Vec<String> {
            let mut names: Vec<_> = roster.unwrap().members.iter().map(|it| it.member.to_string()).collect();
            names.sort();
            names
        };
        assert_eq!(shown(b.members(&blue).await), ["a"], "{nth}: {lines:?}");
        b.groups().join(&b.enrolment(&blue, b"\xc0")).await.unwrap();
        let renewal = a.backend.renew(&[], &[a.enrolment(&blue, b"\xc0")]).await.unwrap();
        assert!(renewal.expelled.is_empty(), "{nth}: {lines:?} expels somebody");
        assert_eq!(shown(a.members(&blue).await), ["a", "b"], "{nth}: {lines:?}");
        b.groups().leave(&b.enrolment(&blue, b"\xc0")).await.unwrap();
        assert_eq!(shown(a.members(&blue).await), ["a"], "{nth}: {lines:?}");
        a.closed().await;
        b.closed().await;
    }
}

/// It may be alive: its group is not deleted under it, and nobody takes its name.
#[tokio::test]
async fn a_member_of_a_newer_version_is_left_alone() {
    let redis = Redis::start();
    let (a, ghost) = (session(&redis, "a").await, session(&redis, "ghost").await);
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    let record = "2 in another way";
    redis.command(&["HSET", GROUP, "ghost", "x"]);
    redis.command(&["HSET", SESSIONS, "ghost", record]);

    assert_eq!(within("a deletion", a.groups().delete(&blue)).await.unwrap(), Deleted::NotEmpty);
    let joined = within("a join", ghost.groups().join(&ghost.enrolment(&blue, b"\xc0"))).await;
    let refused = joined.unwrap_err().to_string();
    assert!(refused.contains("newer version (2)"), "{refused}");
    let left = within("a leave", ghost.groups().leave(&ghost.enrolment(&blue, b"\xc0"))).await;
    assert_eq!(left.unwrap(), Left::Absent);
    let renewal = within("a beat", ghost.backend.renew(&[], &[ghost.enrolment(&blue, b"\xc0")])).await;
    assert_eq!(renewal.unwrap().expelled.len(), 1, "whose name another has is told");
    assert_eq!(redis.command(&["HGET", SESSIONS, "ghost"]).text(), record);
    assert_eq!(redis.command(&["HGET", GROUP, "ghost"]).text(), "x");
    a.closed().await;
    ghost.closed().await;
}

fn fields(redis: &Redis, key: &str) -> Vec<String> {
    let mut fields: Vec<_> = redis.command(&["HKEYS", key]).list().iter().map(|field| field.text()).collect();
    fields.sort();
    fields
}

/// Whoever has been dead for long and shows no sign of life is removed by those who look, and nobody else is.
#[tokio::test]
async fn the_long_dead_are_removed_from_a_group_and_nobody_else() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    a.groups().join(&a.enrolment(&blue, b"\xc0")).await.unwrap();
    let now: u64 = redis.command(&["TIME"]).list()[0].text().parse().unwrap();
    // Seven and a half minutes ago and one: five times the time to live are two and a half.
    let over = |ago: u64| format!("1 {ID} {} 1", (now - ago) * 1000);
    let (long, lately) = (over(450), over(60));
    for (member, record, beat) in [
        ("dead", Some(&*long), None),
        ("dead-lately", Some(&*lately), None),
        ("dead-python", None, None),
        ("newer", Some("2 in another way"), None),
        ("python", None, Some("Not dead!")),
        ("pythons-namesake", Some(&*long), Some("Not dead!")),
        ("our-namesake", Some(&*long), Some(ID)),
    ] {
        redis.command(&["HSET", GROUP, member, "x"]);
        record.map(|record| redis.command(&["HSET", SESSIONS, member, record]));
        beat.map(|beat| redis.command(&["SET", &format!("_tooz_beats:{member}"), beat]));
    }
    let roster = a.members(&blue).await.unwrap();
    let mut shown: Vec<_> = roster.members.iter().map(|entry| entry.member.to_string()).collect();
    shown.sort();
    assert_eq!(shown, ["a", "python", "pythons-namesake"]);
    let left = ["__created__", "a", "dead-lately", "newer", "our-namesake", "python", "pythons-namesake"];
    assert_eq!(fields(&redis, GROUP), left);
    assert_eq!(fields(&redis, SESSIONS), ["a", "dead-lately", "newer", "our-namesake", "pythons-namesake"]);
    a.closed().await;
}

/// A record that an earlier session of ours left behind does not make a living Python member ours to replace.
#[tokio::test]
async fn a_living_python_namesake_is_not_replaced_because_of_an_old_record() {
    let redis = Redis::start();
    let w = session(&redis, "w").await;
    let blue = name("blue");
    w.groups().create(&blue).await.unwrap();
    let now: u64 = redis.command(&["TIME"]).list()[0].text().parse().unwrap();
    let over = format!("1 {ID} {} 1", (now - 450) * 1000);
    redis.command(&["HSET", GROUP, "w", "pythons"]);
    redis.command(&["HSET", SESSIONS, "w", &over]);
    redis.command(&["SET", BEAT, "Not dead!", "PX", "60000"]);

    let enrolment = w.enrolment(&blue, b"\xc0");
    assert_eq!(w.groups().join(&enrolment).await.unwrap(), Joined::Taken);
    assert_eq!(redis.command(&["HGET", GROUP, "w"]).text(), "pythons");
    // Once it is dead, its name is free.
    redis.command(&["DEL", BEAT]);
    assert_eq!(w.groups().join(&enrolment).await.unwrap(), Joined::Done);
    assert_ne!(redis.command(&["HGET", GROUP, "w"]).text(), "pythons");
    w.closed().await;
}

/// Who is refused because of a namesake does not keep it alive by trying again.
#[tokio::test]
async fn joins_that_are_refused_keep_no_dead_python_namesake_alive() {
    let redis = Redis::start();
    let w = session(&redis, "w").await;
    let blue = name("blue");
    w.groups().create(&blue).await.unwrap();
    redis.command(&["HSET", GROUP, "w", "pythons"]);
    redis.command(&["SET", BEAT, "Not dead!", "PX", "3000"]);
    let enrolment = w.enrolment(&blue, b"\xc0");
    assert_eq!(w.groups().join(&enrolment).await.unwrap(), Joined::Taken);
    let left = redis.command(&["PTTL", BEAT]).number().unwrap();
    assert!(left <= 3_000, "a refused join made it live for {left} ms");
    eventually("take the name of the dead", async || match w.groups().join(&enrolment).await.unwrap() {
        Joined::Done => Ok(()),
        refused => Err(format!("{refused:?}")),
    })
    .await;
    assert_eq!(redis.command(&["GET", BEAT]).text(), w.id.to_string());
    w.closed().await;
}

/// A namesake in another group is no hindrance; but the member must not go with that one's sign of life.
#[tokio::test]
async fn a_member_beside_a_python_namesake_lives_on_when_that_one_dies() {
    let redis = Redis::start();
    let w = session(&redis, "w").await;
    let blue = name("blue");
    w.groups().create(&blue).await.unwrap();
    redis.command(&["SET", BEAT, "Not dead!", "PX", "3000"]);
    assert_eq!(w.groups().join(&w.enrolment(&blue, b"\xc0")).await.unwrap(), Joined::Done);
    assert!(redis.command(&["PTTL", BEAT]).number() > Some(20_000));
    w.closed().await;
}

/// Python removes members without looking at our records; whoever looks lets go of those, or they would stay for good.
#[tokio::test]
async fn records_of_members_that_python_removed_are_let_go_of() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    a.groups().join(&a.enrolment(&blue, b"\xc0")).await.unwrap();
    let now: u64 = redis.command(&["TIME"]).list()[0].text().parse().unwrap();
    for (member, ago) in [("dead", 450), ("dead-lately", 60)] {
        redis.command(&["HSET", SESSIONS, member, &format!("1 {ID} {} 1", (now - ago) * 1000)]);
    }
    redis.command(&["HSET", SESSIONS, "newer", "2 in another way"]);
    a.members(&blue).await.unwrap();
    assert_eq!(fields(&redis, SESSIONS), ["a", "dead-lately", "newer"]);
    a.closed().await;
}

/// However many died in a group that nobody looked at: the living are shown.
#[tokio::test]
async fn a_group_full_of_the_dead_shows_the_living() {
    let redis = Redis::start();
    let (a, b) = (session(&redis, "a").await, session(&redis, "b").await);
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    let dead: Vec<_> = (0..12_000).map(|number| format!("dead-{number}")).collect();
    for some in dead.chunks(1_000) {
        let mut command = vec!["HSET", GROUP];
        command.extend(some.iter().flat_map(|member| [member.as_str(), "x"]));
        redis.command(&command);
    }
    a.groups().join(&a.enrolment(&blue, b"\xc0")).await.unwrap();
    let roster = within("a look", b.members(&blue)).await.unwrap();
    assert_eq!(roster.members.iter().map(|it| it.member.as_str()).collect::<Vec<_>>(), ["a"]);
    // Each look removes some, until none are left.
    within("the last of the dead", async {
        while fields(&redis, GROUP).len() > 2 {
            b.members(&blue).await.unwrap();
        }
    })
    .await;
    assert_eq!(fields(&redis, GROUP), ["__created__", "a"]);
    a.closed().await;
    b.closed().await;
}

/// Where nobody can be removed a group of too many is an error, and not half of it shown.
#[tokio::test]
async fn a_group_of_too_many_that_may_live_is_an_error() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    redis.command(&["EVAL", PLANT_NEWER, "2", GROUP, SESSIONS]);
    let error = within("a look", a.groups().members(&blue)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("more members than are looked at (10000)"), "{error}");
    a.closed().await;
}
