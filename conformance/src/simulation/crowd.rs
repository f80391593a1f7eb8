//! What goes on beside the locks: a topic that all write to and read, a group that all are in, and what must be true
//! again when the faults are over.

use std::collections::BTreeSet;
use std::time::Duration;

use tooz_core::{Coordinator, Delivery, Event, From, Incarnation, Membership, Result, Subscription, View};

use super::{TTL, World, locked};
use crate::checkers::Violation;
use crate::history::{Op, Outcome};

pub(super) const GROUP: &str = "blue";
const TOPIC: &str = "news";

/// Faults are over for so long at most before everything works again.
const RECOVERY: Duration = Duration::from_secs(2);

/// A client as one of the crowd.
pub(super) struct Reader<'a> {
    coord: &'a Coordinator,
    subscription: Option<Subscription>,
    /// Which life of the topic it reads: a topic that begins anew is another one to the checkers.
    life: Option<Life>,
    /// The one before, where it was told that another begins.
    before: Option<Life>,
    membership: Option<Membership>,
}

/// A topic from its first message to the loss of all data.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Life {
    incarnation: Incarnation,
    /// A late copy of the message that a topic began with begins it again where all data was lost in between.
    again: bool,
}

pub(super) async fn watch(keeper: &Coordinator) -> Result<View> {
    keeper.group(GROUP).watch().await
}

impl World {
    /// Joins and subscribes, as often as it takes.
    pub(super) async fn member<'a>(&self, coord: &'a Coordinator, _nth: usize) -> Reader<'a> {
        let (mut membership, mut subscription) = (None, None);
        for _ in 0..50 {
            if membership.is_none() {
                membership = coord.group(GROUP).join(&()).await.ok();
            }
            if subscription.is_none() {
                subscription = coord.topic(TOPIC).subscribe(From::Beginning).await.ok();
            }
            if membership.is_some() && subscription.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Reader { coord, subscription, life: None, before: None, membership }
    }

    /// Publishes one message of its own. One that nobody acknowledged may be there or not.
    pub(super) async fn publish(&self, coord: &Coordinator, nth: usize, done: usize) {
        let call = self.now();
        let outcome = coord.topic(TOPIC).publish(format!("{nth}-{done}")).await;
        if let Ok(offset) = outcome {
            let life = Life { incarnation: offset.incarnation(), again: false };
            let (name, number) = (topic_name(Some(life)), Some(offset.number()));
            self.note(coord.member().as_str(), Op::Publish, &name, call, Outcome::Yes, number);
        }
    }

    fn forgot(&self) -> Option<u64> {
        locked(&self.story).forgot_at
    }

    /// Lets everybody read and the keeper watch while the others work.
    pub(super) async fn beside<'a>(
        &self,
        work: impl Future<Output = Vec<()>>,
        mut readers: Vec<Reader<'a>>,
        mut watcher: View,
    ) -> Vec<Reader<'a>> {
        let mut reading = Vec::new();
        for reader in &mut readers {
            reading.push(self.read(reader));
        }
        tokio::select! {
            biased;
            _ = work => {}
            _ = futures_util::future::join_all(reading) => {}
            () = self.follow(&mut watcher) => {}
        }
        readers
    }

    /// Never ends.
    async fn read(&self, reader: &mut Reader<'_>) {
        loop {
            if !self.read_one(reader).await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Reads what comes next; `false` where it failed.
    async fn read_one(&self, reader: &mut Reader<'_>) -> bool {
        let Some(subscription) = reader.subscription.as_mut() else { return false };
        let call = self.now();
        let (outcome, number) = match subscription.next().await {
            Ok(Delivery::Message(message)) => {
                let incarnation = message.offset.incarnation();
                let again = match (reader.life, reader.before.take()) {
                    (Some(life), None) if life.incarnation == incarnation => life.again,
                    (_, Some(before)) => before.incarnation == incarnation,
                    _ => false,
                };
                reader.life = Some(Life { incarnation, again });
                let text = String::from_utf8_lossy(&message.payload).into_owned();
                (Outcome::Message(text), Some(message.offset.number()))
            }
            Ok(Delivery::Lagged { missed }) => (Outcome::Missed(missed), None),
            Ok(Delivery::Reset) => {
                reader.before = reader.life.take().or(reader.before);
                return true;
            }
            Err(_) => return false,
        };
        let name = topic_name(reader.life);
        locked(&self.story).read += 1;
        self.note(reader.coord.member().as_str(), Op::Deliver, &name, call, outcome, number);
        true
    }

    /// Notes who is seen to leave.
    async fn follow(&self, watcher: &mut View) {
        loop {
            match watcher.next_event().await {
                Ok(Event::Left(member)) => {
                    let at = self.now();
                    let text = member.name().to_string();
                    locked(&self.leaves).push((text, at));
                }
                Ok(_) => {}
                Err(_) => return std::future::pending().await,
            }
        }
    }

    /// C6: nobody was seen to leave who was connected all the time.
    pub(super) fn judge_leaves(&self, story: &mut super::Story) {
        let grace = u64::try_from((TTL * 2).as_nanos()).unwrap_or(u64::MAX);
        for (member, at) in locked(&self.leaves).drain(..) {
            let troubled = story.troubles.iter().any(|(nth, from, to)| {
                format!("c{nth}") == member && (*from..=to.saturating_add(grace)).contains(&at)
            });
            // One that is still in trouble when the work ends is not on the list yet, nor is a store without data.
            if !troubled && story.forgot_at.is_none() {
                let text = format!("{member} was seen to leave at {at} although nothing cut it off");
                story.broken.push(Violation::new("C6", text));
            }
        }
    }

    /// When the faults are over: everybody reads to the end, the group is whole, and every lock can be had.
    pub(super) async fn settle(&self, keeper: &Coordinator, mut readers: Vec<Reader<'_>>) {
        let mut broken = Vec::new();
        let mut tell = |promise, text: String| broken.push(Violation::new(promise, text));
        let within = TTL + RECOVERY;
        for name in ["x", "y"] {
            match keeper.lock(name).acquire_timeout(within).await {
                Ok(Some(guard)) => drop(guard),
                other => tell("C8", format!("{name} cannot be had {within:?} after the faults: {other:?}")),
            }
        }
        if self.forgot().is_none() {
            let wanted: BTreeSet<String> = readers.iter().map(|it| it.coord.member().to_string()).collect();
            let seen = async {
                loop {
                    let roster = keeper.group(GROUP).members().await;
                    let seen: BTreeSet<String> =
                        roster.iter().flat_map(|it| it.iter()).map(|it| it.name().to_string()).collect();
                    if seen == wanted {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            if tokio::time::timeout(within, seen).await.is_err() {
                let states = readers.iter().map(|it| it.membership.as_ref().map(|it| it.state().borrow()));
                let states: Vec<_> = states.collect();
                tell("C6", format!("the group is not whole {within:?} after the faults: {states:?}"));
            }
        }
        let last = keeper.topic(TOPIC).last().await.ok().flatten();
        for reader in &mut readers {
            // Whatever is published is there to be read: it ends when nothing comes for a while.
            while tokio::time::timeout(RECOVERY, self.read_one(reader)).await.is_ok() {}
            let name = topic_name(reader.life);
            let reached = locked(&self.story).records.iter().rev().find_map(|record| {
                let is_its = record.op == Op::Deliver
                    && record.proc == reader.coord.member().as_str()
                    && record.name == name;
                if is_its { record.token } else { None }
            });
            let is_at_the_end = last.is_none_or(|last| {
                let is_its = reader.life.is_some_and(|life| life.incarnation == last.incarnation());
                is_its && reached == Some(last.number())
            });
            if !is_at_the_end {
                tell("C5", format!("{} read up to {reached:?} of {name}: {last:?}", reader.coord.member()));
            }
        }
        locked(&self.story).broken.extend(broken);
    }
}

/// A topic's name in the history, in this life of it.
fn topic_name(life: Option<Life>) -> String {
    life.map_or_else(
        || TOPIC.to_owned(),
        |life| format!("{TOPIC}-{}{}", life.incarnation, if life.again { "-again" } else { "" }),
    )
}
