//! Reading who is in a group: all of it, or what is new since it was read with watches.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tooz_core::backend::{Mark, RosterEntry, RosterFact};
use tooz_core::{Error, ErrorKind, Name, Result};
use zookeeper_client::{Client, Error as Fault, Stat};

use crate::error::unread;
use crate::furniture::is_session;
use crate::keys::member_of;
use crate::look::found;
use crate::roll::{Child, Known, Line, News, Roll};
use crate::session::Session;
use crate::watches::{Use, Watch};

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
    let members = members(group, nodes)?.into_iter();
    let looks = members.map(|(node, member)| (client.get_data(&format!("{path}/{node}")), node, member));
    let mut reads = Vec::new();
    for (look, node, member) in looks.collect::<Vec<_>>() {
        let read = found(look.await)?.filter(|(_, stat)| is_session(stat.ephemeral_owner));
        reads.extend(read.map(|(data, stat)| Read { node, member, data, stat }));
    }
    let entries = entries(session, reads).await?;
    Ok(Some(fact(entries.into_iter().map(of_member).collect())))
}

/// The group as it is now. What is kept of it is brought up to date on the way, with a watch on it and on each member:
/// those that have heard nothing stay, and whom they are on is not read again.
pub(crate) async fn read_again(session: &Session, group: &Name, roll: &Roll) -> Result<Option<RosterFact>> {
    let client = session.client()?;
    let path = session.keys.group(group);
    let mut line = Line::new(session.states());
    let (nodes, watch) = list(session, &client, &path).await?;
    let exists = nodes.is_some();
    let nodes = members(group, nodes.unwrap_or_default())?;
    // Whatever the watches have to say of what was listed, they have said before the list was answered.
    let mut known = roll.listed(&mut line, exists, watch, &nodes);
    let mut told = Vec::new();
    let mut looks = Vec::new();
    for (node, member) in nodes {
        match known.remove(&node) {
            Some(same) => told.push((node, same)),
            None => {
                let look = session.watches.data(&client, &format!("{path}/{node}"), Use::Member);
                looks.push((look, node, member));
            }
        }
    }
    let (mut reads, mut watches) = (Vec::new(), HashMap::new());
    for (look, node, member) in looks {
        let (data, stat, watch) = match look.await {
            Ok(read) => read,
            // The list has changed since, as its watch will tell.
            Err(Fault::NoNode) => continue,
            Err(fault) => return Err(unread("watch a member", fault)),
        };
        watches.insert(node.clone(), watch);
        match is_session(stat.ephemeral_owner) {
            true => reads.push(Read { node, member, data, stat }),
            false => told.push((node, Child { seen: (stat.czxid, stat.mzxid), entry: None })),
        }
    }
    told.extend(entries(session, reads).await?.into_iter().map(of_member));
    for (node, child) in &told {
        if let Some(watch) = watches.remove(node) {
            roll.read(&mut line, node, Known { news: News::of(watch), child: child.clone() });
        }
    }
    Ok(exists.then(|| fact(told)))
}

fn of_member((read, entry): (Read, RosterEntry)) -> (String, Child) {
    (read.node, Child { seen: (read.stat.czxid, read.stat.mzxid), entry: Some(entry) })
}

/// What is told of a group.
fn fact(children: Vec<(String, Child)>) -> RosterFact {
    let (mut seen, mut members) = (Seen::default(), Vec::new());
    for (node, child) in &children {
        let Some(entry) = &child.entry else { continue };
        seen.add(node, child.seen);
        members.push(entry.clone());
    }
    RosterFact { mark: seen.mark(), members, revisit: None }
}

/// The children of a group and a watch on them; where there is no such group, a watch on its coming.
async fn list(session: &Session, client: &Client, path: &str) -> Result<(Option<Vec<String>>, Watch)> {
    let deaf = |fault| unread("watch a group", fault);
    loop {
        match session.watches.children(client, path, Use::Wait).await {
            Ok((nodes, watch)) => return Ok((Some(nodes), watch)),
            Err(Fault::NoNode) => {}
            Err(fault) => return Err(deaf(fault)),
        }
        let look = session.watches.stat(client, path, Use::Wait);
        let (stat, watch) = look.await.map_err(deaf)?;
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

/// The nodes that are members, and their names. Whoever is not looked at would seem to have left.
fn members(group: &Name, nodes: Vec<String>) -> Result<Vec<(String, Name)>> {
    let named = nodes.into_iter().filter_map(|node| member_of(&node).map(|member| (node, member)));
    let named: Vec<_> = named.collect();
    if named.len() > MOST {
        let text = format!("the group \"{group}\" has more members than are looked at ({MOST})");
        return Err(Error::new(ErrorKind::Unsupported, text));
    }
    Ok(named)
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
