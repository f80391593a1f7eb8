//! Reading who is in a group: all of it, or what is new since it was read with watches.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tooz_core::backend::{Mark, RosterEntry, RosterFact};
use tooz_core::{Name, Result};
use zookeeper_client::{Client, Error as Fault, OneshotWatcher, Stat};

use crate::error::unread;
use crate::furniture::is_session;
use crate::keys::member_of;
use crate::look::found;
use crate::roll::{Kept, Known, News};
use crate::session::Session;

/// At most so many members of one group are looked at.
const MOST: usize = 10_000;

/// A member's node as read.
struct Read {
    node: String,
    member: Name,
    data: Vec<u8>,
    stat: Stat,
}

/// The group's members; `None` if there is no such group.
pub(crate) async fn read(session: &Session, group: &Name) -> Result<Option<RosterFact>> {
    let client = session.client()?;
    let path = session.keys.group(group);
    let nodes = match client.list_children(&path).await {
        Ok(nodes) => nodes,
        Err(Fault::NoNode) => return Ok(None),
        Err(fault) => return Err(unread("list a group", fault)),
    };
    let looks =
        members(nodes).map(|(node, member)| (client.get_data(&format!("{path}/{node}")), node, member));
    let mut reads = Vec::new();
    for (look, node, member) in looks.collect::<Vec<_>>() {
        let read = found(look.await)?.filter(|(_, stat)| is_session(stat.ephemeral_owner));
        reads.extend(read.map(|(data, stat)| Read { node, member, data, stat }));
    }
    let entries = entries(session, reads).await?;
    let mut seen = Seen::default();
    entries.iter().for_each(|(read, _)| seen.add(&read.node, (read.stat.czxid, read.stat.mzxid)));
    let mark = seen.mark();
    let members = entries.into_iter().map(|(_, entry)| entry).collect();
    Ok(Some(RosterFact { mark, members, revisit: None }))
}

/// The group as it is now, with a watch on it and on each member. Those of `old` that have heard nothing stay, and
/// whom they are on is not read again.
pub(crate) async fn read_again(
    session: &Session,
    group: &Name,
    old: Option<Kept>,
    waker: &Waker,
) -> Result<Kept> {
    let client = session.client()?;
    let path = session.keys.group(group);
    let states = session.states();
    let (nodes, watch) = list(&client, &path).await?;
    let mut kept = Kept::new(states, nodes.is_some(), News::of(watch));
    // Whatever the watches have to say of what was listed, they have said before the list was answered.
    let mut known = old.and_then(Kept::uncut).unwrap_or_default();
    let mut looks = Vec::new();
    for (node, member) in members(nodes.unwrap_or_default()) {
        match known.remove(&node).and_then(|known| known.unchanged(waker)) {
            Some(same) => drop(kept.members.insert(node, same)),
            None => looks.push((client.get_and_watch_data(&format!("{path}/{node}")), node, member)),
        }
    }
    let mut reads = Vec::new();
    for (look, node, member) in looks {
        let (data, stat, watch) = match look.await {
            Ok(read) => read,
            // The list has changed since, as its watch will tell.
            Err(Fault::NoNode) => continue,
            Err(fault) => return Err(unread("watch a member", fault)),
        };
        let seen = (stat.czxid, stat.mzxid);
        kept.members.insert(node.clone(), Known { news: News::of(watch), seen, entry: None });
        if is_session(stat.ephemeral_owner) {
            reads.push(Read { node, member, data, stat });
        }
    }
    for (read, entry) in entries(session, reads).await? {
        if let Some(known) = kept.members.get_mut(&read.node) {
            known.entry = Some(entry);
        }
    }
    Ok(kept)
}

/// The children of a group and a watch on them; where there is no such group, a watch on its coming.
async fn list(client: &Client, path: &str) -> Result<(Option<Vec<String>>, OneshotWatcher)> {
    let deaf = |fault| unread("watch a group", fault);
    loop {
        match client.list_and_watch_children(path).await {
            Ok((nodes, watch)) => return Ok((Some(nodes), watch)),
            Err(Fault::NoNode) => {}
            Err(fault) => return Err(deaf(fault)),
        }
        let (stat, watch) = client.check_and_watch_stat(path).await.map_err(deaf)?;
        if stat.is_none() {
            return Ok((None, watch));
        }
    }
}

/// What is told of them. Whose sessions they are is asked for all at once.
async fn entries(session: &Session, reads: Vec<Read>) -> Result<Vec<(Read, RosterEntry)>> {
    let owners: BTreeSet<i64> = reads.iter().map(|read| read.stat.ephemeral_owner).collect();
    let sessions = try_join_all(owners.iter().map(|owner| session.session_of(*owner))).await?;
    let sessions: HashMap<_, _> = owners.into_iter().zip(sessions).collect();
    let entries = reads.into_iter().map(|mut read| {
        let entry = RosterEntry {
            member: read.member.clone(),
            session: sessions.get(&read.stat.ephemeral_owner).copied().flatten(),
            capabilities: Bytes::from(std::mem::take(&mut read.data)),
            joined_at: joined_at(&read.stat),
        };
        (read, entry)
    });
    Ok(entries.collect())
}

/// The nodes that are members, and their names.
fn members(nodes: Vec<String>) -> impl Iterator<Item = (String, Name)> {
    let named = nodes.into_iter().filter_map(|node| member_of(&node).map(|member| (node, member)));
    named.take(MOST)
}

fn joined_at(stat: &Stat) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(stat.ctime).ok()?))
}

/// A digest of what was seen.
#[derive(Default)]
pub(crate) struct Seen<'a>(Vec<(&'a str, (i64, i64))>);

impl<'a> Seen<'a> {
    /// A member's node, and the transactions that made it and wrote it last.
    pub(crate) fn add(&mut self, node: &'a str, transactions: (i64, i64)) {
        self.0.push((node, transactions));
    }

    /// The same whatever order the nodes came in.
    pub(crate) fn mark(mut self) -> Mark {
        self.0.sort_unstable();
        let mut digest = DefaultHasher::new();
        self.0.hash(&mut digest);
        Mark(digest.finish())
    }
}
