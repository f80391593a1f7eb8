//! Where the profile says that news is pushed, whoever waits is told and asks no more meanwhile.
//!
//! Where it says that they look again and again, nothing of this is promised.

use std::pin::pin;
use std::time::Duration;

use tooz_core::backend::{Profile, WakeUp};

use super::steps_topics::topic;
use crate::world::{lock, name};
use crate::{World, within};

/// How long nothing happens. Whoever looks again more than once in it polls.
const QUIET: Duration = Duration::from_secs(3);

/// A waiter is told of the release and asks no more before.
pub(super) async fn a_waiter_is_told_of_its_turn(world: &World) {
    if !declares(world, |profile| profile.locks.as_ref().map(|locks| locks.wake_up)).await {
        return;
    }
    let (a, b, seat) = (world.open("a").await, world.open("b").await, lock("nightly"));
    let (first, second) = (a.claim_on(&seat), b.claim_on(&seat));
    a.take(&first).await;
    let turn = async || {
        let position = b.enqueue(&second).await;
        b.locks().turn(&second, &position).await;
    };
    told(turn, async || a.give_back(&first).await).await.unwrap();
    b.hold(&second).await;
}

/// A watcher is told of who joined and looks no more before.
pub(super) async fn a_watcher_is_told_of_a_member(world: &World) {
    if !declares(world, |profile| profile.groups.as_ref().map(|groups| groups.wake_up)).await {
        return;
    }
    let (a, watcher, blue) = (world.open("a").await, world.open("watcher").await, name("blue"));
    a.groups().create(&blue).await.unwrap();
    let stirred = async || {
        let roster = watcher.members(&blue).await.expect("the group stays");
        watcher.groups().stirred(&blue, Some(roster.mark)).await;
    };
    let enrolment = a.enrolment(&blue, b"\xc0");
    told(stirred, async || a.groups().join(&enrolment).await.unwrap()).await.unwrap();
}

/// A subscriber is told of a message and looks no more before.
pub(super) async fn a_subscriber_is_told_of_a_message(world: &World) {
    if !declares(world, |profile| profile.topics.as_ref().map(|topics| topics.wake_up)).await {
        return;
    }
    let (a, reader, channel) = (world.open("a").await, world.open("reader").await, topic("config"));
    let seen = a.say(&channel, "x").await;
    let stirred = async || {
        let batch = reader.fetch(&channel, Some(seen)).await;
        reader.topics().stirred(&channel, batch.mark).await;
    };
    told(stirred, async || a.say(&channel, "y").await).await.unwrap();
}

/// Whether the store has it and says that its news is pushed.
async fn declares(world: &World, wake_up: impl FnOnce(&Profile) -> Option<WakeUp>) -> bool {
    wake_up(&world.profile().await) == Some(WakeUp::Push)
}

/// Asks and waits: the wait lasts while nothing happens, and the news ends it. As any wait it may end early, but not
/// again and again.
async fn told<T>(
    mut ask_and_wait: impl AsyncFnMut(),
    news: impl AsyncFnOnce() -> T,
) -> Result<(), String> {
    let mut quiet = pin!(tokio::time::sleep(QUIET));
    let mut early = 0;
    loop {
        let mut wait = pin!(ask_and_wait());
        tokio::select! {
            biased;
            () = &mut wait => early += 1,
            () = &mut quiet => {
                news().await;
                within("be told", wait).await;
                return Ok(());
            }
        }
        if early > 1 {
            return Err(format!("within {QUIET:?} in which nothing happened {early} waits ended"));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_looks_every_second_is_not_told() {
        let looks = async || tokio::time::sleep(Duration::from_secs(1)).await;
        told(looks, async || {}).await.unwrap_err();
        told(async || {}, async || {}).await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_news_is_told() {
        let (bell, mut waits) = (Notify::new(), 0);
        let waiting = async || {
            waits += 1;
            // A wait may end early.
            if waits > 1 {
                bell.notified().await;
            }
        };
        told(waiting, async || bell.notify_one()).await.unwrap();
        assert_eq!(waits, 2);
    }
}
