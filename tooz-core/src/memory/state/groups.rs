//! Steps of groups.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{Refusal, State, Subject};
use crate::backend::{Created, Deleted, Enrolment, Joined, Left, Mark, RosterEntry, RosterFact, Updated};
use crate::clock::Moment;
use crate::id::SessionId;
use crate::name::Name;

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// The store's count of changes when this group changed last.
    pub(super) mark: u64,
    pub(super) members: BTreeMap<Name, Membership>,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) session: SessionId,
    capabilities: Bytes,
    joined: Moment,
}

impl State {
    /// Creates the group.
    pub(in crate::memory) fn create(&mut self, now: Moment, group: &Name) -> Created {
        self.settle(now);
        if self.groups.contains_key(group) {
            return Created::Existed;
        }
        self.groups.insert(group.clone(), Group::default());
        self.stir_group(group);
        Created::New
    }

    /// Deletes the group if nobody is in it.
    pub(in crate::memory) fn delete(&mut self, now: Moment, group: &Name) -> Deleted {
        self.settle(now);
        match self.groups.get(group) {
            None => Deleted::Missing,
            Some(record) if !record.members.is_empty() => Deleted::NotEmpty,
            Some(_) => {
                self.groups.remove(group);
                self.news.insert(Subject::Group(group.clone()));
                Deleted::Gone
            }
        }
    }

    /// All groups, by name.
    pub(in crate::memory) fn list(&mut self, now: Moment) -> Vec<Name> {
        self.settle(now);
        self.groups.keys().cloned().collect()
    }

    /// Makes the session a member, in the place of the session it replaces if that is still there.
    pub(in crate::memory) fn join(
        &mut self,
        now: Moment,
        session: SessionId,
        enrolment: &Enrolment,
    ) -> Result<Joined, Refusal> {
        self.settle(now);
        self.proof(session)?;
        if enrolment.session != session {
            return Err(Refusal::SessionEnded);
        }
        let (group, member) = (&enrolment.group, &enrolment.member);
        let Some(record) = self.groups.get(group) else { return Ok(Joined::NoGroup) };
        match record.members.get(member).map(|membership| membership.session) {
            // By an earlier attempt; capabilities may have been updated since.
            Some(present) if present == session => return Ok(Joined::Done),
            Some(present) if Some(present) != enrolment.replaces => return Ok(Joined::Taken),
            Some(present) => self.strike(present, group, member),
            None => {}
        }
        let capabilities = enrolment.capabilities.clone();
        let membership = Membership { session, capabilities, joined: self.now };
        if let Some(record) = self.groups.get_mut(group) {
            record.members.insert(member.clone(), membership);
        }
        if let Some(record) = self.sessions.get_mut(&session) {
            record.memberships.insert((group.clone(), member.clone()));
        }
        self.stir_group(group);
        Ok(Joined::Done)
    }

    /// Ends this session's membership. Of an ended session nothing stands.
    pub(in crate::memory) fn leave(
        &mut self,
        now: Moment,
        session: SessionId,
        enrolment: &Enrolment,
    ) -> Left {
        self.settle(now);
        if !self.is_enrolled(session, enrolment) {
            return Left::Absent;
        }
        self.strike(session, &enrolment.group, &enrolment.member);
        Left::Done
    }

    /// Replaces the capabilities of this session's membership.
    pub(in crate::memory) fn update(
        &mut self,
        now: Moment,
        session: SessionId,
        enrolment: &Enrolment,
    ) -> Result<Updated, Refusal> {
        self.settle(now);
        self.proof(session)?;
        if !self.is_enrolled(session, enrolment) {
            return Ok(Updated::Absent);
        }
        let record = self.groups.get_mut(&enrolment.group);
        let Some(membership) = record.and_then(|record| record.members.get_mut(&enrolment.member)) else {
            return Ok(Updated::Absent);
        };
        if membership.capabilities != enrolment.capabilities {
            membership.capabilities = enrolment.capabilities.clone();
            self.stir_group(&enrolment.group);
        }
        Ok(Updated::Done)
    }

    /// The live members, by name; `None` if there is no such group.
    pub(in crate::memory) fn members(&mut self, now: Moment, group: &Name) -> Option<RosterFact> {
        self.settle(now);
        let record = self.groups.get(group)?;
        let members = record.members.iter().map(|(member, membership)| RosterEntry {
            member: member.clone(),
            session: Some(membership.session),
            capabilities: membership.capabilities.clone(),
            joined_at: self.epoch.checked_add(Duration::from_nanos(membership.joined.as_nanos())),
        });
        Some(RosterFact { mark: Mark(record.mark), members: members.collect(), revisit: None })
    }

    /// The mark of the group's last change; `None` if there is no such group.
    pub(in crate::memory) fn group_mark(&self, group: &Name) -> Option<Mark> {
        self.groups.get(group).map(|record| Mark(record.mark))
    }

    /// Takes a membership out, if it is this session's.
    pub(super) fn strike(&mut self, session: SessionId, group: &Name, member: &Name) {
        if let Some(record) = self.groups.get_mut(group)
            && record.members.get(member).is_some_and(|membership| membership.session == session)
        {
            record.members.remove(member);
            if let Some(record) = self.sessions.get_mut(&session) {
                record.memberships.remove(&(group.clone(), member.clone()));
            }
            self.news.insert(Subject::Membership(session, group.clone()));
            self.stir_group(group);
        }
    }

    fn stir_group(&mut self, group: &Name) {
        let mark = self.next_mark();
        if let Some(record) = self.groups.get_mut(group) {
            record.mark = mark;
        }
        self.news.insert(Subject::Group(group.clone()));
    }
}
