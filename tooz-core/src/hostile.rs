//! Every decoder of this crate, for the tests of hostile input and for fuzzers. No part of the interface.

use std::collections::BTreeMap;
use std::str::from_utf8;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::backend::{OptionKind, OptionSpec, RosterEntry, RosterFact};
use crate::endpoint::{Endpoint, parse_span};
use crate::id::{ClaimId, Incarnation, MessageId, SessionId};
use crate::name::Name;
use crate::offset::Offset;
use crate::topic::Envelope;
use crate::{Capabilities, HashRing, Roster};

/// A decoder that is fed bytes of a stranger. It panics where what it read is not what it would write.
pub type Decoder = fn(&[u8]);

/// Their names and what to call.
pub const DECODERS: &[(&str, Decoder)] = &[
    ("core-capabilities", capabilities),
    ("core-ids", ids),
    ("core-letter", letter),
    ("core-name", name),
    ("core-offset", offset),
    ("core-span", span),
    ("core-url", url),
];

fn capabilities(bytes: &[u8]) {
    let Some(read) = Capabilities::from_store(Bytes::copy_from_slice(bytes)) else { return };
    assert!(read.value().is_ok() && read.as_bytes() == bytes);
    // Whatever shape a program expects; debug output goes to logs.
    let _ = (read.read::<IgnoredAny>().is_ok(), read.read::<Vec<String>>().is_ok());
    let _ =
        (read.read::<BTreeMap<String, IgnoredAny>>().is_ok(), read.read::<(u8, Option<String>)>().is_ok());
    let _ = format!("{read:?}");
    let Ok(member) = Name::new("a") else { return };
    let entry = RosterEntry { member, session: None, capabilities: read.as_bytes().clone(), joined_at: None };
    let fact = RosterFact { members: vec![entry], ..RosterFact::default() };
    let ring = HashRing::of_roster(1, &Roster::from_fact(Some(fact)));
    assert!(ring.owner("key").is_none_or(|owner| owner.as_str() == "a"));
}

fn ids(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let ours = text.to_ascii_lowercase();
    assert!(ClaimId::parse(text).is_none_or(|id| id.to_string() == ours));
    assert!(SessionId::parse(text).is_none_or(|id| id.to_string() == ours));
    assert!(MessageId::parse(text).is_none_or(|id| id.to_string() == ours));
    assert!(Incarnation::parse(text).is_none_or(|id| id.to_string() == ours));
}

fn letter(bytes: &[u8]) {
    let Some(read) = Envelope::open(&Bytes::copy_from_slice(bytes)) else { return };
    assert_eq!(Envelope::open(&read.seal()), Some(read));
}

fn name(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(read) = Name::new(text) else { return };
    assert!(read.as_str() == text && !read.to_string().contains(|letter: char| letter.is_control()));
}

fn offset(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(read) = text.parse::<Offset>() else { return };
    assert_eq!(read.to_string().parse::<Offset>().ok(), Some(read));
}

fn span(bytes: &[u8]) {
    assert!(from_utf8(bytes).ok().and_then(parse_span).is_none_or(|span| !span.is_zero()));
}

fn url(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let endpoint = match Endpoint::parse(text) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            let _ = format!("{error} {error:?}");
            return;
        }
    };
    let shown = format!("{endpoint} {endpoint:?}");
    assert!(!shown.contains(|letter: char| letter.is_control()), "{shown}");
    let kinds = [OptionKind::Flag, OptionKind::Span, OptionKind::Count, OptionKind::Texts];
    let known = kinds.map(|kind| OptionSpec { name: "o", kind, help: "" });
    for spec in known {
        let _ = endpoint.check_options("any", &[spec]).map_err(|error| format!("{error:?}"));
    }
    let _ = (endpoint.flag("o"), endpoint.span("o"), endpoint.count("o"), endpoint.secret("o"));
}
