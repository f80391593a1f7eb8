//! How long messages take, one by one and many at once.

use std::time::Instant;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tooz_core::{Coordinator, Delivery, From};

use super::grants::per_second;
use super::logs::PAUSE;
use super::{BareLog, Outcome, Samples};

/// So many appends are under way at once.
const UNDER_WAY: usize = 512;

/// From the call of publish to the return of a subscriber's read in another coordinator, and as many bare appends
/// that are heard of, in turns: `(ours, bare)`.
///
/// # Errors
/// If the store fails.
pub async fn published_to_received(
    coords: [&Coordinator; 2],
    bare: &dyn BareLog,
    turns: usize,
) -> Outcome<(Samples, Samples)> {
    const NAME: &str = "figures-received";
    let [publisher, subscriber] = coords;
    let topic = publisher.topic(NAME);
    let mut reading = subscriber.topic(NAME).subscribe(From::Now).await?;
    let (tell, mut received) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        loop {
            let next = reading.next().await;
            let is_over = next.is_err();
            if tell.send((next, Instant::now())).is_err() || is_over {
                return;
            }
        }
    });
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for turn in 0..turns {
        // The subscriber waits again by then.
        tokio::time::sleep(PAUSE).await;
        let begun = Instant::now();
        topic.publish("x").await?;
        let (delivery, at) = received.recv().await.ok_or("the subscriber has ended")?;
        if !matches!(delivery?, Delivery::Message(_)) {
            return Err("a message was missed".into());
        }
        let heard = bare.heard().await?;
        if turn >= turns / 20 {
            ours.push(at.saturating_duration_since(begun));
            theirs.push(heard);
        }
    }
    task.abort();
    Ok((ours, theirs))
}

/// So many messages of 100 bytes, and as many bare appends, many on their way at once: `(ours, bare)` per second.
///
/// # Errors
/// If the store fails.
pub async fn published_together(
    coord: &Coordinator,
    bare: &dyn BareLog,
    messages: usize,
) -> Outcome<(f64, f64)> {
    let (topic, body) = (coord.topic("figures-together"), [b'x'; 100]);
    topic.publish("first").await?;
    bare.append(&body).await?;
    let begun = Instant::now();
    let published = (0..messages).map(|_| topic.publish(body.to_vec()));
    stream::iter(published).buffer_unordered(UNDER_WAY).try_for_each(|_| async { Ok(()) }).await?;
    let ours = per_second(messages, begun.elapsed());
    let begun = Instant::now();
    let appended = (0..messages).map(|_| bare.append(&body));
    stream::iter(appended).buffer_unordered(UNDER_WAY).try_for_each(|()| async { Ok(()) }).await?;
    Ok((ours, per_second(messages, begun.elapsed())))
}
