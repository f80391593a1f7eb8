//! What moves between two rings, as one member sees it. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::ring::HashRing;
use crate::name::Name;

/// What moved to and away from this member between one ring and the next.
#[derive(Clone)]
pub struct Moves {
    me: Name,
    before: Arc<HashRing>,
    after: Arc<HashRing>,
}

/// What happened to a key, as this member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// This member has become responsible, in the place of that one (`None`: nobody was).
    ToMe(Option<Name>),
    /// That member is responsible now instead of this one (`None`: nobody is).
    Away(Option<Name>),
}

/// How much moved from or to one other member.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    /// Who was responsible before, or is now: `None` for nobody.
    pub member: Option<Name>,
    /// Which part of all possible keys, between 0 and 1.
    pub part: f64,
}

impl Moves {
    pub(super) fn between(me: Name, before: Arc<HashRing>, after: Arc<HashRing>) -> Self {
        Self { me, before, after }
    }

    /// What happened to this key: `None` if it stayed, with this member or with others.
    pub fn of(&self, key: impl AsRef<[u8]>) -> Option<Move> {
        let key = key.as_ref();
        self.judge(self.before.owner(key), self.after.owner(key))
    }

    /// What this member took over, by the member that was responsible before, sorted by name.
    pub fn to_me(&self) -> Vec<Moved> {
        self.sum(|moved| if let Move::ToMe(from) = moved { Some(from) } else { None })
    }

    /// What this member gave away, by the member that is responsible now, sorted by name.
    pub fn away(&self) -> Vec<Moved> {
        self.sum(|moved| if let Move::Away(to) = moved { Some(to) } else { None })
    }

    /// Whether nothing moved to or away from this member: the change is between others, or one of further
    /// replicas.
    pub fn is_empty(&self) -> bool {
        self.arcs().all(|(_, moved)| moved.is_none())
    }

    /// The ring before: for keys with several owners, compare both yourself.
    pub fn before(&self) -> &Arc<HashRing> {
        &self.before
    }

    /// The ring after.
    pub fn after(&self) -> &Arc<HashRing> {
        &self.after
    }

    fn judge(&self, before: Option<&Name>, after: Option<&Name>) -> Option<Move> {
        let mine = |owner: Option<&Name>| owner == Some(&self.me);
        match (mine(before), mine(after)) {
            (false, true) => Some(Move::ToMe(before.cloned())),
            (true, false) => Some(Move::Away(after.cloned())),
            _ => None,
        }
    }

    fn sum(&self, pick: impl Fn(Move) -> Option<Option<Name>>) -> Vec<Moved> {
        let mut parts = BTreeMap::new();
        for (part, moved) in self.arcs() {
            if let Some(member) = moved.and_then(&pick) {
                *parts.entry(member).or_insert(0.0) += part;
            }
        }
        parts.into_iter().map(|(member, part)| Moved { member, part }).collect()
    }

    /// Every arc between two neighbouring points of both rings, and what happened to the keys on it.
    fn arcs(&self) -> impl Iterator<Item = (f64, Option<Move>)> {
        let mut starts = [self.before.hashes(), self.after.hashes()].concat();
        starts.sort_unstable();
        starts.dedup();
        let first = starts.first().copied();
        let ends: Vec<_> = starts.iter().skip(1).copied().chain(first).collect();
        starts.into_iter().zip(ends).map(|(start, end)| {
            let length = if end == start { u128::MAX } else { end.wrapping_sub(start) };
            let moved = self.judge(self.before.owner_at(start), self.after.owner_at(start));
            (length as f64 / 2_f64.powi(128), moved)
        })
    }
}

impl fmt::Debug for Moves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moves").field("to_me", &self.to_me()).field("away", &self.away()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn moves(me: &str, before: &[(&str, u32)], after: &[(&str, u32)]) -> Moves {
        let ring = |members: &[(&str, u32)]| {
            Arc::new(HashRing::new(members.iter().map(|(member, weight)| (name(member), *weight))))
        };
        Moves::between(name(me), ring(before), ring(after))
    }

    #[test]
    fn a_lone_member_takes_over_everything_from_nobody() {
        let moves = moves("a", &[], &[("a", 1)]);
        assert_eq!(moves.of("key"), Some(Move::ToMe(None)));
        let [all] = &moves.to_me()[..] else { panic!("{moves:?}") };
        assert!(all.member.is_none() && (all.part - 1.0).abs() < 1e-9, "{moves:?}");
        assert!(moves.away().is_empty() && !moves.is_empty());
    }

    #[test]
    fn the_sums_are_what_happens_to_keys() {
        let (before, after) = ([("a", 1), ("b", 1), ("c", 1)], [("a", 1), ("c", 3), ("d", 1)]);
        let moves = moves("a", &before, &after);
        let keys = 20_000;
        let mut counted = BTreeMap::new();
        for key in 0..keys {
            if let Some(moved) = moves.of(key.to_string()) {
                *counted.entry(format!("{moved:?}")).or_insert(0) += 1;
            }
        }
        let told = moves.to_me().into_iter().map(|moved| (Move::ToMe(moved.member), moved.part));
        let told: Vec<_> = told
            .chain(moves.away().into_iter().map(|moved| (Move::Away(moved.member), moved.part)))
            .collect();
        assert_eq!(told.len(), counted.len(), "{told:?} {counted:?}");
        for (moved, part) in told {
            let share = f64::from(counted[&format!("{moved:?}")]) / f64::from(keys);
            assert!((share - part).abs() < 0.01, "{moved:?}: {share} of the keys, {part} of the ring");
        }
    }

    #[test]
    fn a_change_between_others_moves_nothing_here() {
        let others = moves("z", &[("a", 1), ("b", 1)], &[("a", 1)]);
        assert!(others.is_empty() && others.to_me().is_empty() && others.away().is_empty());
    }
}
