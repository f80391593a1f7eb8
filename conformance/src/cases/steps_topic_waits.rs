//! Waits for messages.

use std::time::Duration;

use tooz_core::backend::Retention;

use super::steps_topics::{count, topic};
use crate::world::name;
use crate::{World, within};

/// A message that came before the wait began ends it, the first of all and later ones.
pub(super) async fn every_message_stirs(world: &World) {
    let (a, reader) = (world.open("a").await, world.open("reader").await);
    let channel = topic("config");
    for _ in 0..3 {
        let seen = reader.fetch(&channel, None).await;
        a.say(&channel, "x").await;
        within("news from before the wait", reader.topics().stirred(&channel, seen.mark)).await;
    }
}

/// A subscriber that waits is woken and sees every message.
pub(super) async fn a_message_wakes_the_subscriber(world: &World) {
    let (a, reader) = (world.open("a").await, world.open("reader").await);
    let channel = topic("config");
    let first = a.say(&channel, "first").await;
    let reading = within("see every message", async {
        let mut after = Some(first);
        loop {
            let batch = reader.fetch(&channel, after).await;
            if batch.last.is_some_and(|last| last.number() == 4) {
                return;
            }
            after = batch.messages.last().map(|message| message.offset).or(after);
            reader.channel_stirred(&channel, &batch).await;
        }
    });
    tokio::join!(reading, async {
        tokio::task::yield_now().await;
        count(&a, &channel, 3).await;
    });
}

/// Who waits for a channel that nobody has published to is woken by the first message.
pub(super) async fn the_first_message_of_all_wakes_the_subscriber(world: &World) {
    let (a, reader) = (world.open("a").await, world.open("reader").await);
    let channel = tooz_core::Channel::Inbox { group: name("blue"), member: name("b") };
    let reading = within("see the first message", async {
        loop {
            let batch = reader.fetch(&channel, None).await;
            if !batch.messages.is_empty() {
                return;
            }
            reader.channel_stirred(&channel, &batch).await;
        }
    });
    tokio::join!(reading, async {
        tokio::task::yield_now().await;
        a.say(&channel, "x").await;
    });
}

/// A wait for messages ends with its own session.
pub(super) async fn a_wait_for_messages_ends_with_the_session(world: &World) {
    let reader = world.open("reader").await;
    for channel in [topic("never"), topic("config")] {
        if channel == topic("config") {
            reader.say(&channel, "x").await;
        }
        let session = world.open("reader").await;
        let seen = session.fetch(&channel, None).await;
        let wait = within("the end of a wait", session.topics().stirred(&channel, seen.mark));
        let ((), closed) = tokio::join!(wait, async {
            tokio::task::yield_now().await;
            session.backend.close().await
        });
        closed.unwrap();
    }
}

/// A dropped wait leaves nothing, and the next one is woken.
pub(super) async fn a_wait_for_messages_may_be_dropped(world: &World) {
    let (a, reader) = (world.open("a").await, world.open("reader").await);
    let channel = topic("config");
    a.say(&channel, "x").await;
    let seen = reader.fetch(&channel, None).await;
    for _ in 0..50 {
        let wait = reader.topics().stirred(&channel, seen.mark);
        // It may also end early.
        let _cut = crate::cancel::after(1, Duration::from_millis(1), wait).await;
    }
    let wait = within("news", reader.topics().stirred(&channel, seen.mark));
    tokio::join!(wait, async {
        tokio::task::yield_now().await;
        a.say(&channel, "y").await;
    });
}

/// Without a new message a reader is left alone most of the time: other channels and trims are no news, and
/// a wait may end early but not always.
pub(super) async fn nothing_new_wakes_nobody(world: &World) {
    let (a, reader) = (world.open("a").await, world.open("reader").await);
    let channel = topic("config");
    a.say(&channel, "x").await;
    let mut early = 0;
    for _ in 0..5 {
        let seen = reader.fetch(&channel, None).await;
        let wait = reader.topics().stirred(&channel, seen.mark);
        let noise = async {
            a.say(&topic("other"), "x").await;
            a.topics().trim(&channel, Retention::default()).await.unwrap();
            std::future::pending::<()>().await
        };
        tokio::select! {
            () = wait => early += 1,
            () = noise => {}
            () = tokio::time::sleep(Duration::from_millis(60)) => {}
        }
    }
    assert!(early <= 2, "{early} of 5 waits ended for nothing");
}
