//! How a channel stands, and its messages as they were found: decoding, and which number is whose. Pure.

use etcd_client::{GetOptions, KeyValue, SortOrder, SortTarget, TxnOp, TxnOpResponse};
use tooz_core::{Incarnation, MessageId, Offset};

use crate::channel::{ChannelKeys, bucket_of, first_of, place};
use crate::entry::{Entry, Head};
use crate::txn::get;

/// A channel that has had a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) incarnation: Incarnation,
    /// The newest message.
    pub(crate) last: Offset,
    /// The revision of the newest message.
    pub(crate) revision: i64,
    /// The revision of the first message: what is older is of another incarnation.
    pub(crate) begun: i64,
    pub(crate) head: Head,
    /// When the head was written; zero where it never was.
    pub(crate) head_written: i64,
}

impl Standing {
    /// What to ask for, at the beginning of a transaction.
    pub(crate) fn gets(keys: &ChannelKeys) -> [TxnOp; 3] {
        [get(keys.begin()), get(keys.count()), get(keys.head())]
    }

    /// The answer to [`gets`](Self::gets); `None` where there is no channel.
    pub(crate) fn read(answers: &[TxnOpResponse]) -> Option<Self> {
        let first = |at: usize| keys_of(answers.get(at)).first();
        let incarnation = Incarnation::from_bytes(first(0)?.value().try_into().ok()?);
        let count = first(1)?;
        let id = MessageId::from_bytes(count.value().try_into().ok()?);
        let number = u64::try_from(count.version()).ok()?;
        let (revision, begun) = (count.mod_revision(), count.create_revision());
        let written = first(2);
        // Without one, or with one that is damaged or older than the incarnation, everything is retained.
        let head = written.and_then(|kv| Head::decode(kv.value())).filter(|head| head.revision > begun);
        Some(Self {
            incarnation,
            last: Offset::new(incarnation, number, place(revision, id)),
            revision,
            begun,
            head: head.unwrap_or(Head::start(begun)),
            head_written: written.map_or(0, KeyValue::mod_revision),
        })
    }
}

/// A message as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) revision: i64,
    pub(crate) bucket: u64,
    pub(crate) id: MessageId,
    pub(crate) entry: Entry,
}

impl Record {
    /// What its offset notes.
    pub(crate) fn place(&self) -> u64 {
        place(self.revision, self.id)
    }
}

/// Asks for the messages of these buckets from a revision on, oldest first, at most so many.
pub(crate) fn messages(keys: &ChannelKeys, buckets: std::ops::Range<u64>, since: i64, most: usize) -> TxnOp {
    let options = GetOptions::new()
        .with_range(keys.bucket(buckets.end))
        .with_sort(SortTarget::Create, SortOrder::Ascend)
        .with_min_create_revision(since)
        .with_limit(i64::try_from(most).unwrap_or(i64::MAX));
    TxnOp::get(keys.bucket(buckets.start), Some(options))
}

/// The answer to [`messages`]; what others wrote there is left out.
pub(crate) fn records(keys: &ChannelKeys, answer: Option<&TxnOpResponse>) -> Vec<Record> {
    let record = |kv: &KeyValue| {
        let (bucket, id) = keys.message_of(kv.key())?;
        // A message is written once. Whether what was written over ever was one nobody can tell: it has no number, and
        // if it had one, the count of the bucket shows that one is missing.
        let entry = Entry::decode(kv.value()).filter(|_| kv.version() == 1)?;
        Some(Record { revision: kv.create_revision(), bucket, id, entry })
    };
    keys_of(answer).iter().filter_map(record).collect()
}

/// How many keys an answer has, others' included.
pub(crate) fn found(answer: Option<&TxnOpResponse>) -> usize {
    keys_of(answer).len()
}

/// The create revision of the last key of an answer, others' included: what comes after it was not read.
pub(crate) fn reached(answer: Option<&TxnOpResponse>) -> i64 {
    keys_of(answer).last().map_or(0, KeyValue::create_revision)
}

fn keys_of(answer: Option<&TxnOpResponse>) -> &[KeyValue] {
    match answer {
        Some(TxnOpResponse::Get(get)) => get.kvs(),
        _ => &[],
    }
}

/// The numbers of messages that follow each other, the first being at least `first`. Buckets that are read
/// from their beginning, and the newest message, are sure of theirs; what does not fit is no message.
pub(crate) fn numbered(records: Vec<Record>, first: u64, standing: &Standing) -> Vec<(u64, Record)> {
    let mut next = first;
    let mut all = Vec::with_capacity(records.len());
    for record in records.into_iter().take_while(|record| record.revision <= standing.revision) {
        let number = match record.revision == standing.revision {
            true => standing.last.number(),
            false => next.max(first_of(record.bucket)),
        };
        let is_newest = record.revision == standing.revision;
        if number < next
            || bucket_of(number) != record.bucket
            || (number >= standing.last.number()) != is_newest
        {
            continue;
        }
        next = number.saturating_add(1);
        all.push((number, record));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::BUCKET;

    const LAST: u64 = BUCKET + 3;

    fn incarnation() -> Incarnation {
        Incarnation::from_bytes([1; 16])
    }

    /// A message of a channel in which each has its number times ten for a revision.
    fn record(number: u64) -> Record {
        let id = MessageId::from_bytes([2; 16]);
        let revision = i64::try_from(number * 10).unwrap();
        Record { revision, bucket: bucket_of(number), id, entry: Entry::blank() }
    }

    fn standing() -> Standing {
        let last = record(LAST);
        Standing {
            incarnation: incarnation(),
            last: Offset::new(incarnation(), LAST, last.place()),
            revision: last.revision,
            begun: 10,
            head: Head::start(10),
            head_written: 0,
        }
    }

    fn numbers(records: Vec<Record>, first: u64) -> Vec<u64> {
        numbered(records, first, &standing()).iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn messages_in_order_have_the_numbers_they_were_given() {
        assert_eq!(numbers((1..=LAST).map(record).collect(), 1), Vec::from_iter(1..=LAST));
        assert_eq!(numbers((5..=LAST).map(record).collect(), 5), Vec::from_iter(5..=LAST));
    }

    #[test]
    fn a_message_that_somebody_removed_is_missed_and_moves_none_beyond_its_bucket() {
        let without = |gone: u64| (1..=LAST).filter(|number| *number != gone).map(record).collect::<Vec<_>>();
        let seen = numbers(without(3), 1);
        let next = [BUCKET - 1, BUCKET + 1, BUCKET + 2, LAST];
        assert_eq!(seen[seen.len() - 4..], next, "the one before the next bucket is missed");
        assert_eq!(numbers(without(LAST - 1), 1).last(), Some(&LAST));
    }

    #[test]
    fn what_somebody_put_in_between_takes_no_number_from_the_next_bucket() {
        let mut records: Vec<Record> = (1..=LAST).map(record).collect();
        records.insert(3, Record { revision: 35, ..record(4) });
        let seen = numbers(records, 1);
        assert_eq!(seen, Vec::from_iter(1..=LAST));
    }

    #[test]
    fn nothing_comes_after_the_newest_that_was_known() {
        let later = Record { revision: record(LAST).revision + 5, ..record(LAST) };
        assert_eq!(numbers(vec![record(LAST - 1), record(LAST), later], LAST - 1), [LAST - 1, LAST]);
    }
}
