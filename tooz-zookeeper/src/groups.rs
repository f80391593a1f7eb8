//! Groups, where Python tooz has them.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use tooz_core::backend::{
    Created, Deleted, Enrolment, GroupSteps, Joined, Left, Mark, RosterEntry, RosterFact, Updated,
};
use tooz_core::{Error, ErrorKind, Name, Result};
use zookeeper_client::{CreateMode, Error as Fault, MultiWriteError, OneshotWatcher, Stat};

use crate::error::{failed, unread};
use crate::keys::{LEADER, group_of, member_of};
use crate::look::found;
use crate::session::Session;

/// How often a step is begun again because what it stands on changed in between.
const TRIES: usize = 5;
/// At most so many members of one group are looked at.
const MOST: usize = 10_000;

/// The groups as one session sees them.
pub(crate) struct Groups {
    session: Arc<Session>,
}

impl Groups {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    async fn make(&self, group: &Name) -> Result<Created> {
        let client = self.session.client()?;
        let options = CreateMode::Persistent.with_acls(self.session.acls);
        match client.create(&self.session.keys.group(group), b"", &options).await {
            Ok(_) => Ok(Created::New),
            Err(Fault::NodeExists) => Ok(Created::Existed),
            Err(fault) => Err(failed("create a group", fault)),
        }
    }

    async fn remove(&self, group: &Name) -> Result<Deleted> {
        let client = self.session.client()?;
        let path = self.session.keys.group(group);
        for _ in 0..TRIES {
            match client.delete(&path, None).await {
                Ok(()) => return Ok(Deleted::Gone),
                Err(Fault::NoNode) => return Ok(Deleted::Missing),
                Err(Fault::NotEmpty) => {}
                Err(fault) => return Err(failed("delete a group", fault)),
            }
            // An election of Python's leaves its directory behind: that is nobody.
            match client.delete(&format!("{path}/{LEADER}"), None).await {
                Ok(()) => {}
                Err(Fault::NoNode | Fault::NotEmpty) => return Ok(Deleted::NotEmpty),
                Err(fault) => return Err(failed("delete a group's election", fault)),
            }
        }
        Ok(Deleted::NotEmpty)
    }

    async fn names(&self) -> Result<Vec<Name>> {
        let client = self.session.client()?;
        let nodes = client.list_children(self.session.keys.groups()).await;
        let nodes = nodes.map_err(|fault| unread("list the groups", fault))?;
        Ok(nodes.iter().filter_map(|node| group_of(node)).collect())
    }

    async fn enrol(&self, enrolment: &Enrolment) -> Result<Joined> {
        let (session, client) = (&self.session, self.session.client()?);
        let path = session.keys.member(&enrolment.group, &enrolment.member);
        let options = CreateMode::Ephemeral.with_acls(session.acls);
        for _ in 0..TRIES {
            match client.create(&path, &enrolment.capabilities, &options).await {
                Ok(_) => return Ok(Joined::Done),
                Err(Fault::NoNode) => return Ok(Joined::NoGroup),
                Err(Fault::NodeExists) => {}
                Err(fault) => return Err(failed("join", fault)),
            }
            let Some(stat) = self.stat(&path).await? else { continue };
            if stat.ephemeral_owner == session.owner {
                return Ok(Joined::Done);
            }
            let present = session.session_of(stat.ephemeral_owner).await?;
            if present.is_none() || present != enrolment.replaces {
                return Ok(Joined::Taken);
            }
            let mut writer = client.new_multi_writer();
            let replaced = writer
                .add_delete(&path, Some(stat.version))
                .and_then(|()| writer.add_create(&path, &enrolment.capabilities, &options));
            replaced.map_err(|fault| failed("replace a membership", fault))?;
            match writer.commit().await {
                Ok(_) => return Ok(Joined::Done),
                // It went or was changed in between.
                Err(MultiWriteError::OperationFailed { .. }) => {}
                Err(fault) => return Err(failed("replace a membership", fault.into())),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the member's node changes all the time"))
    }

    async fn stat(&self, path: &str) -> Result<Option<Stat>> {
        let client = self.session.client()?;
        client.check_stat(path).await.map_err(|fault| unread("look at a member", fault))
    }

    /// The version of this session's membership, if it stands.
    async fn own_version(&self, path: &str) -> Result<Option<i32>> {
        let stat = self.stat(path).await?;
        Ok(stat.filter(|stat| stat.ephemeral_owner == self.session.owner).map(|stat| stat.version))
    }

    async fn strike(&self, enrolment: &Enrolment) -> Result<Left> {
        let client = self.session.client()?;
        let path = self.session.keys.member(&enrolment.group, &enrolment.member);
        for _ in 0..TRIES {
            let Some(version) = self.own_version(&path).await? else { return Ok(Left::Absent) };
            match client.delete(&path, Some(version)).await {
                Ok(()) => return Ok(Left::Done),
                Err(Fault::NoNode) => return Ok(Left::Absent),
                Err(Fault::BadVersion) => {}
                Err(fault) => return Err(failed("leave", fault)),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the member's node changes all the time"))
    }

    async fn rewrite(&self, enrolment: &Enrolment) -> Result<Updated> {
        let client = self.session.client()?;
        let path = self.session.keys.member(&enrolment.group, &enrolment.member);
        for _ in 0..TRIES {
            let Some(version) = self.own_version(&path).await? else { return Ok(Updated::Absent) };
            match client.set_data(&path, &enrolment.capabilities, Some(version)).await {
                Ok(_) => return Ok(Updated::Done),
                Err(Fault::NoNode) => return Ok(Updated::Absent),
                Err(Fault::BadVersion) => {}
                Err(fault) => return Err(failed("update", fault)),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the member's node changes all the time"))
    }

    async fn roster(&self, group: &Name) -> Result<Option<RosterFact>> {
        let (session, client) = (&self.session, self.session.client()?);
        let path = session.keys.group(group);
        let nodes = match client.list_children(&path).await {
            Ok(nodes) => nodes,
            Err(Fault::NoNode) => return Ok(None),
            Err(fault) => return Err(unread("list a group", fault)),
        };
        let nodes = members(nodes);
        let looks: Vec<_> =
            nodes.iter().map(|(node, _)| client.get_data(&format!("{path}/{node}"))).collect();
        let mut roster = RosterFact::default();
        let mut seen = Seen::default();
        for ((node, member), look) in nodes.iter().zip(looks) {
            let Some((data, stat)) = found(look.await)?.filter(|(_, stat)| is_alive(stat)) else { continue };
            seen.add(node, &stat);
            roster.members.push(RosterEntry {
                member: member.clone(),
                session: session.session_of(stat.ephemeral_owner).await?,
                capabilities: Bytes::from(data),
                joined_at: joined_at(&stat),
            });
        }
        roster.mark = seen.mark();
        Ok(Some(roster))
    }

    /// What a look would show (`None`: no such group), and watches on it that were set before.
    async fn listen(&self, group: &Name) -> Result<(Option<Mark>, Vec<OneshotWatcher>)> {
        let client = self.session.client()?;
        let path = self.session.keys.group(group);
        let deaf = |fault| unread("watch a group", fault);
        let (nodes, watch) = loop {
            match client.list_and_watch_children(&path).await {
                Ok(listed) => break listed,
                Err(Fault::NoNode) => {}
                Err(fault) => return Err(deaf(fault)),
            }
            let (stat, watch) = client.check_and_watch_stat(&path).await.map_err(deaf)?;
            if stat.is_none() {
                return Ok((None, vec![watch]));
            }
        };
        let mut watches = vec![watch];
        let mut seen = Seen::default();
        let nodes = members(nodes);
        let looks: Vec<_> =
            nodes.iter().map(|(node, _)| client.check_and_watch_stat(&format!("{path}/{node}"))).collect();
        for ((node, _), look) in nodes.iter().zip(looks) {
            let (stat, watch) = look.await.map_err(deaf)?;
            watches.push(watch);
            if let Some(stat) = stat.filter(is_alive) {
                seen.add(node, &stat);
            }
        }
        Ok((Some(seen.mark()), watches))
    }

    /// A watch on this session's membership; `None` if it stands no more.
    async fn attend(&self, enrolment: &Enrolment) -> Result<Option<OneshotWatcher>> {
        let client = self.session.client()?;
        let path = self.session.keys.member(&enrolment.group, &enrolment.member);
        let (stat, watch) =
            client.check_and_watch_stat(&path).await.map_err(|fault| unread("watch a membership", fault))?;
        Ok(stat.filter(|stat| stat.ephemeral_owner == self.session.owner).map(|_| watch))
    }
}

#[async_trait]
impl GroupSteps for Groups {
    async fn create(&self, group: &Name) -> Result<Created> {
        self.session.step("create a group", self.make(group)).await
    }

    async fn delete(&self, group: &Name) -> Result<Deleted> {
        self.session.step("delete a group", self.remove(group)).await
    }

    async fn list(&self) -> Result<Vec<Name>> {
        self.session.step("list the groups", self.names()).await
    }

    async fn join(&self, enrolment: &Enrolment) -> Result<Joined> {
        self.session.step("join", self.enrol(enrolment)).await
    }

    async fn leave(&self, enrolment: &Enrolment) -> Result<Left> {
        self.session.step("leave", self.strike(enrolment)).await
    }

    async fn update(&self, enrolment: &Enrolment) -> Result<Updated> {
        self.session.step("update", self.rewrite(enrolment)).await
    }

    async fn members(&self, group: &Name) -> Result<Option<RosterFact>> {
        self.session.step("look at a group", self.roster(group)).await
    }

    async fn stirred(&self, group: &Name, mark: Option<Mark>) {
        loop {
            let states = self.session.states();
            match self.listen(group).await {
                Ok((seen, _)) if seen != mark => return,
                Ok((_, watches)) => self.session.heard(states, watches).await,
                Err(_) if self.session.is_over() => return,
                Err(_) => return self.session.until_changed(states).await,
            }
        }
    }

    async fn expelled(&self, enrolment: &Enrolment) {
        loop {
            let states = self.session.states();
            match self.attend(enrolment).await {
                Ok(Some(watch)) => self.session.heard(states, vec![watch]).await,
                Ok(None) => return,
                Err(_) if self.session.is_over() => return,
                Err(_) => self.session.until_changed(states).await,
            }
        }
    }
}

/// The nodes that are members, and their names.
fn members(nodes: Vec<String>) -> Vec<(String, Name)> {
    let named = nodes.into_iter().filter_map(|node| member_of(&node).map(|member| (node, member)));
    named.take(MOST).collect()
}

/// A member's node goes with its session; anything else is furniture.
fn is_alive(stat: &Stat) -> bool {
    stat.ephemeral_owner != 0
}

fn joined_at(stat: &Stat) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(u64::try_from(stat.ctime).ok()?))
}

/// A digest of what was seen.
#[derive(Default)]
struct Seen(Vec<(String, i64, i64)>);

impl Seen {
    fn add(&mut self, node: &str, stat: &Stat) {
        self.0.push((node.to_owned(), stat.czxid, stat.mzxid));
    }

    /// The same whatever order the nodes came in.
    fn mark(mut self) -> Mark {
        self.0.sort_unstable();
        let mut digest = DefaultHasher::new();
        self.0.hash(&mut digest);
        Mark(digest.finish())
    }
}
