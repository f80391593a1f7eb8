//! What a batch means to whoever stood where. Pure.

use crate::backend::Batch;
use crate::message::Message;
use crate::offset::Offset;

/// What a subscriber is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The next message.
    Message(Message),
    /// So many messages that followed are no longer retained, or cannot be read; what comes next follows
    /// them.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// The topic begins anew: the store lost it or forgot it after a long silence, or was restored from a
    /// copy. Whatever was published before and not delivered is gone; what comes next is read from the
    /// beginning of what there is.
    Reset,
}

/// Where a subscriber stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cursor {
    /// Before the oldest message there is: what is gone by then is none of its business.
    Oldest,
    /// Before the first message of whatever incarnation comes.
    Start,
    /// After this one.
    After(Offset),
}

impl Cursor {
    /// Where somebody stands who wants only what comes after `last`.
    pub(super) fn at_end(last: Option<Offset>) -> Self {
        last.map_or(Self::Start, Self::After)
    }

    /// What the store is asked for.
    pub(super) fn after(self) -> Option<Offset> {
        match self {
            Self::Oldest | Self::Start => None,
            Self::After(offset) => Some(offset),
        }
    }

    /// Whether there is nothing between it and `last`.
    pub(super) fn is_at(self, last: Option<Offset>) -> bool {
        match (self, last) {
            (Self::After(offset), Some(last)) => {
                offset.incarnation() == last.incarnation() && offset.number() >= last.number()
            }
            (Self::Start, None) => true,
            _ => false,
        }
    }

    /// Steps over the batch: what the subscriber is given for it, and where it stands then.
    pub(super) fn advance(self, batch: Batch) -> (Vec<Delivery>, Self) {
        let mut given = Vec::with_capacity(batch.messages.len() + 1);
        let Some(last) = batch.last else {
            if matches!(self, Self::After(_)) {
                given.push(Delivery::Reset);
            }
            return (given, Self::Start);
        };
        let mut cursor = self;
        if let Self::After(offset) = cursor
            && (batch.anew || offset.incarnation() != last.incarnation() || offset.number() > last.number())
        {
            given.push(Delivery::Reset);
            cursor = Self::Start;
        }
        let nothing_follows = batch.messages.is_empty();
        for message in batch.messages {
            let offset = message.offset;
            match cursor.missed_before(offset) {
                // Of another incarnation, or seen before: not what was asked for.
                None => continue,
                Some(_) if offset.incarnation() != last.incarnation() => continue,
                Some(0) => {}
                Some(missed) => given.push(Delivery::Lagged { missed }),
            }
            given.push(Delivery::Message(message));
            cursor = Self::After(offset);
        }
        if nothing_follows && !cursor.is_at(Some(last)) {
            match cursor {
                Self::Oldest => {}
                Self::Start => given.push(Delivery::Lagged { missed: last.number() }),
                Self::After(offset) => {
                    given.push(Delivery::Lagged { missed: last.number() - offset.number() });
                }
            }
            cursor = Self::After(last);
        }
        (given, cursor)
    }

    /// How many messages lie between it and this one; `None` if it is not after the cursor.
    fn missed_before(self, offset: Offset) -> Option<u64> {
        let expected = match self {
            Self::Oldest => offset.number(),
            Self::Start => 1,
            Self::After(before) => before.number() + 1,
        };
        offset.number().checked_sub(expected)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::id::{Incarnation, MessageId};
    use crate::name::Name;

    fn offset(life: u8, number: u64) -> Offset {
        Offset::new(Incarnation::from_bytes([life; 16]), number, 0)
    }

    fn message(life: u8, number: u64) -> Message {
        Message {
            offset: offset(life, number),
            id: MessageId::from_bytes([life; 16]),
            sender: Name::new("a").unwrap(),
            payload: Bytes::new(),
            published_at: None,
        }
    }

    fn batch(last: Option<Offset>, messages: Vec<Message>) -> Batch {
        Batch { last, messages, ..Batch::default() }
    }

    fn lagged(missed: u64) -> Delivery {
        Delivery::Lagged { missed }
    }

    #[test]
    fn from_the_oldest_on_nothing_counts_as_missed() {
        let (given, cursor) =
            Cursor::Oldest.advance(batch(Some(offset(1, 8)), vec![message(1, 7), message(1, 8)]));
        assert_eq!(given, [Delivery::Message(message(1, 7)), Delivery::Message(message(1, 8))]);
        assert_eq!(cursor, Cursor::After(offset(1, 8)));
        assert_eq!(Cursor::Oldest.advance(batch(Some(offset(1, 8)), vec![])), (vec![], cursor));
    }

    #[test]
    fn a_gap_is_told_with_its_size_before_what_follows() {
        let (given, _) = Cursor::After(offset(1, 2)).advance(batch(Some(offset(1, 6)), vec![message(1, 6)]));
        assert_eq!(given, [lagged(3), Delivery::Message(message(1, 6))]);

        let (given, cursor) = Cursor::After(offset(1, 2)).advance(batch(Some(offset(1, 6)), vec![]));
        assert_eq!((given, cursor), (vec![lagged(4)], Cursor::After(offset(1, 6))));
    }

    #[test]
    fn whoever_stood_before_the_first_message_misses_what_is_gone() {
        let (given, _) = Cursor::Start.advance(batch(Some(offset(1, 6)), vec![message(1, 6)]));
        assert_eq!(given, [lagged(5), Delivery::Message(message(1, 6))]);
    }

    #[test]
    fn another_incarnation_a_lost_topic_and_one_set_back_are_resets() {
        let before = Cursor::After(offset(1, 5));
        let (given, _) = before.advance(batch(Some(offset(2, 1)), vec![message(2, 1)]));
        assert_eq!(given, [Delivery::Reset, Delivery::Message(message(2, 1))]);

        assert_eq!(before.advance(batch(None, vec![])), (vec![Delivery::Reset], Cursor::Start));

        let (given, cursor) = before.advance(batch(Some(offset(1, 2)), vec![message(1, 1), message(1, 2)]));
        assert_eq!(given.len(), 3);
        assert_eq!((given.first(), cursor), (Some(&Delivery::Reset), Cursor::After(offset(1, 2))));
    }

    /// A store restored from a copy may know the incarnation and even the number.
    #[test]
    fn an_offset_that_the_driver_does_not_know_is_a_reset() {
        let restored = Batch { anew: true, ..batch(Some(offset(1, 6)), vec![message(1, 1), message(1, 6)]) };
        let (given, cursor) = Cursor::After(offset(1, 5)).advance(restored);
        assert_eq!(given.first(), Some(&Delivery::Reset));
        assert_eq!((given.len(), cursor), (4, Cursor::After(offset(1, 6))));
    }

    #[test]
    fn an_empty_topic_is_no_news_to_whoever_saw_nothing() {
        for cursor in [Cursor::Oldest, Cursor::Start] {
            assert_eq!(cursor.advance(batch(None, vec![])), (vec![], Cursor::Start));
        }
    }

    proptest! {
        /// Whatever a store answers, numbers given and missed add up, and nothing is given twice.
        #[test]
        fn messages_and_gaps_add_up(numbers in prop::collection::btree_set(1..40u64, 0..20), cut in 0..40u64) {
            let all: Vec<u64> = numbers.into_iter().collect();
            let Some(last) = all.last().copied() else { return Ok(()) };
            let (mut cursor, mut reached) = (Cursor::Start, 0);
            // The second batch repeats the first, as a driver should not.
            for until in [cut, last] {
                let part = all.iter().filter(|number| **number <= until).map(|number| message(1, *number));
                let (given, next) = cursor.advance(batch(Some(offset(1, last)), part.collect()));
                for item in given {
                    match item {
                        Delivery::Message(message) => {
                            prop_assert_eq!(message.offset.number(), reached + 1);
                            reached += 1;
                        }
                        Delivery::Lagged { missed } => reached += missed,
                        Delivery::Reset => prop_assert!(false, "no reset"),
                    }
                }
                cursor = next;
            }
            prop_assert_eq!(reached, last);
        }
    }
}
