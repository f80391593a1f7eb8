//! Reading a look at a seat: strangers and garbage make no holder of ours and hide nobody.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;
use tooz_core::backend::{Contender, Holder, Mark, Queue};
use tooz_core::{ClaimId, FencingToken, Mode};

use crate::record::Record;
use crate::reply::{bytes, count, list, number, word};

/// How many holders and how many who wait are shown at most.
pub(crate) const MOST: usize = 10_000;

/// A holder without a time to live is looked at again after this.
const ENDLESS: i64 = 1000;

/// Reads the answer. `patience` is how long a change by clients who tell nobody may go unseen.
pub(crate) fn read(answer: &Value, mark: Mark, patience: Option<Duration>) -> Option<Queue> {
    let [now, kind, value, left, token, since, record, readers, waiting] = list(answer)? else { return None };
    let now = number(now)?;
    let mut queue = Queue { mark, ..Queue::default() };
    let mut ends = Vec::new();
    match word(kind)? {
        "one" => {
            let age = span(now, number(since)?);
            queue.holders.extend(holder(bytes(value)?, bytes(record)?, count(token)?, Mode::Exclusive, age));
        }
        "foreign" => queue.holders.push(Holder {
            // Python's keys hold an id that nobody else has, so that a stranger can be named too.
            claim: word(value).and_then(ClaimId::parse),
            member: None,
            mode: Mode::Exclusive,
            token: None,
            value: None,
            age: None,
        }),
        _ => {}
    }
    if !queue.holders.is_empty() {
        let left = number(left)?;
        ends.push(if left < 0 { ENDLESS } else { left });
    }
    for reader in list(readers)? {
        let [claim, expiry, record, hold] = list(reader)? else { return None };
        let (token, since) = word(hold)?.split_once(' ').unwrap_or_default();
        let age = since.parse().ok().and_then(|since| span(now, since));
        let token = token.parse().unwrap_or_default();
        queue.holders.extend(holder(bytes(claim)?, bytes(record)?, token, Mode::Shared, age));
        ends.push(number(expiry)?.saturating_sub(now));
    }
    queue.holders.sort_by_key(|holder| holder.token);
    for waiter in list(waiting)? {
        let [claim, expiry, record] = list(waiter)? else { return None };
        let Some(record) = Record::decode(bytes(record)?) else { continue };
        let claim = word(claim).and_then(ClaimId::parse);
        queue.waiting.push(Contender { claim, member: Some(record.member), mode: record.mode });
        ends.push(number(expiry)?.saturating_sub(now));
    }
    let soonest = ends.into_iter().min().map(|left| Duration::from_millis(left.max(0).unsigned_abs() + 5));
    queue.revisit = soonest.into_iter().chain(patience).min();
    Some(queue)
}

fn holder(claim: &[u8], record: &[u8], token: u64, mode: Mode, age: Option<Duration>) -> Option<Holder> {
    let record = Record::decode(record);
    Some(Holder {
        claim: Some(std::str::from_utf8(claim).ok().and_then(ClaimId::parse)?),
        member: record.as_ref().map(|record| record.member.clone()),
        mode,
        token: (token > 0).then(|| FencingToken::new(token)),
        value: record.map(|record: Record| -> Bytes { record.value }),
        age,
    })
}

fn span(now: i64, since: i64) -> Option<Duration> {
    (since > 0).then(|| Duration::from_millis(now.saturating_sub(since).max(0).unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn seat(
        kind: &str,
        value: &str,
        left: i64,
        record: &str,
        readers: Vec<Value>,
        waiting: Vec<Value>,
    ) -> Value {
        let head =
            [Value::Int(10_000), text(kind), text(value), Value::Int(left), Value::Int(7), Value::Int(9_000)];
        let tail = [text(record), Value::Array(readers), Value::Array(waiting)];
        Value::Array(head.into_iter().chain(tail).collect())
    }

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn record(mode: char) -> String {
        format!("1{mode}{ID}0000030000003abcvalue")
    }

    #[test]
    fn a_holder_is_shown_with_all_that_is_known() {
        let queue = read(&seat("one", ID, 500, &record('x'), vec![], vec![]), Mark(3), None).unwrap();
        let holder = &queue.holders[0];
        assert_eq!((holder.token, holder.age), (Some(FencingToken::new(7)), Some(Duration::from_secs(1))));
        assert_eq!(holder.member.as_ref().map(|member| member.as_str()), Some("abc"));
        assert_eq!(holder.value.as_deref(), Some(b"value".as_slice()));
        assert_eq!(queue.revisit, Some(Duration::from_millis(505)));
    }

    #[test]
    fn a_stranger_is_a_holder_of_whom_little_is_known() {
        let patience = Some(Duration::from_secs(10));
        let queue =
            read(&seat("foreign", "Python", -1, &record('x'), vec![], vec![]), Mark(0), patience).unwrap();
        let holder = &queue.holders[0];
        assert_eq!((holder.claim, &holder.member, holder.token, &holder.value), (None, &None, None, &None));
        assert_eq!(
            queue.revisit,
            Some(Duration::from_millis(1_005)),
            "it may stay for ever, and is looked at again"
        );
    }

    #[test]
    fn a_garbled_waiter_hides_nobody_and_a_garbled_holder_still_holds() {
        let waiter = |record: &str| Value::Array(vec![text(ID), Value::Int(12_000), text(record)]);
        let waiting = vec![waiter("garbage"), waiter(&record('s'))];
        let queue = read(&seat("one", ID, 500, "garbage", vec![], waiting), Mark(0), None).unwrap();
        assert_eq!((queue.holders.len(), queue.waiting.len()), (1, 1));
        assert_eq!(queue.holders[0].member, None);
        assert_eq!(queue.waiting[0].mode, Mode::Shared);
    }

    #[test]
    fn readers_are_shown_in_the_order_of_their_tokens() {
        let reader = |token: u64| {
            Value::Array(vec![text(ID), text("12000.5"), text(&record('s')), text(&format!("{token} 9500"))])
        };
        let answer = seat("shared", ID, 500, "", vec![reader(9), reader(8)], vec![]);
        let tokens: Vec<_> = read(&answer, Mark(0), None).unwrap().holders.iter().map(|h| h.token).collect();
        assert_eq!(tokens, [Some(FencingToken::new(8)), Some(FencingToken::new(9))]);
    }

    #[test]
    fn an_answer_of_another_shape_is_none() {
        for odd in [Value::Nil, Value::Int(1), Value::Array(vec![]), Value::Array(vec![Value::Nil; 9])] {
            assert_eq!(read(&odd, Mark(0), None), None);
        }
    }
}
