//! Short words for parts of transactions.

use bytes::Bytes;
use etcd_client::{
    Compare, CompareOp, GetOptions, KeyValue, PutOptions, SortOrder, SortTarget, TxnOp, TxnOpResponse,
    TxnResponse,
};

use crate::line::LONGEST;

/// One key as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
    pub(crate) created: i64,
    pub(crate) modified: i64,
    pub(crate) lease: i64,
}

impl From<&KeyValue> for Seen {
    fn from(kv: &KeyValue) -> Self {
        Self {
            key: Bytes::copy_from_slice(kv.key()),
            value: Bytes::copy_from_slice(kv.value()),
            created: kv.create_revision(),
            modified: kv.mod_revision(),
            lease: kv.lease(),
        }
    }
}

/// No such key.
pub(crate) fn absent(key: impl Into<Vec<u8>>) -> Compare {
    Compare::create_revision(key, CompareOp::Equal, 0)
}

/// There is such a key.
pub(crate) fn present(key: impl Into<Vec<u8>>) -> Compare {
    Compare::create_revision(key, CompareOp::Greater, 0)
}

/// The key that was created then is still there.
pub(crate) fn created(key: impl Into<Vec<u8>>, revision: i64) -> Compare {
    Compare::create_revision(key, CompareOp::Equal, revision)
}

/// The key is as it was written then.
pub(crate) fn unchanged(key: impl Into<Vec<u8>>, revision: i64) -> Compare {
    Compare::mod_revision(key, CompareOp::Equal, revision)
}

/// The key has this value.
pub(crate) fn valued(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Compare {
    Compare::value(key, CompareOp::Equal, value)
}

/// The key stands under this lease.
pub(crate) fn leased(key: impl Into<Vec<u8>>, lease: i64) -> Compare {
    Compare::lease(key, CompareOp::Equal, lease)
}

/// No key in the range: comparisons with an empty range are true.
pub(crate) fn none_between(from: impl Into<Vec<u8>>, to: impl Into<Vec<u8>>) -> Compare {
    absent(from).with_range(to)
}

/// No key with the prefix was written after this revision.
pub(crate) fn written_below(prefix: &str, revision: i64) -> Compare {
    let later = revision.saturating_add(1);
    Compare::mod_revision(prefix, CompareOp::Less, later).with_range(super::keys::after_prefix(prefix))
}

/// No key with the prefix.
pub(crate) fn none_below(prefix: &str) -> Compare {
    none_between(prefix, super::keys::after_prefix(prefix))
}

pub(crate) fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, lease: i64) -> TxnOp {
    TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)))
}

pub(crate) fn get(key: impl Into<Vec<u8>>) -> TxnOp {
    TxnOp::get(key, None)
}

pub(crate) fn delete(key: impl Into<Vec<u8>>) -> TxnOp {
    TxnOp::delete(key, None)
}

/// Everything with the prefix, at most `limit` keys, the oldest first.
pub(crate) fn oldest_below(prefix: &str, limit: i64) -> TxnOp {
    oldest_between(prefix, super::keys::after_prefix(prefix), limit)
}

/// The same without values.
pub(crate) fn oldest_names_below(prefix: &str, limit: i64) -> TxnOp {
    let options = oldest(super::keys::after_prefix(prefix), limit).with_keys_only();
    TxnOp::get(prefix, Some(options))
}

fn oldest_between(from: impl Into<Vec<u8>>, to: Vec<u8>, limit: i64) -> TxnOp {
    TxnOp::get(from, Some(oldest(to, limit)))
}

fn oldest(to: Vec<u8>, limit: i64) -> GetOptions {
    let options = GetOptions::new().with_range(to).with_sort(SortTarget::Create, SortOrder::Ascend);
    options.with_limit(limit)
}

/// Everything with the prefix, in three answers: what comes before the queue, what comes after it, and of the queue at
/// most `limit` keys. However many wait, none of the others is missing.
pub(crate) fn oldest_around(prefix: &str, queue: &str, limit: i64) -> [TxnOp; 3] {
    let after = super::keys::after_prefix;
    [
        oldest_between(prefix, queue.into(), LONGEST),
        oldest_between(after(queue), after(prefix), LONGEST),
        oldest_below(queue, limit),
    ]
}

/// How many keys have the prefix.
pub(crate) fn count_below(prefix: &str) -> TxnOp {
    TxnOp::get(prefix, Some(GetOptions::new().with_prefix().with_count_only()))
}

/// The store's revision when it answered.
pub(crate) fn revision(response: &TxnResponse) -> i64 {
    response.header().map_or(0, etcd_client::ResponseHeader::revision)
}

/// The first key of an answer to a get.
pub(crate) fn first(response: Option<&TxnOpResponse>) -> Option<Seen> {
    match response {
        Some(TxnOpResponse::Get(get)) => get.kvs().first().map(Seen::from),
        _ => None,
    }
}

/// All keys of an answer to a get.
pub(crate) fn all(response: Option<&TxnOpResponse>) -> Vec<Seen> {
    match response {
        Some(TxnOpResponse::Get(get)) => get.kvs().iter().map(Seen::from).collect(),
        _ => Vec::new(),
    }
}

/// Where an answer to a get of the oldest was cut off: when its last key was created. What is missing is no older.
pub(crate) fn cut(response: Option<&TxnOpResponse>) -> Option<i64> {
    match response {
        Some(TxnOpResponse::Get(get)) if get.more() => Some(get.kvs().last()?.create_revision()),
        _ => None,
    }
}

/// The count of an answer to a get.
pub(crate) fn count(response: Option<&TxnOpResponse>) -> u64 {
    match response {
        Some(TxnOpResponse::Get(get)) => u64::try_from(get.count()).unwrap_or(0),
        _ => 0,
    }
}

/// How many keys a delete removed.
pub(crate) fn deleted(response: Option<&TxnOpResponse>) -> i64 {
    match response {
        Some(TxnOpResponse::Delete(delete)) => delete.deleted(),
        _ => 0,
    }
}
