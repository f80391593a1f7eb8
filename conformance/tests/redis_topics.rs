//! Topics on a Redis server: what they cost, and what others can do to them.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

mod redis_server;

use std::time::Duration;

use conformance::proxy::Proxy;
use conformance::servers::Redis;
use conformance::{Session, within};
use redis_server::{name, session_at};
use tooz_core::backend::{Limit, Retention};
use tooz_core::{Channel, Coordinator, Delivery, Effect, ErrorKind, From, Registry, Subscription};

const LOG: &str = "tooz-rs:_tooz:topic:config";
/// Long enough that no beat falls into what is counted.
const LONG: Duration = Duration::from_secs(600);

async fn session(redis: &Redis, member: &str) -> Session {
    session_at(&redis.url(), member, LONG).await
}

fn config() -> Channel {
    Channel::Topic(name("config"))
}

fn side(log: &str, what: &str) -> String {
    format!("{{{log}}}:{what}")
}

async fn connect(url: &str, member: &str) -> Coordinator {
    let registry = Registry::new().with(tooz_redis::RedisDriver::new());
    registry.builder(url).member(member).ttl(LONG).connect().await.unwrap()
}

async fn next(reading: &mut Subscription) -> String {
    match within("a delivery", reading.next()).await.unwrap() {
        Delivery::Message(message) => String::from_utf8(message.payload.to_vec()).unwrap(),
        Delivery::Lagged { missed } => format!("missed {missed}"),
        Delivery::Reset => "reset".to_owned(),
    }
}

async fn is_quiet(reading: &mut Subscription) -> bool {
    tokio::time::timeout(Duration::from_millis(50), reading.next()).await.is_err()
}

#[tokio::test]
async fn a_publish_is_one_script_and_who_listens_sends_nothing_until_a_push() {
    let redis = Redis::start();
    let (says, hears) = (Proxy::redis(redis.port()), Proxy::redis(redis.port()));
    let a = connect(&format!("redis://{}", says.address()), "a").await;
    let b = connect(&format!("redis://{}", hears.address()), "b").await;
    let topic = a.topic("config");
    topic.publish("first").await.unwrap();
    let mut all = Vec::new();
    for _ in 0..10 {
        let mut reading = b.topic("config").subscribe(From::Beginning).await.unwrap();
        assert_eq!(next(&mut reading).await, "first");
        assert!(is_quiet(&mut reading).await);
        all.push(reading);
    }

    let before = (says.counts(), hears.counts());
    topic.publish("second").await.unwrap();
    let said = says.counts().since(&before.0);
    assert_eq!((said.requests, said.trips, said.command("EVALSHA")), (1, 1, 1), "{said:?}");
    for reading in &mut all {
        assert_eq!(next(reading).await, "second");
        assert!(is_quiet(reading).await);
    }
    let heard = hears.counts().since(&before.1);
    assert_eq!((heard.requests, heard.command("EVALSHA")), (10, 10), "each fetches once: {heard:?}");
    assert_eq!(heard.pushes, 1, "one push serves all: {heard:?}");

    let before = hears.counts();
    for reading in &mut all {
        assert!(is_quiet(reading).await);
    }
    assert_eq!(hears.counts().since(&before).requests, 0, "an idle subscriber asks");
}

#[tokio::test]
async fn foreign_entries_are_left_out_and_take_no_number() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    for number in 0..40_u64 {
        assert_eq!(a.say(&config(), number.to_string()).await.number(), number + 1);
        for alien in [&["x", "y"][..], &["h", "1x", "b", ""], &["h", "2 1", "b", "", "c", ""]] {
            redis.command(&[&["XADD", LOG, "*"], alien].concat());
        }
    }
    let batch = a.fetch(&config(), None).await;
    let numbers: Vec<u64> = batch.messages.iter().map(|message| message.offset.number()).collect();
    assert_eq!(numbers, Vec::from_iter(1..=40));
    let after = batch.messages[19].offset;
    assert_eq!(a.fetch(&config(), Some(after)).await.messages, batch.messages[20..]);
}

/// So many entries of so many bytes that are none of ours.
fn fill(redis: &Redis, count: u32, bytes: u32) {
    let text = "for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'x', string.rep('y', ARGV[2])) end";
    redis.command(&["EVAL", text, "1", LOG, &count.to_string(), &bytes.to_string()]);
}

fn calls(redis: &Redis, what: &str) -> u64 {
    let stats = redis.command(&["INFO", "commandstats"]).text().to_owned();
    let of_it = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{what}:calls=")));
    of_it.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
}

/// A fetch walks over what others wrote in bites, so that it does not hold the server up.
#[tokio::test]
async fn no_script_walks_far_however_many_foreign_entries_there_are() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let first = a.say(&config(), "first").await;
    fill(&redis, 20_000, 1);
    let second = a.say(&config(), "second").await;
    fill(&redis, 60, 500_000);
    a.say(&config(), "third").await;

    for (after, found, bites) in [
        (None, vec!["first"], 1..2),
        (Some(first), vec!["second"], 9..20),
        (Some(second), vec!["third"], 6..16),
    ] {
        let before = [calls(&redis, "xrange"), calls(&redis, "evalsha")];
        let batch = a.fetch(&config(), after).await;
        let bodies: Vec<_> = batch.messages.iter().map(|message| message.payload.clone()).collect();
        assert_eq!((bodies, batch.last.unwrap().number()), (found.into_iter().map(Into::into).collect(), 3));
        let [looks, scripts] = [calls(&redis, "xrange") - before[0], calls(&redis, "evalsha") - before[1]];
        assert!(bites.contains(&scripts), "{scripts} scripts after {after:?}");
        assert!(looks <= scripts * 200, "{looks} looks in {scripts} scripts");
    }
    let subscriber = connect(&redis.url(), "b").await;
    let mut reading = subscriber.topic("config").subscribe(From::Beginning).await.unwrap();
    for wanted in ["first", "second", "third"] {
        assert_eq!(next(&mut reading).await, wanted);
    }
}

/// What has the shape of a message and is none takes no room from those behind it: an empty batch says that there is
/// nothing more.
#[tokio::test]
async fn entries_that_only_look_like_messages_hide_none() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let first = a.say(&config(), "first").await;
    let megabyte = "x".repeat(1024 * 1024);
    let id = "0123456789abcdef".repeat(2);
    let [no_sender, long_sender] = ["", &"s".repeat(300)].map(|sender| format!("15 {id}{sender}"));
    let no_number = format!("199999999999999999999 {id}a");
    for head in ["15 abc", &no_sender, &long_sender, &no_number, "15 0123-456789abcdef0123456789abcdef-"] {
        redis.command(&["XADD", LOG, "*", "h", head, "b", &megabyte]);
    }
    a.say(&config(), "second").await;
    let limit = Limit { messages: 512, bytes: 1024 * 1024 };
    let batch = a.topics().fetch(&config(), Some(first), limit).await.unwrap();
    let bodies: Vec<_> = batch.messages.iter().map(|message| message.payload.clone()).collect();
    assert_eq!((bodies, batch.last.unwrap().number()), (vec!["second".into()], 2));
}

/// What nobody can walk over is an error that says what to do, and neither a gap nor a wait without end.
#[tokio::test]
async fn too_many_foreign_entries_are_an_error_until_somebody_removes_them() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let first = a.say(&config(), "first").await;
    fill(&redis, 70_000, 1);
    a.say(&config(), "second").await;
    let limit = Limit { messages: 9, bytes: 9 };
    let refused = a.topics().fetch(&config(), Some(first), limit).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Corrupt, Effect::None));
    assert!(refused.to_string().contains("XTRIM"), "{refused}");

    redis.command(&["XTRIM", LOG, "MAXLEN", "=", "1"]);
    assert_eq!(a.fetch(&config(), Some(first)).await.messages[0].payload, "second");
}

/// Whoever brings the stream to its last id leaves no room to append: the topic begins anew, and says so.
#[tokio::test]
async fn a_stream_that_somebody_used_up_begins_anew() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    for last in ["18446744073709551615-18446744073709551615", "18446744073709551614-7", "99999999999999999-0"]
    {
        let before = a.say(&config(), "before").await;
        redis.command(&["XADD", LOG, last, "x", "y"]);
        let after = a.say(&config(), "after").await;
        assert_ne!(after.incarnation(), before.incarnation(), "{last}");
        assert_eq!(after.number(), 1, "{last}");
        assert!(a.fetch(&config(), Some(before)).await.anew, "{last}");
        redis.command(&["FLUSHALL"]);
    }
}

/// What stands far ahead of all clocks does not make anybody think that there is time enough.
#[tokio::test]
async fn a_topic_in_use_does_not_end_because_of_an_entry_from_the_future() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let first = a.say(&config(), "first").await;
    redis.command(&["XADD", LOG, "4398046500000-0", "x", "y"]);
    a.say(&config(), "second").await;
    let keys = [LOG.to_owned(), side(LOG, "log"), side(LOG, "ids:1")];
    let nearly_over = || keys.iter().for_each(|key| drop(redis.command(&["PEXPIRE", key, "60000"])));
    let hours = |key: &String| redis.command(&["PTTL", key]).number().unwrap() / 3_600_000;

    nearly_over();
    assert_eq!(a.say(&config(), "third").await.incarnation(), first.incarnation());
    assert!(keys.iter().all(|key| hours(key) >= 12), "{:?}", keys.each_ref().map(hours));

    nearly_over();
    let week = Retention { count: 10, age: Duration::from_secs(7 * 24 * 3600) };
    a.topics().trim(&config(), week).await.unwrap();
    assert!(keys.iter().all(|key| hours(key) >= 7 * 24 + 12), "{:?}", keys.each_ref().map(hours));
}

#[tokio::test]
async fn messages_within_one_millisecond_run_over_into_the_next() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let first = a.say(&config(), "first").await;
    // As if the clock had stood still for as many messages as a millisecond has room for.
    let full = "4398046511103-1048574";
    redis.command(&["XADD", LOG, full, "h", &format!("12 {}a", "0".repeat(32)), "b", "full"]);
    redis.command(&["HSET", &side(LOG, "log"), "n", "2", "l", full]);
    let last_of_it = a.say(&config(), "last").await;
    assert_eq!((last_of_it.number(), last_of_it.incarnation()), (3, first.incarnation()));
    let next = a.say(&config(), "next").await;
    assert_eq!((next.number(), next.incarnation()), (4, first.incarnation()));
    assert_eq!(a.fetch(&config(), None).await.messages.len(), 4);
}

#[tokio::test]
async fn a_lost_topic_is_a_reset_whichever_half_was_lost() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let subscriber = connect(&redis.url(), "b").await;
    let mut reading = subscriber.topic("config").subscribe(From::Beginning).await.unwrap();
    let log = side(LOG, "log");
    for lost in [vec!["FLUSHALL"], vec!["DEL", LOG], vec!["DEL", log.as_str()]] {
        let before = a.say(&config(), "before").await;
        assert_eq!(next(&mut reading).await, "before");
        redis.command(&lost);
        assert!(a.fetch(&config(), Some(before)).await.anew, "{lost:?}");
        a.say(&config(), "after").await;
        assert_eq!(
            (next(&mut reading).await, next(&mut reading).await),
            ("reset".into(), "after".into()),
            "{lost:?}"
        );
    }
}

#[tokio::test]
async fn what_the_server_refuses_is_an_error_and_no_message() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    a.say(&config(), "first").await;
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = a.topics().publish(&a.message(&config(), "full")).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Exhausted, Effect::None), "{refused}");
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(a.say(&config(), "second").await.number(), 2);

    redis.command(&["DEL", LOG, &side(LOG, "log")]);
    for (key, what) in [(LOG.to_owned(), "stream"), (side(LOG, "log"), "hash")] {
        redis.command(&["SET", &key, "x"]);
        let refused = a.topics().publish(&a.message(&config(), "x")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{what}: {refused}");
        assert_eq!(redis.command(&["GET", &key]).text(), "x", "{what}");
        redis.command(&["DEL", &key]);
    }
    redis.command(&["HSET", &side(LOG, "log"), "v", "2"]);
    let newer = a.topics().publish(&a.message(&config(), "x")).await.unwrap_err();
    assert!(newer.to_string().contains("newer version"), "{newer}");
}

/// The older half of the ids goes only when none of its messages is retained and its time is up; whatever is known
/// is known in either half.
#[tokio::test]
async fn ids_are_known_in_both_halves_and_forgotten_by_halves() {
    let redis = Redis::start();
    let a = session(&redis, "a").await;
    let (log, one, two) = (side(LOG, "log"), side(LOG, "ids:1"), side(LOG, "ids:2"));
    let first = a.message(&config(), "first");
    let offset = a.publish(&first).await;
    let none = Retention { count: 0, age: Duration::from_secs(3600) };
    let years_ago = |half: &str| redis.command(&["HSET", half, "t", "1"]);

    years_ago(&log);
    assert_eq!(a.topics().trim(&config(), none).await.unwrap(), 1);
    assert_eq!(redis.command(&["EXISTS", &one]).number(), Some(1), "it became the older half only now");
    let second = a.message(&config(), "second");
    let later = a.publish(&second).await;
    assert_eq!(redis.command(&["EXISTS", &two]).number(), Some(1));
    assert_eq!((a.publish(&first).await, a.publish(&second).await), (offset, later));
    assert!(redis.command(&["PTTL", &two]).number() > Some(0), "every key has an end");

    // Its message is retained: the half that knows it stays young, and the older one goes.
    years_ago(&log);
    assert_eq!(a.topics().trim(&config(), Retention { count: 1, ..none }).await.unwrap(), 0);
    assert_eq!(redis.command(&["EXISTS", &one]).number(), Some(0));
    assert_eq!(a.publish(&second).await, later);
    assert_eq!(a.publish(&first).await.number(), 3, "forgotten, so it is a message again");
}
