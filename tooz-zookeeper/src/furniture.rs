//! Nodes that are named like claims but go with no session: whoever made them, they are nobody's. A queue is read by its
//! names; that one of them is furniture shows when it is looked at, and is remembered. So are contenders that were looked
//! at for no other reason: a node of the same name is the same one, since names carry the server's number.

use std::collections::HashSet;
use std::sync::Mutex;

use zookeeper_client::Stat;

use crate::sequence::Contest;
use crate::session::locked;

/// At most so many are remembered.
const MOST: usize = 10_000;
/// What the server keeps as the owner of a container.
const CONTAINER: i64 = i64::MIN;
/// The upper 24 bits of what it keeps as the owner of a node with a time to live, which are the 40 others. No session has
/// them: below a server's number, here 255, stands the time of its start.
const WITH_TTL: i64 = 0xff_00_00;

/// Whether the owner of a node is a session, with which it goes. For containers and times to live a server says 0, but not
/// if it is of an old version or was told, after such nodes were made, to know none.
pub(crate) fn is_session(owner: i64) -> bool {
    owner != 0 && owner != CONTAINER && (owner >> 40) & 0xff_ff_ff != WITH_TTL
}

/// What this session has come across.
#[derive(Debug, Default)]
pub(crate) struct Furniture {
    furniture: Mutex<HashSet<String>>,
    contenders: Mutex<HashSet<String>>,
}

impl Furniture {
    /// Whether the node is furniture, which is then remembered.
    pub(crate) fn notice(&self, path: &str, stat: &Stat) -> bool {
        let is_furniture = !is_session(stat.ephemeral_owner);
        if is_furniture {
            remember(&self.furniture, path.to_owned());
        }
        is_furniture
    }

    /// The node was looked at and goes with a session.
    pub(crate) fn meet(&self, path: String) {
        remember(&self.contenders, path);
    }

    /// Whether the node is known to go with a session.
    pub(crate) fn has_met(&self, path: &str) -> bool {
        locked(&self.contenders).contains(path)
    }

    /// The contest among the children of a directory, without what is known to be furniture.
    pub(crate) fn contest(&self, directory: &str, mut children: Vec<String>) -> Contest {
        let known = locked(&self.furniture);
        if !known.is_empty() {
            children.retain(|child| !known.contains(&format!("{directory}/{child}")));
        }
        drop(known);
        Contest::of(children)
    }
}

fn remember(paths: &Mutex<HashSet<String>>, path: String) {
    let mut known = locked(paths);
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(path);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owners_of_containers_and_of_nodes_with_a_time_to_live_are_no_sessions() {
        for (what, owner) in [
            ("persistent", 0),
            ("a container", 0x8000_0000_0000_0000_u64),
            ("for a millisecond", 0xff00_0000_0000_0001),
            ("for a day", 0xff00_0000_0526_5c00),
            ("for 34 years", 0xff00_00ff_ffff_ffff),
        ] {
            assert!(!is_session(owner.cast_signed()), "{what}");
        }
        let sessions =
            [0x0100_0193_5a1b_0000, 0x8001_935a_1b4c_0001_u64, 0xfe01_935a_1b4c_0001, 0xff01_935a_1b4c_0007];
        for session in sessions {
            assert!(is_session(session.cast_signed()), "{session:x}");
        }
    }
}
