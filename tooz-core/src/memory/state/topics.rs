//! Steps of topics.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::{State, Subject};
use crate::backend::{Batch, Limit, Mark, Publication, Retention};
use crate::channel::Channel;
use crate::clock::Moment;
use crate::id::{Incarnation, MessageId};
use crate::message::Message;
use crate::name::Name;
use crate::offset::Offset;

/// How many ids of messages that were let go of are still known: late copies of them add nothing.
const REMEMBERED: usize = 4096;

/// Every channel that something was published to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Topics {
    logs: BTreeMap<Channel, Log>,
    /// The mark of channels that are not there: newer than any they had before.
    floor: u64,
}

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Log {
    incarnation: Incarnation,
    /// The store's count of changes when something was published last.
    mark: u64,
    /// How many were published.
    last: u64,
    /// The retained ones, oldest first; the newest has the number `last`.
    retained: VecDeque<Entry>,
    /// The numbers of the ids that are known, retained or not.
    ids: BTreeMap<MessageId, u64>,
    /// Known ids by number, to forget the oldest first.
    known: BTreeSet<(u64, MessageId)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    id: MessageId,
    sender: Name,
    body: Bytes,
    at: Moment,
}

impl Topics {
    /// Everything is gone; tells what was there.
    pub(super) fn wipe(&mut self, mark: u64) -> impl Iterator<Item = Channel> + use<> {
        self.floor = mark;
        std::mem::take(&mut self.logs).into_keys()
    }
}

impl Log {
    fn offset(&self, number: u64) -> Offset {
        Offset::new(self.incarnation, number, 0)
    }

    /// The number of the oldest retained message, or of the next one to come.
    fn first(&self) -> u64 {
        self.last + 1 - self.retained.len() as u64
    }

    fn append(&mut self, entry: Entry, mark: u64) {
        self.last += 1;
        self.ids.insert(entry.id, self.last);
        self.known.insert((self.last, entry.id));
        self.retained.push_back(entry);
        self.mark = mark;
    }

    fn forget_old_ids(&mut self) {
        while self.known.len() > self.retained.len() + REMEMBERED {
            let Some((_, id)) = self.known.pop_first() else { return };
            self.ids.remove(&id);
        }
    }
}

impl State {
    /// Appends the message, unless its id is known: then tells where it stands, or stood.
    pub(in crate::memory) fn publish(&mut self, now: Moment, publication: &Publication) -> Offset {
        self.settle(now);
        let Publication { id, channel, sender, body } = publication;
        if let Some(log) = self.topics.logs.get(channel)
            && let Some(number) = log.ids.get(id)
        {
            return log.offset(*number);
        }
        let mark = self.next_mark();
        let entry = Entry { id: *id, sender: sender.clone(), body: body.clone(), at: self.now };
        let log = self.topics.logs.entry(channel.clone()).or_insert_with(|| Log {
            incarnation: Incarnation::from(*id),
            mark,
            last: 0,
            retained: VecDeque::new(),
            ids: BTreeMap::new(),
            known: BTreeSet::new(),
        });
        log.append(entry, mark);
        self.news.insert(Subject::Channel(channel.clone()));
        log.offset(log.last)
    }

    /// What follows `after`, from the oldest retained message on if that is of another incarnation.
    pub(in crate::memory) fn fetch(
        &mut self,
        now: Moment,
        channel: &Channel,
        after: Option<Offset>,
        limit: Limit,
    ) -> Batch {
        self.settle(now);
        let mark = self.channel_mark(channel);
        let Some(log) = self.topics.logs.get(channel) else {
            return Batch { mark, anew: after.is_some(), ..Batch::default() };
        };
        let known =
            after.filter(|after| after.incarnation() == log.incarnation && after.number() <= log.last);
        let anew = after.is_some() && known.is_none();
        let first = log.first();
        let passed = known.map_or(0, |after| (after.number() + 1).saturating_sub(first));
        let passed = usize::try_from(passed).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let messages = log.retained.iter().zip(first..).skip(passed).take(limit.messages);
        let messages = messages.take_while(|(entry, _)| {
            let fits = bytes == 0 || bytes + entry.body.len() <= limit.bytes;
            // Whatever came first counts, so that an empty one does not let a large one follow.
            bytes += entry.body.len().max(1);
            fits
        });
        let messages = messages.map(|(entry, number)| Message {
            offset: log.offset(number),
            id: entry.id,
            sender: entry.sender.clone(),
            payload: entry.body.clone(),
            published_at: self.epoch.checked_add(Duration::from_nanos(entry.at.as_nanos())),
        });
        let last = Some(log.offset(log.last));
        Batch { mark, last, anew, messages: messages.collect(), revisit: None }
    }

    /// Lets go of what is beyond the retention, and tells how many those were.
    pub(in crate::memory) fn trim(&mut self, now: Moment, channel: &Channel, retention: Retention) -> u64 {
        self.settle(now);
        let now = self.now;
        let Some(log) = self.topics.logs.get_mut(channel) else { return 0 };
        let mut gone = 0;
        while let Some(oldest) = log.retained.front()
            && (log.retained.len() as u64 > retention.count || now.since(oldest.at) > retention.age)
        {
            log.retained.pop_front();
            gone += 1;
        }
        log.forget_old_ids();
        gone
    }

    /// The mark of the channel's last message, or of its loss.
    pub(in crate::memory) fn channel_mark(&self, channel: &Channel) -> Mark {
        Mark(self.topics.logs.get(channel).map_or(self.topics.floor, |log| log.mark))
    }
}
