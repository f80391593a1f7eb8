//! Every decoder of this crate, for the tests of hostile input and for fuzzers. No part of the interface.
//! What stands in a folder as a whole is tested through the driver.

use std::str::from_utf8;

use tooz_core::hostile::Decoder;
use tooz_core::{Endpoint, Name};

use crate::config::Config;
use crate::entry::{self, Header, SIZE};
use crate::keys::{self, Reading, Segment};
use crate::record::Record;
use crate::{segment, sequence};

/// Their names and what to call.
pub const DECODERS: &[(&str, Decoder)] = &[
    ("file-claim", claim),
    ("file-counter", counter),
    ("file-head", head),
    ("file-index", index),
    ("file-record", record),
    ("file-segment", segment),
    ("file-url", url),
];

/// A claim's file by its name.
fn claim(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    assert!(keys::Entry::read(text).is_none_or(|entry| entry.file_name() == text));
}

fn counter(bytes: &[u8]) {
    assert!(sequence::read(bytes).is_none_or(|number| format!("{number:020}\n").as_bytes() == bytes));
}

/// The number of the first message that is retained.
fn head(bytes: &[u8]) {
    let Some(bytes) = bytes.first_chunk() else { return };
    assert!(entry::decode_number(bytes).is_none_or(|number| entry::encode_number(number) == *bytes));
}

/// A block of an index, as it is and with the check that it should have; and an index by its name.
fn index(bytes: &[u8]) {
    let name = from_utf8(bytes).ok().and_then(segment::read_index_name);
    assert!(name.is_none_or(|first| segment::index_name(first).as_bytes() == bytes));
    let mut block = [0; SIZE];
    block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    for block in [block, entry::rechecked(&block)] {
        assert!(Header::decode(&block).is_none_or(|it| Header::decode(&it.encode()) == Some(it)));
        let read = entry::Entry::decode(&block);
        assert!(read.is_none_or(|it| it.end() >= it.position && u32::from(it.sender) <= it.length));
        assert!(read.is_none_or(|it| entry::Entry::decode(&it.encode()) == Some(it)));
    }
}

fn record(bytes: &[u8]) {
    let Some(record) = Record::decode(bytes) else { return };
    let _ = record.written_at();
    assert_eq!(Record::decode(&record.encode()), Some(record));
}

/// A name by the segment it is spelled as, and the other way round.
fn segment(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    if let Reading::Spelled(name) = keys::read_segment(text) {
        assert_eq!(Segment::of(&name).as_str(), text);
    }
    let Ok(name) = Name::new(text) else { return };
    let segment = Segment::of(&name);
    assert!(!segment.as_str().contains(['/', '\0']) && !segment.as_str().starts_with('.'));
    assert_eq!(keys::read_segment(segment.as_str()) == Reading::Spelled(name), segment.is_spelled());
}

fn url(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let _ = Endpoint::parse(text).and_then(|endpoint| Config::read(&endpoint));
}
