//! Every decoder of this crate, for the tests of hostile input and for fuzzers. No part of the interface.

use std::str::from_utf8;

use bytes::Bytes;
use tooz_core::hostile::Decoder;
use tooz_core::{Channel, ClaimId, Endpoint, Name, Seat};

use crate::channel::ChannelKeys;
use crate::config::Config;
use crate::driver;
use crate::entry::{Entry, Head};
use crate::keys::{self, GroupKeys, SeatKeys};
use crate::locks::Ticket;
use crate::record::Record;

/// Their names and what to call.
pub const DECODERS: &[(&str, Decoder)] = &[
    ("etcd-entry", entry),
    ("etcd-head", head),
    ("etcd-key", key),
    ("etcd-record", record),
    ("etcd-ticket", ticket),
    ("etcd-url", url),
    ("etcd-version", version),
];

/// A published message.
fn entry(bytes: &[u8]) {
    let Some(entry) = Entry::decode(bytes) else { return };
    let _ = (entry.sender(), entry.inline(), entry.is_apart(), entry.published_at(), entry.age(0));
    assert!(entry.encode().ok().and_then(|bytes| Entry::decode(&bytes)).is_none_or(|again| again == entry));
}

/// Where what is retained begins.
fn head(bytes: &[u8]) {
    let Some(head) = Head::decode(bytes) else { return };
    assert_eq!(head.encode().ok().and_then(|bytes| Head::decode(&bytes)), Some(head));
}

fn key(bytes: &[u8]) {
    let Ok(name) = Name::new("a") else { return };
    for seat in [Seat::Lock(name.clone()), Seat::Leader(name.clone())] {
        let keys = SeatKeys::of(&seat);
        for prefix in [keys.queue(), keys.holders()] {
            let claim = keys::claim_of(&[prefix.as_bytes(), bytes].concat(), &prefix);
            assert!(claim.is_none_or(|claim| bytes.eq_ignore_ascii_case(claim.to_string().as_bytes())));
        }
    }
    if let Some((seat, claim)) = keys::holding(bytes) {
        // A name may be spelled in more ways than ours, but every spelling is one name.
        assert_eq!(keys::holding(SeatKeys::of(&seat).holder(claim).as_bytes()), Some((seat, claim)));
    }
    if let Some((seat, claim)) = keys::waiting(bytes) {
        assert_eq!(keys::waiting(SeatKeys::of(&seat).place(claim).as_bytes()), Some((seat, claim)));
    }
    let group = GroupKeys::of(&name);
    for prefix in [&group.group, &group.odd] {
        let _ = group.member_of(&[prefix.as_bytes(), bytes].concat());
    }
    let _ = (group.member_of(bytes), keys::group_of(bytes));
    let keys = ChannelKeys::of(&Channel::Topic(name));
    if let Some((bucket, id)) = keys.message_of(bytes) {
        assert_eq!(keys.message(bucket, id).as_bytes(), bytes);
    }
    let Ok(text) = from_utf8(bytes) else { return };
    let _ = keys::unsegment(text);
    assert_eq!(keys::unsegment(&keys::segment(text)).as_deref(), Some(text));
}

/// What a claim leaves beside the main key.
fn record(bytes: &[u8]) {
    let Some(record) = Record::decode(bytes) else { return };
    let _ = (record.member(), record.mode(), record.age(), record.share());
    let _ = record.holds(ClaimId::random(), Some(bytes));
    assert_eq!(record.encode().ok().and_then(|bytes| Record::decode(&bytes)), Some(record));
}

fn ticket(bytes: &[u8]) {
    let _ = Ticket::decode(&Bytes::copy_from_slice(bytes));
}

fn url(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let _ = Endpoint::parse(text).and_then(|endpoint| Config::read(&endpoint));
}

fn version(bytes: &[u8]) {
    let _ = driver::is_flawed(&String::from_utf8_lossy(bytes));
}
