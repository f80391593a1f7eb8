//! Who holds a seat and who waits for it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use tooz_core::backend::{Contender, Holder, Mark, Queue};
use tooz_core::{Name, Result, Seat};
use zookeeper_client::{Error as Fault, Stat};

use crate::contend::token;
use crate::error::unread;
use crate::locks::Locks;
use crate::sequence::{Contest, Entry};
use crate::watches::{Use, Watch};

/// At most so many contenders are looked at.
const MOST: usize = 10_000;
/// How often a look is taken again because of furniture.
const TRIES: usize = 3;

impl Locks {
    /// The contenders of a seat. The mark is a digest of what was seen: whoever listens compares it with a
    /// second look, so that nothing need be remembered between the two.
    pub(crate) async fn look(&self, seat: &Seat) -> Result<Queue> {
        let mut looked = self.look_once(seat).await?;
        // What turned out to be furniture is left out of the next look; only new furniture takes another.
        for _ in 0..TRIES {
            match looked {
                (queue, false) => return Ok(queue),
                (_, true) => looked = self.look_once(seat).await?,
            }
        }
        Ok(looked.0)
    }

    /// One look, and whether furniture was among what was taken for contenders.
    async fn look_once(&self, seat: &Seat) -> Result<(Queue, bool)> {
        let (session, client) = (&self.session, self.session.client()?);
        let directory = session.keys.seat(seat);
        let (contest, room) = match client.get_children(&directory).await {
            Ok((children, room)) => (self.furniture.contest(&directory, children), Some(room)),
            Err(Fault::NoNode) => (Contest::default(), None),
            Err(fault) => return Err(unread("list a queue", fault)),
        };
        let looks = contest.entries().iter().take(MOST).enumerate().map(|(index, entry)| {
            let holds = index < contest.holders();
            let node = client.get_data(&format!("{directory}/{}", entry.name));
            let value =
                entry.claim.filter(|_| holds).map(|claim| client.get_data(&session.keys.value(claim)));
            (entry, holds, node, value)
        });
        let looks: Vec<_> = looks.collect();
        let mut queue = Queue::default();
        let (mut seen, mut has_furniture) = (Seen::default(), false);
        for (entry, holds, node, value) in looks {
            let found = found(node.await)?;
            let value = match value {
                Some(value) => self::found(value.await)?.map(|(data, _)| data),
                None => None,
            };
            seen.add(entry, holds, value.as_deref());
            // Gone since it was listed.
            let Some((data, stat)) = found else { continue };
            has_furniture |= self.furniture.notice(&format!("{directory}/{}", entry.name), &stat);
            let member = String::from_utf8(data).ok().and_then(|text| Name::new(text).ok());
            if !holds {
                queue.waiting.push(Contender { claim: entry.claim, member, mode: entry.mode });
                continue;
            }
            let value = match value {
                Some(value) => Some(Bytes::from(value)),
                // A claim of ours without a value has an empty one, of others nobody knows.
                None => session.session_of(stat.ephemeral_owner).await?.map(|_| Bytes::new()),
            };
            queue.holders.push(Holder {
                claim: entry.claim,
                member,
                mode: entry.mode,
                token: Some(token(&stat)),
                value,
                age: room.and_then(|room| session.age(held_since(&stat, &room))),
            });
        }
        queue.mark = seen.mark();
        Ok((queue, has_furniture))
    }

    /// Waits until a look shows something else than the one that made the mark.
    pub(crate) async fn stirred_since(&self, seat: &Seat, mark: Mark) {
        loop {
            let states = self.session.states();
            match self.listen(seat).await {
                Ok((seen, _)) if seen != mark => return,
                Ok((_, watches)) => {
                    self.session.heard(states, watches).await;
                }
                Err(_) if self.session.is_over() => return,
                Err(_) => return self.session.until_changed(states).await,
            }
        }
    }

    /// What a look would show, and watches on it that were set before.
    async fn listen(&self, seat: &Seat) -> Result<(Mark, Vec<Watch>)> {
        let (session, client) = (&self.session, self.session.client()?);
        let directory = session.keys.seat(seat);
        let deaf = |fault| unread("watch a queue", fault);
        let (children, watch) = loop {
            match session.watches.children(&client, &directory, Use::Wait).await {
                Ok(listed) => break listed,
                Err(Fault::NoNode) => {}
                Err(fault) => return Err(deaf(fault)),
            }
            let look = session.watches.stat(&client, &directory, Use::Wait);
            let (stat, watch) = look.await.map_err(deaf)?;
            if stat.is_none() {
                break (Vec::new(), watch);
            }
        };
        let contest = self.furniture.contest(&directory, children);
        let mut watches = vec![watch];
        let mut seen = Seen::default();
        let looks: Vec<_> = contest
            .entries()
            .iter()
            .take(MOST)
            .enumerate()
            .map(|(index, entry)| {
                let holds = index < contest.holders();
                let path = entry.claim.filter(|_| holds).map(|claim| session.keys.value(claim));
                let looks = path
                    .map(|path| (session.watches.stat(&client, &path, Use::Wait), client.get_data(&path)));
                (entry, holds, looks)
            })
            .collect();
        for (entry, holds, looks) in looks {
            let Some((watch, value)) = looks else {
                seen.add(entry, holds, None);
                continue;
            };
            watches.push(watch.await.map_err(deaf)?.1);
            let value = found(value.await)?.map(|(data, _)| data);
            seen.add(entry, holds, value.as_deref());
        }
        Ok((seen.mark(), watches))
    }
}

/// Since when its holder has held at most, by the servers' clock: since it entered the queue, or since the last one that
/// held after waiting let go, if that was later.
fn held_since(node: &Stat, directory: &Stat) -> i64 {
    match directory.mzxid > node.czxid {
        true => directory.mtime,
        false => node.ctime,
    }
}

/// A node's data, if it is there.
pub(crate) fn found(look: Result<(Vec<u8>, Stat), Fault>) -> Result<Option<(Vec<u8>, Stat)>> {
    match look {
        Ok(found) => Ok(Some(found)),
        Err(Fault::NoNode) => Ok(None),
        Err(fault) => Err(unread("read a node", fault)),
    }
}

/// A digest of what was seen.
#[derive(Default)]
struct Seen(DefaultHasher);

impl Seen {
    fn add(&mut self, entry: &Entry, holds: bool, value: Option<&[u8]>) {
        (&entry.name, holds, value).hash(&mut self.0);
    }

    fn mark(&self) -> Mark {
        Mark(self.0.finish())
    }
}
