//! Letting go of old messages.

use std::time::Duration;

use tooz_core::backend::Retention;

use super::steps_topics::{count, numbers, topic};
use crate::{World, eventually};

const HOUR: Duration = Duration::from_secs(3600);

/// The newest so many stay, the others are gone, and the number of those is told.
pub(super) async fn the_newest_are_retained_by_count(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let channel = topic("config");
    let offsets = count(&a, &channel, 25).await;
    let retention = Retention { count: 10, age: HOUR };
    assert_eq!(a.topics().trim(&channel, retention).await.unwrap(), 15);
    assert_eq!(a.topics().trim(&channel, retention).await.unwrap(), 0);
    for session in [&a, &b] {
        let batch = session.fetch(&channel, None).await;
        assert_eq!(numbers(&batch), Vec::from_iter(16..=25));
        // Who stood among those that are gone gets the rest, and sees the gap by the numbers.
        assert_eq!(session.fetch(&channel, Some(offsets[3])).await.messages, batch.messages);
        assert_eq!(numbers(&session.fetch(&channel, Some(offsets[19])).await), Vec::from_iter(21..=25));
    }
}

/// What is older than asked for is gone.
pub(super) async fn the_old_are_let_go_of_by_age(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    count(&a, &channel, 5).await;
    let mut gone = 0;
    eventually("let go of old messages", async || {
        let retention = Retention { count: 1000, age: Duration::from_millis(100) };
        gone += a.topics().trim(&channel, retention).await.unwrap();
        if gone == 5 { Ok(()) } else { Err(format!("{gone} are gone")) }
    })
    .await;
    assert!(a.fetch(&channel, None).await.messages.is_empty());
}

/// Neither few nor young messages are let go of.
pub(super) async fn what_is_within_the_retention_stays(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    count(&a, &channel, 10).await;
    for retained in [10, 11, 10_000] {
        let retention = Retention { count: retained, age: HOUR };
        assert_eq!(a.topics().trim(&channel, retention).await.unwrap(), 0);
    }
    assert_eq!(numbers(&a.fetch(&channel, None).await), Vec::from_iter(1..=10));
}

/// With every message gone the channel still knows its count, for old and new subscribers.
pub(super) async fn numbers_go_on_after_everything_is_gone(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let channel = topic("config");
    let offsets = count(&a, &channel, 7).await;
    assert_eq!(a.topics().trim(&channel, Retention { count: 0, age: HOUR }).await.unwrap(), 7);
    for after in [None, Some(offsets[2]), Some(offsets[6])] {
        let batch = b.fetch(&channel, after).await;
        assert_eq!((batch.last, batch.messages.len()), (Some(offsets[6]), 0));
    }
    let next = b.say(&channel, "next").await;
    assert_eq!((next.number(), next.incarnation()), (8, offsets[0].incarnation()));
    assert_eq!(numbers(&a.fetch(&channel, Some(offsets[2])).await), [8]);
}

/// A late copy of a message that was let go of adds nothing.
pub(super) async fn a_copy_of_a_trimmed_message_does_not_bring_it_back(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    let publication = a.message(&channel, "gone");
    let first = a.publish(&publication).await;
    count(&a, &channel, 5).await;
    assert_eq!(a.topics().trim(&channel, Retention { count: 3, age: HOUR }).await.unwrap(), 3);
    assert_eq!(a.publish(&publication).await.number(), first.number());
    assert_eq!(numbers(&a.fetch(&channel, None).await), [4, 5, 6]);
}
