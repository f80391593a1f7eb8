//! What a fetch brought, read without trust: others may have written there.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use redis::Value;
use tooz_core::backend::Batch;
use tooz_core::{Incarnation, Message, MessageId, Name, Offset};

use crate::reply::{bytes, count, list, word};

/// How many of a place's bits count within a millisecond.
const WITHIN: u32 = 20;

/// A place as streams write it.
pub(crate) fn place_text(place: u64) -> String {
    format!("{}-{}", place >> WITHIN, place & ((1 << WITHIN) - 1))
}

/// Reads a place: 44 bits of milliseconds and 20 within.
fn place(text: &str) -> Option<u64> {
    let (millis, within) = text.split_once('-')?;
    let (millis, within) = (millis.parse::<u64>().ok()?, within.parse::<u64>().ok()?);
    (millis < 1 << (64 - WITHIN) && within < 1 << WITHIN).then_some(millis << WITHIN | within)
}

/// Reads an offset: incarnation, number, place.
pub(crate) fn offset(life: &Value, number: &Value, at: &Value) -> Option<Offset> {
    let number = count(number).filter(|number| *number > 0)?;
    Some(Offset::new(Incarnation::parse(word(life)?)?, number, place(word(at)?)?))
}

/// What one walk along a stream brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Without what only the ear knows.
    pub(crate) batch: Batch,
    /// How many entries there were that are none of ours.
    pub(crate) odd: u64,
    /// Where it stopped, if it went far and found no message: there may be more behind.
    pub(crate) reached: Option<String>,
}

/// Reads the answer to a fetch.
pub(crate) fn read(answer: &Value, asked: bool) -> Option<Walk> {
    if word(answer) == Some("none") {
        return Some(Walk { batch: Batch { anew: asked, ..Batch::default() }, ..Walk::default() });
    }
    let [life, number, at, anew, odd, found, reached] = list(answer)? else { return None };
    let last = offset(life, number, at)?;
    let found = list(found)?.chunks(3);
    let all = found.len();
    let farthest = found.clone().next_back().and_then(|entry| word(entry.first()?));
    let messages: Vec<_> = found.filter_map(|entry| message(last.incarnation(), entry)).collect();
    let odd = count(odd)? + (all - messages.len()) as u64;
    let anew = count(anew)? != 0;
    // What only looked like messages took the room of those behind it.
    let farthest = farthest.filter(|_| messages.is_empty()).unwrap_or_default();
    let reached = [word(reached)?, farthest].into_iter().find(|place| !place.is_empty()).map(str::to_owned);
    Some(Walk { batch: Batch { last: Some(last), anew, messages, ..Batch::default() }, odd, reached })
}

/// Reads an entry: its place, a head of version, number, id and sender, and the body.
fn message(life: Incarnation, entry: &[Value]) -> Option<Message> {
    let [at, head, body] = entry else { return None };
    let place = place(word(at)?)?;
    let (number, rest) = word(head)?.strip_prefix('1')?.split_once(' ')?;
    let number = number.parse().ok().filter(|number| *number > 0)?;
    let (id, sender) = rest.split_at_checked(32)?;
    Some(Message {
        offset: Offset::new(life, number, place),
        id: MessageId::parse(id)?,
        sender: Name::new(sender).ok()?,
        payload: Bytes::copy_from_slice(bytes(body)?),
        published_at: SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(place >> WITHIN)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn answer(found: &[&str], reached: &str) -> Value {
        let found = Value::Array(found.iter().map(|it| text(it)).collect());
        Value::Array(vec![
            text(ID),
            Value::Int(9),
            text("1700000000000-3"),
            Value::Int(0),
            Value::Int(2),
            found,
            text(reached),
        ])
    }

    #[test]
    fn a_batch_is_read_and_what_is_not_ours_is_counted() {
        let head = format!("18 {ID}ann é");
        let odd = format!("17 {}bob", "x".repeat(32));
        let answer = answer(&["1-2", &head, "body", "1-3", &odd, "body", "no place", &head, "body"], "");
        let Walk { batch, odd, reached } = read(&answer, true).unwrap();
        let [message] = &batch.messages[..] else { panic!("{batch:?}") };
        assert_eq!((message.offset.number(), message.sender.as_str()), (8, "ann é"));
        assert_eq!(message.offset.place(), 1 << 20 | 2);
        assert_eq!(message.published_at, Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1)));
        assert_eq!((batch.last.unwrap().number(), batch.anew, odd), (9, false, 4));
        assert_eq!(reached, None);
    }

    #[test]
    fn no_channel_is_news_only_to_those_who_stood_in_one() {
        assert!(read(&text("none"), true).unwrap().batch.anew);
        assert!(!read(&text("none"), false).unwrap().batch.anew);
    }

    #[test]
    fn a_walk_that_found_nothing_tells_how_far_it_went() {
        assert_eq!(read(&answer(&[], "5-1"), false).unwrap().reached.as_deref(), Some("5-1"));
    }

    #[test]
    fn a_walk_that_found_only_what_looks_like_messages_goes_on_behind_it() {
        let (odd, head) = (format!("17 {}bob", "x".repeat(32)), format!("18 {ID}ann"));
        let alone = answer(&["1-2", &odd, "body", "1-3", &odd, "body"], "");
        assert_eq!(read(&alone, false).unwrap().reached.as_deref(), Some("1-3"));
        let with_one = answer(&["1-2", &head, "body", "1-3", &odd, "body"], "");
        assert_eq!(read(&with_one, false).unwrap().reached, None);
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        for odd in [Value::Nil, Value::Int(1), Value::Array(vec![]), Value::Array(vec![Value::Nil; 7])] {
            assert_eq!(read(&odd, false), None);
        }
    }

    proptest! {
        #[test]
        fn places_are_written_as_they_are_read(at: u64) {
            prop_assert_eq!(place(&place_text(at)), Some(at));
        }

        #[test]
        fn garbage_is_no_message(at in ".{0,20}", head in ".{0,60}") {
            // Never a panic.
            let _ = message(Incarnation::from_bytes([1; 16]), &[text(&at), text(&head), text("")]);
        }
    }
}
