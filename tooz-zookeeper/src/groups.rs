//! Groups, where Python tooz has them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use tooz_core::backend::{Created, Deleted, Enrolment, GroupSteps, Joined, Left, Mark, RosterFact, Updated};
use tooz_core::{Error, ErrorKind, Name, Result};
use zookeeper_client::{CreateMode, Error as Fault, MultiWriteError, Stat};

use crate::error::{failed, unread};
use crate::keys::{LEADER, group_of};
use crate::roll::{Looking, Roll, Rolls};
use crate::roster;
use crate::session::Session;
use crate::watches::{Use, Watch};

/// How often a step is begun again because what it stands on changed in between.
const TRIES: usize = 5;

/// The groups as one session sees them.
pub(crate) struct Groups {
    session: Arc<Session>,
    rolls: Rolls,
}

impl Groups {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, rolls: Rolls::default() }
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
        match client.delete(&path, None).await {
            Ok(()) => return Ok(Deleted::Gone),
            Err(Fault::NoNode) => return Ok(Deleted::Missing),
            Err(Fault::NotEmpty) => {}
            Err(fault) => return Err(failed("delete a group", fault)),
        }
        // An election of Python's leaves its directory behind: that is nobody. It goes with the group or not at all, for
        // whoever was in the election remembers that it is there.
        let mut writer = client.new_multi_writer();
        let both = writer
            .add_delete(&format!("{path}/{LEADER}"), None)
            .and_then(|()| writer.add_delete(&path, None));
        both.map_err(|fault| failed("delete a group with its election", fault))?;
        match writer.commit().await {
            Ok(_) => Ok(Deleted::Gone),
            // A candidate, or a member.
            Err(MultiWriteError::OperationFailed { source: Fault::NotEmpty, .. }) => Ok(Deleted::NotEmpty),
            // No election: it was a member, unless another has deleted both in between.
            Err(MultiWriteError::OperationFailed { source: Fault::NoNode, .. }) => {
                Ok(if self.stat(&path).await?.is_some() { Deleted::NotEmpty } else { Deleted::Missing })
            }
            Err(fault) => Err(failed("delete a group with its election", fault.into())),
        }
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
            // A session's nodes go all at once: as long as its own stands, the member's is still what was seen, and no
            // namesake's that came after it.
            let mut writer = client.new_multi_writer();
            let replaced = writer
                .add_check_version(&session.keys.session(stat.ephemeral_owner), -1)
                .and_then(|()| writer.add_delete(&path, Some(stat.version)))
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
        let Some(roll) = self.rolls.find(group) else { return roster::read(&self.session, group).await };
        self.look_again(group, &roll).await
    }

    /// What a look would show (`None`: no such group), with watches on it that were set before.
    async fn listen(&self, group: &Name, roll: &Roll) -> Result<Option<Mark>> {
        if let Some(mark) = roll.current() {
            return Ok(mark);
        }
        Ok(self.look_again(group, roll).await?.map(|fact| fact.mark))
    }

    /// Looks, and brings what is kept up to date.
    async fn look_again(&self, group: &Name, roll: &Roll) -> Result<Option<RosterFact>> {
        let looking = Looking::begin(roll);
        let fact = roster::read_again(&self.session, group, roll).await?;
        looking.end();
        Ok(fact)
    }

    /// A watch on this session's membership; `None` if it stands no more.
    async fn attend(&self, enrolment: &Enrolment) -> Result<Option<Watch>> {
        let client = self.session.client()?;
        let path = self.session.keys.member(&enrolment.group, &enrolment.member);
        let look = self.session.watches.stat(&client, &path, Use::Own);
        let (stat, watch) = look.await.map_err(|fault| unread("watch a membership", fault))?;
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
        let following = self.rolls.follow(group);
        loop {
            let states = self.session.states();
            let mut hearing = following.roll.alarm.hearing();
            match self.listen(group, &following.roll).await {
                Ok(seen) if seen != mark => {}
                Ok(_) => {
                    let pause = following.roll.pause();
                    tokio::select! {
                        _ = hearing.changed() => {}
                        _ = self.session.heard(states, Vec::new()) => {}
                        () = sleep(pause.unwrap_or(Duration::MAX)), if pause.is_some() => continue,
                    }
                }
                Err(_) => self.session.until_changed(states).await,
            }
            break;
        }
        following.end();
    }

    async fn expelled(&self, enrolment: &Enrolment) {
        loop {
            let states = self.session.states();
            match self.attend(enrolment).await {
                Ok(Some(watch)) => {
                    self.session.heard(states, vec![watch]).await;
                }
                Ok(None) => return,
                Err(_) if self.session.is_over() => return,
                Err(_) => self.session.until_changed(states).await,
            }
        }
    }
}
