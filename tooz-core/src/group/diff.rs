//! What happened between two looks at a group. Pure.

use super::{Member, Roster};

/// A change of a group's members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This member is new, or came back with a new incarnation.
    Joined(Member),
    /// This member changed what it says about itself.
    Updated(Member),
    /// This member is gone: it left, or its session ended.
    Left(Member),
}

/// The events that lead from one roster to the next: first who left, then who joined, then who changed.
pub(crate) fn diff(before: &Roster, after: &Roster) -> Vec<Event> {
    let same = |a: &Member, b: &Member| a.name() == b.name() && a.session() == b.session();
    let stays = |member: &Member, other: &Roster| {
        other.get(member.name().as_str()).is_some_and(|there| same(member, there))
    };
    let left = before.iter().filter(|member| !stays(member, after)).cloned().map(Event::Left);
    let joined = after.iter().filter(|member| !stays(member, before)).cloned().map(Event::Joined);
    let updated = after
        .iter()
        .filter(|member| {
            before
                .get(member.name().as_str())
                .is_some_and(|was| same(was, member) && was.capabilities() != member.capabilities())
        })
        .cloned()
        .map(Event::Updated);
    left.chain(joined).chain(updated).collect()
}

#[cfg(test)]
mod tests {
    use super::super::roster::tests::roster;
    use super::*;
    use crate::id::SessionId;

    fn told(before: &Roster, after: &Roster) -> Vec<(char, String)> {
        let tell = |event| match event {
            Event::Joined(m) => ('+', m.name().to_string()),
            Event::Updated(m) => ('~', m.name().to_string()),
            Event::Left(m) => ('-', m.name().to_string()),
        };
        diff(before, after).into_iter().map(tell).collect()
    }

    #[test]
    fn tells_who_left_joined_and_changed() {
        let before = roster(&[("a", None, 1), ("b", None, 1), ("c", None, 1)]);
        let after = roster(&[("b", None, 2), ("c", None, 1), ("d", None, 1)]);
        let expected = [('-', "a"), ('+', "d"), ('~', "b")].map(|(c, s)| (c, s.to_owned()));
        assert_eq!(told(&before, &after), expected);
    }

    #[test]
    fn a_new_incarnation_leaves_and_joins() {
        let (one, two) = (SessionId::random(), SessionId::random());
        let told = told(&roster(&[("a", Some(one), 1)]), &roster(&[("a", Some(two), 1)]));
        assert_eq!(told, [('-', "a".to_owned()), ('+', "a".to_owned())]);
    }

    #[test]
    fn equal_rosters_tell_nothing() {
        let both = roster(&[("a", None, 1)]);
        assert!(diff(&both, &both).is_empty());
    }
}
