//! ZooKeeper's protocol: a length, then a number that a request and its answer share.

use super::{Kind, Next, Way, number};

/// Nobody sends more: such a length is a word of four letters, or another protocol.
const MOST: u32 = 1 << 24;
const EVENT: u32 = u32::MAX; // −1
const PING: u32 = u32::MAX - 1; // −2

pub(super) fn next(bytes: &[u8], way: Way, first: bool) -> Next {
    let Some(length) = number(bytes, 0) else { return Next::Part };
    if length > MOST {
        return Next::Foreign;
    }
    let Ok(whole) = usize::try_from(length + 4) else { return Next::Foreign };
    if bytes.len() < whole {
        return Next::Part;
    }
    // The first of each side opens the session and has no number.
    let kind = match number(bytes, 4) {
        _ if first => Kind::Call,
        Some(PING) => Kind::Noise,
        Some(EVENT) => Kind::Note,
        _ => Kind::Call,
    };
    let command = match (way, first) {
        (Way::Up, true) => Some("connect"),
        (Way::Up, false) => number(bytes, 8).map(name),
        _ => None,
    };
    Next::Whole { length: whole, kind, command: command.map(ToOwned::to_owned), stream: None }
}

fn name(operation: u32) -> &'static str {
    match operation {
        1 | 15 | 19 | 21 => "create",
        2 | 20 => "delete",
        3 => "exists",
        4 => "getData",
        5 => "setData",
        8 | 12 => "getChildren",
        9 => "sync",
        11 => "ping",
        14 => "multi",
        100 => "auth",
        101 | 105 => "setWatches",
        106 => "addWatch",
        0xffff_fff5 => "close", // −11
        _ => "other",
    }
}
