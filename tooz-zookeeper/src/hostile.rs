//! Every decoder of this crate, for the tests of hostile input and for fuzzers. No part of the interface.

use std::str::from_utf8;

use tooz_core::hostile::Decoder;
use tooz_core::{Endpoint, Mode, Name};

use crate::config::Config;
use crate::keys::{self, Keys};
use crate::sequence::{Contest, is_exclusive};
use crate::ticket::Ticket;
use crate::{connect, session};

/// Their names and what to call.
pub const DECODERS: &[(&str, Decoder)] = &[
    ("zookeeper-children", children),
    ("zookeeper-data", data),
    ("zookeeper-node", node),
    ("zookeeper-ticket", ticket),
    ("zookeeper-url", url),
];

/// The children of a seat, one a line.
fn children(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let names: Vec<String> = text.lines().map(str::to_owned).collect();
    let contest = Contest::of(names.clone());
    let entries = contest.entries();
    assert!(entries.len() <= names.len());
    assert_eq!(contest.holders() > 0, !entries.is_empty(), "somebody holds where somebody contends");
    assert_eq!(contest.in_the_way_of(Mode::Exclusive), entries.first());
    for name in names.iter().filter(|name| is_exclusive(name)) {
        assert!(contest.place(name).is_some(), "{name} contends and stands nowhere");
    }
    for entry in entries.iter().filter_map(|entry| entry.claim) {
        assert!(contest.of_claim(entry).count() > 0);
    }
}

/// The data of a session's node, and of our root.
fn data(bytes: &[u8]) {
    let _ = session::read_session(bytes);
    let _ = connect::check_layout(bytes).map_err(|error| error.to_string());
}

/// A node's name or path.
fn node(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let (group, member) = (keys::group_of(text), keys::member_of(text));
    for python in [false, true] {
        let keys = Keys::new("tooz", python);
        if let Some((seat, node)) = keys.contender(text) {
            assert!(text.ends_with(node));
            let _ = keys.seat(&seat);
        }
        if let (Some(group), Some(member)) = (&group, &member) {
            let path = keys.member(group, member);
            assert!(!keys.group(group).ends_with("/locks") && path.starts_with("/tooz/"));
        }
    }
    let Ok(name) = Name::new(text) else { return };
    let path = Keys::new("tooz", false).group(&name);
    let node = path.strip_prefix("/tooz/").unwrap_or_default();
    assert!(!node.contains('/') && keys::group_of(node) == Some(name));
}

fn ticket(bytes: &[u8]) {
    let Some(ticket) = Ticket::read(bytes) else { return };
    assert_eq!(Ticket::read(&ticket.write()), Some(ticket));
}

fn url(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let _ = Endpoint::parse(text).and_then(|endpoint| Config::read(&endpoint));
}
