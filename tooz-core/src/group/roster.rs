//! The members of a group at one moment.

use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::backend::{RosterEntry, RosterFact};
use crate::capability::Capabilities;
use crate::id::SessionId;
use crate::name::Name;

/// One live member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    name: Name,
    session: Option<SessionId>,
    capabilities: Option<Capabilities>,
    joined_at: Option<SystemTime>,
}

impl Member {
    /// The member id.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Which incarnation of the member, where the store tells.
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// What the member says about itself; nil where another client left something unreadable, which
    /// [`has_readable_capabilities`](Self::has_readable_capabilities) tells apart.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities.clone().unwrap_or_default()
    }

    /// Whether the capabilities are valid msgpack within the limits.
    pub fn has_readable_capabilities(&self) -> bool {
        self.capabilities.is_some()
    }

    /// When the member joined, by the store's or the member's wall clock, where known.
    pub fn joined_at(&self) -> Option<SystemTime> {
        self.joined_at
    }
}

impl From<RosterEntry> for Member {
    fn from(entry: RosterEntry) -> Self {
        let RosterEntry { member, session, capabilities, joined_at } = entry;
        let capabilities = Capabilities::from_store(capabilities);
        if capabilities.is_none() {
            tracing::warn!(%member, "member has unreadable capabilities");
        }
        Self { name: member, session, capabilities, joined_at }
    }
}

/// The live members of a group, sorted by member id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    members: BTreeMap<Name, Member>,
    exists: bool,
}

impl Roster {
    pub(crate) fn from_fact(fact: Option<RosterFact>) -> Self {
        let exists = fact.is_some();
        let entries = fact.unwrap_or_default().members;
        let members = entries.into_iter().map(|entry| (entry.member.clone(), entry.into())).collect();
        Self { members, exists }
    }

    /// The members in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// The member of this id.
    pub fn get(&self, member: &str) -> Option<&Member> {
        let name = Name::new(member).ok()?;
        self.members.get(&name)
    }

    /// Whether this member is in the group.
    pub fn contains(&self, member: &str) -> bool {
        self.get(member).is_some()
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nobody is in the group.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether the group existed; a view goes on after its group was deleted, with nobody in it.
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// The member ids in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(Name::as_str)
    }
}

impl<'a> IntoIterator for &'a Roster {
    type Item = &'a Member;
    type IntoIter = std::collections::btree_map::Values<'a, Name, Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.values()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn roster(members: &[(&str, Option<SessionId>, u8)]) -> Roster {
        let entry = |&(name, session, caps): &(&str, Option<SessionId>, u8)| RosterEntry {
            member: Name::new(name).unwrap(),
            session,
            capabilities: Capabilities::of(&caps).unwrap().as_bytes().clone(),
            joined_at: None,
        };
        let members = members.iter().map(entry).collect();
        Roster::from_fact(Some(RosterFact { members, ..RosterFact::default() }))
    }

    #[test]
    fn unreadable_capabilities_never_hide_a_member() {
        let entry = RosterEntry {
            member: Name::new("hostile").unwrap(),
            session: None,
            capabilities: b"\xdd\xff\xff\xff\xff"[..].into(),
            joined_at: None,
        };
        let fact = RosterFact { members: vec![entry], ..RosterFact::default() };
        let roster = Roster::from_fact(Some(fact));

        let member = roster.get("hostile").unwrap();
        assert!(!member.has_readable_capabilities());
        assert_eq!(member.capabilities(), Capabilities::default());
    }

    #[test]
    fn a_missing_group_is_told_from_an_empty_one() {
        assert!(roster(&[]).exists());
        assert!(!Roster::from_fact(None).exists());
    }
}
