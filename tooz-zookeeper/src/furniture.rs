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
/// What the server writes for the owner of a container.
const CONTAINER: i64 = i64::MIN;

/// What this session has come across.
#[derive(Debug, Default)]
pub(crate) struct Furniture {
    furniture: Mutex<HashSet<String>>,
    contenders: Mutex<HashSet<String>>,
}

impl Furniture {
    /// Whether the node is furniture, which is then remembered.
    pub(crate) fn notice(&self, path: &str, stat: &Stat) -> bool {
        let is_furniture = matches!(stat.ephemeral_owner, 0 | CONTAINER);
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
