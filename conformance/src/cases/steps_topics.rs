//! Publishing and fetching.

use bytes::Bytes;
use tooz_core::backend::{Batch, Limit, Publication};
use tooz_core::{Channel, Effect, ErrorKind, Incarnation, MAX_PAYLOAD_BYTES, MessageId, Offset};

use super::names;
use crate::World;
use crate::world::{Session, name};

pub(super) fn topic(text: &str) -> Channel {
    Channel::Topic(name(text))
}

pub(super) fn numbers(batch: &Batch) -> Vec<u64> {
    batch.messages.iter().map(|message| message.offset.number()).collect()
}

fn bodies(batch: &Batch) -> Vec<&[u8]> {
    batch.messages.iter().map(|message| &message.payload[..]).collect()
}

/// Publishes `0`, `1`, `2` … and tells their offsets.
pub(super) async fn count(session: &Session, channel: &Channel, messages: u64) -> Vec<Offset> {
    let mut offsets = Vec::new();
    for i in 0..messages {
        offsets.push(session.say(channel, i.to_string()).await);
    }
    offsets
}

/// Body, id, sender and offset are those of the publish, whoever fetches.
pub(super) async fn a_message_is_fetched_as_it_was_published(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let channel = topic("config");
    let publication = a.message(&channel, "blue");
    let offset = a.publish(&publication).await;
    for session in [&a, &b] {
        let batch = session.fetch(&channel, None).await;
        assert_eq!(batch.last, Some(offset));
        let [message] = &batch.messages[..] else { panic!("not one message: {batch:?}") };
        assert_eq!((message.offset, message.id), (offset, publication.id));
        assert_eq!((&message.sender, &message.payload), (&a.member, &publication.body));
    }
}

/// Numbers count from 1 without a gap, in one incarnation, whoever publishes; offsets grow.
pub(super) async fn offsets_count_without_gaps_in_one_incarnation(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let channel = topic("config");
    let mut offsets = Vec::new();
    for i in 0..10 {
        offsets.push(if i % 2 == 0 { &a } else { &b }.say(&channel, "x").await);
    }
    assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]), "{offsets:?}");
    assert_eq!(offsets.iter().map(|offset| offset.number()).collect::<Vec<_>>(), Vec::from_iter(1..=10));
    let batch = b.fetch(&channel, None).await;
    assert_eq!(batch.messages.iter().map(|message| message.offset).collect::<Vec<_>>(), offsets);
    assert_eq!(batch.last, offsets.last().copied());
}

/// The same message again, also through another session, is the same offset and one message.
pub(super) async fn a_repeated_publish_is_the_same_message(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let channel = topic("config");
    let publication = a.message(&channel, "once");
    let first = a.publish(&publication).await;
    assert_eq!(a.publish(&publication).await, first);
    assert_eq!(b.publish(&publication).await, first);
    assert_eq!(numbers(&a.fetch(&channel, None).await), [1]);

    // The id is known in its own channel only.
    let elsewhere = Publication { channel: topic("other"), ..publication };
    assert_eq!(a.publish(&elsewhere).await.number(), 1);
}

/// A copy of a request that arrives after many later messages adds nothing and tells the first offset.
pub(super) async fn a_copy_of_a_publish_long_after_adds_nothing(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    let publication = a.message(&channel, "first");
    let first = a.publish(&publication).await;
    count(&a, &channel, 300).await;
    assert_eq!(a.publish(&publication).await, first);
    assert_eq!(a.fetch(&channel, None).await.messages.len(), 301);
}

/// A fetch after an offset brings what follows it, and nothing after the last.
pub(super) async fn a_fetch_goes_on_after_an_offset(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    let offsets = count(&a, &channel, 6).await;
    for (i, offset) in offsets.iter().enumerate() {
        let batch = a.fetch(&channel, Some(*offset)).await;
        assert_eq!(numbers(&batch), Vec::from_iter(i as u64 + 2..=6));
        assert_eq!(batch.last, offsets.last().copied());
    }
}

/// No more messages than asked for, no further one once the bytes are reached, but always the first.
pub(super) async fn a_fetch_brings_no_more_than_its_limit(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    let offsets = {
        let mut offsets = Vec::new();
        for size in [1000, 10, 10, 1000, 10] {
            offsets.push(a.say(&channel, vec![7; size]).await);
        }
        offsets
    };
    let fetch = async |after: Option<Offset>, messages, bytes| {
        numbers(&a.topics().fetch(&channel, after, Limit { messages, bytes }).await.unwrap())
    };
    assert_eq!(fetch(None, 2, 1 << 20).await, [1, 2]);
    assert_eq!(fetch(Some(offsets[1]), 2, 1 << 20).await, [3, 4]);
    assert_eq!(fetch(None, 100, 1020).await, [1, 2, 3]);
    assert_eq!(fetch(None, 100, 1).await, [1], "the first always comes");

    let batch = a.topics().fetch(&channel, None, Limit::NONE).await.unwrap();
    assert_eq!((batch.last, batch.messages.len()), (offsets.last().copied(), 0));
}

/// Three publish at the same time; everybody finds one order, in which each one's messages are in theirs.
pub(super) async fn everybody_sees_the_same_order(world: &World) {
    let (a, b, c) = (world.open("a").await, world.open("b").await, world.open("c").await);
    let channel = topic("config");
    tokio::join!(count(&a, &channel, 30), count(&b, &channel, 30), count(&c, &channel, 30));

    let seen = a.fetch(&channel, None).await;
    assert_eq!(numbers(&seen), Vec::from_iter(1..=90));
    for other in [&b, &c] {
        assert_eq!(other.fetch(&channel, None).await.messages, seen.messages);
    }
    for session in [&a, &b, &c] {
        let own = seen.messages.iter().filter(|message| message.sender == session.member);
        let own: Vec<_> = own.map(|message| message.payload.clone()).collect();
        assert_eq!(own, (0..30).map(|i| Bytes::from(i.to_string())).collect::<Vec<_>>());
    }
}

/// From no byte at all to the declared limit, every byte as it was.
pub(super) async fn payloads_of_every_size_are_carried_exactly(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    let largest = a.backend.profile().topics.expect("declared").largest_body;
    let sizes = [0, 1, 2, 255, 256, 257, 4095, 65536, 100_000, largest.min(MAX_PAYLOAD_BYTES), largest];
    let body = |size: usize| (0..size).map(|i| (i * 31 + i / 251) as u8).collect::<Bytes>();
    let mut after = None;
    for size in sizes {
        let offset = a.say(&channel, body(size)).await;
        let batch = a.fetch(&channel, after).await;
        let [message] = &batch.messages[..] else { panic!("not one message of {size} bytes") };
        assert!(message.payload == body(size), "{size} bytes came back as {}", message.payload.len());
        after = Some(offset);
    }
}

/// One byte more than declared is refused by kind, and nothing is there.
pub(super) async fn a_body_beyond_the_limit_is_refused(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    let largest = a.backend.profile().topics.expect("declared").largest_body;
    let refused = a.topics().publish(&a.message(&channel, vec![0; largest + 1])).await.unwrap_err();
    assert_eq!((refused.kind(), refused.effect()), (ErrorKind::InvalidValue, Effect::None));
    assert!(a.fetch(&channel, None).await.messages.is_empty());
}

/// No two channels share a message: topics, groups, inboxes and replies of names of every shape.
pub(super) async fn names_of_every_shape_are_channels_of_their_own(world: &World) {
    let a = world.open("a").await;
    let names = names();
    let mut channels = Vec::new();
    for (one, other) in names.iter().zip(names.iter().cycle().skip(1)) {
        channels.push(Channel::Topic(one.clone()));
        channels.push(Channel::Group(one.clone()));
        channels.push(Channel::Inbox { group: one.clone(), member: other.clone() });
        channels.push(Channel::Inbox { group: other.clone(), member: one.clone() });
        channels.push(Channel::Replies { group: one.clone(), member: other.clone() });
    }
    // Two names that are one text when joined.
    for (group, member) in [("x", "y/z"), ("x/y", "z"), ("x:y", "z"), ("x", "y:z"), ("x.y", "z"), ("x", "y.z")] {
        channels.push(Channel::Inbox { group: name(group), member: name(member) });
    }
    for channel in &channels {
        assert_eq!(a.say(channel, format!("{channel:?}")).await.number(), 1, "{channel:?}");
    }
    for channel in &channels {
        assert_eq!(bodies(&a.fetch(channel, None).await), [format!("{channel:?}").as_bytes()]);
    }
}

/// A sender's name comes back as it was.
pub(super) async fn senders_of_every_shape_are_shown_exactly(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    for sender in names() {
        a.publish(&Publication { sender, ..a.message(&channel, "x") }).await;
    }
    let batch = a.fetch(&channel, None).await;
    assert_eq!(batch.messages.iter().map(|message| message.sender.clone()).collect::<Vec<_>>(), names());
}

/// What was acknowledged is there after its publisher closed or was killed, and counts on.
pub(super) async fn a_message_outlives_whoever_published_it(world: &World) {
    let (a, b, c) = (world.open("a").await, world.open("b").await, world.open("c").await);
    let channel = topic("config");
    let first = a.say(&channel, "closed").await;
    a.closed().await;
    b.say(&channel, "killed").await;
    world.crash(b).await;

    assert_eq!(bodies(&c.fetch(&channel, None).await), [&b"closed"[..], b"killed"]);
    assert_eq!(bodies(&c.fetch(&channel, Some(first)).await), [b"killed"]);
    assert_eq!(c.say(&channel, "next").await.number(), 3);
}

/// Where nothing was published there is nothing, also after looking.
pub(super) async fn a_look_at_nothing_makes_nothing(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    let alien = Offset::new(Incarnation::from(MessageId::random()), 3, 5);
    for after in [None, Some(alien)] {
        let batch = a.fetch(&channel, after).await;
        assert_eq!((batch.last, batch.messages.len(), batch.anew), (None, 0, after.is_some()));
    }
    assert_eq!(a.topics().trim(&channel, Default::default()).await.unwrap(), 0);
    assert_eq!(a.say(&channel, "first").await.number(), 1);
}

/// Interleaving 30: an offset that this channel never gave is answered from the oldest message on, and the
/// answer tells the incarnation there is.
pub(super) async fn an_offset_of_another_incarnation_is_answered_from_the_beginning(world: &World) {
    let a = world.open("a").await;
    let channel = topic("config");
    let offsets = count(&a, &channel, 3).await;
    let alien = Offset::new(Incarnation::from(MessageId::random()), 2, offsets[1].place());
    let batch = a.fetch(&channel, Some(alien)).await;
    assert_eq!(numbers(&batch), [1, 2, 3]);
    assert_eq!((batch.last, batch.anew), (Some(offsets[2]), true));

    // Nor did it give one that is still to come.
    let beyond = Offset::new(offsets[2].incarnation(), 4, offsets[2].place());
    let batch = a.fetch(&channel, Some(beyond)).await;
    assert_eq!((numbers(&batch), batch.anew), (vec![1, 2, 3], true));
    assert!(!a.fetch(&channel, Some(offsets[2])).await.anew);

    let other = a.say(&topic("other"), "x").await;
    assert_ne!(other.incarnation(), offsets[0].incarnation(), "two channels, one incarnation");
    assert_eq!(numbers(&a.fetch(&channel, Some(other)).await), [1, 2, 3]);
}
