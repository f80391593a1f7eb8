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
        ends.push(number(expiry)? - now);
    }
    queue.holders.sort_by_key(|holder| holder.token);
    for waiter in list(waiting)? {
        let [claim, expiry, record] = list(waiter)? else { return None };
        let Some(record) = Record::decode(bytes(record)?) else { continue };
        let claim = word(claim).and_then(ClaimId::parse);
        queue.waiting.push(Contender { claim, member: Some(record.member), mode: record.mode });
        ends.push(number(expiry)? - now);
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
    (since > 0).then(|| Duration::from_millis((now - since).max(0).unsigned_abs()))
}
