//! The consistent hash ring.

use std::fmt;

use super::DEFAULT_PARTITIONS;
use super::points::{Points, hash};
use super::weight::{Share, asked_by, shares};
use crate::group::Roster;
use crate::name::Name;

/// Maps keys onto members so that all who know the members agree, and a member that comes or goes moves
/// only what it must.
///
/// Bit-identical to the `HashRing` of Python's tooz with md5. A value: it never changes.
///
/// ```
/// use tooz_core::{HashRing, Name};
///
/// let name = |text| Name::new(text);
/// let ring = HashRing::new([(name("a")?, 1), (name("b")?, 1), (name("c")?, 2)]);
/// assert_eq!(ring.owner("job-17").map(Name::as_str), Some("b"));
/// assert_eq!(ring.owners("job-17", 2), [&name("b")?, &name("c")?]);
/// # Ok::<(), tooz_core::Error>(())
/// ```
///
/// # Behavior
/// Two members whose names repeat one text, like `a` and `aa`, share points of the ring: which of the two
/// has them is fixed here (the greater name), but in Python depends on the order in which they were added.
/// Do not give members such names in groups with Python members.
#[derive(Clone)]
pub struct HashRing {
    partitions: u32,
    /// Sorted by name.
    shares: Vec<Share>,
    points: Points,
}

impl HashRing {
    /// A ring of members with their weights, [`DEFAULT_PARTITIONS`] points for each weight of 1.
    ///
    /// Of a member given twice the last weight counts. A member of weight 0 owns nothing.
    pub fn new(members: impl IntoIterator<Item = (Name, u32)>) -> Self {
        Self::with_partitions(DEFAULT_PARTITIONS, members)
    }

    /// The same with another number of points for each weight of 1.
    ///
    /// Takes memory for partitions × weights: bound both where they come from others. Weights are cut as
    /// [`MAX_WEIGHT`](super::MAX_WEIGHT) and [`MAX_POINTS`](super::MAX_POINTS) say.
    pub fn with_partitions(partitions: u32, members: impl IntoIterator<Item = (Name, u32)>) -> Self {
        let members = members.into_iter().map(|(member, weight)| (member, Some(u64::from(weight))));
        let members: std::collections::BTreeMap<_, _> = members.collect();
        Self::of_shares(partitions, shares(members.into_iter().collect(), partitions))
    }

    /// The ring of a roster, with the weights that its members' capabilities ask for.
    pub fn of_roster(partitions: u32, roster: &Roster) -> Self {
        Self::of_shares(partitions, Self::shares_of(partitions, roster))
    }

    /// What a ring of the roster would be made of.
    pub(super) fn shares_of(partitions: u32, roster: &Roster) -> Vec<Share> {
        let asked = roster.iter().map(|member| (member.name().clone(), asked_by(member)));
        shares(asked.collect(), partitions)
    }

    pub(super) fn of_shares(partitions: u32, shares: Vec<Share>) -> Self {
        let points = Points::of(&shares, partitions);
        Self { partitions, shares, points }
    }

    /// The member responsible for the key: `None` if no member has any weight.
    ///
    /// Takes no memory.
    pub fn owner(&self, key: impl AsRef<[u8]>) -> Option<&Name> {
        self.owner_at(hash(key.as_ref()))
    }

    /// The members responsible for the key, the first of them first: as many as there are `replicas`, if
    /// there are so many members that have a weight.
    pub fn owners(&self, key: impl AsRef<[u8]>, replicas: usize) -> Vec<&Name> {
        self.owners_ignoring::<Name>(key, replicas, &[])
    }

    /// The same as if some members were not there: how work is spread while they are known to be down.
    pub fn owners_ignoring<N: AsRef<str>>(
        &self,
        key: impl AsRef<[u8]>,
        replicas: usize,
        ignored: &[N],
    ) -> Vec<&Name> {
        let mut passed = vec![false; self.shares.len()];
        let mut left = self.shares.iter().filter(|share| share.weight > 0).count();
        for name in ignored {
            if let Some((place, share)) = self.find(name.as_ref())
                && let Some(passed) = passed.get_mut(place)
                && !std::mem::replace(passed, true)
                && share.weight > 0
            {
                left -= 1;
            }
        }
        let replicas = replicas.min(left);
        let mut owners = Vec::with_capacity(replicas);
        if replicas == 0 {
            return owners;
        }
        for member in self.points.members_from(hash(key.as_ref())) {
            let place = member as usize;
            let fresh = passed.get_mut(place).is_some_and(|passed| !std::mem::replace(passed, true));
            if let Some(share) = self.shares.get(place).filter(|_| fresh) {
                owners.push(&share.member);
                if owners.len() == replicas {
                    break;
                }
            }
        }
        owners
    }

    /// Whether the member is the one responsible for the key.
    ///
    /// Takes no memory.
    pub fn is_owner(&self, member: &str, key: impl AsRef<[u8]>) -> bool {
        self.owner(key).is_some_and(|owner| owner.as_str() == member)
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Whether nobody owns anything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many points a weight of 1 has.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The members and their weights, sorted by name.
    pub fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// The share of this member.
    pub fn share(&self, member: &str) -> Option<&Share> {
        self.find(member).map(|(_, share)| share)
    }

    pub(super) fn owner_at(&self, hash: u128) -> Option<&Name> {
        let member = self.points.member_at(hash)?;
        self.shares.get(member as usize).map(|share| &share.member)
    }

    pub(super) fn hashes(&self) -> &[u128] {
        self.points.hashes()
    }

    fn find(&self, member: &str) -> Option<(usize, &Share)> {
        let place = self.shares.binary_search_by(|share| share.member.as_str().cmp(member)).ok()?;
        self.shares.get(place).map(|share| (place, share))
    }
}

/// Rings on which the same members have the same points are the same ring, whatever was asked for.
impl PartialEq for HashRing {
    fn eq(&self, other: &Self) -> bool {
        let counted = |share: &Share| (share.member.clone(), share.weight);
        self.partitions == other.partitions
            && self.shares.iter().map(counted).eq(other.shares.iter().map(counted))
    }
}

impl Eq for HashRing {}

impl fmt::Debug for HashRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashRing({} points of {} members)", self.len(), self.shares.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn nobody_owns_anything_on_an_empty_ring() {
        for ring in [
            HashRing::new([]),
            HashRing::new([(name("a"), 0)]),
            HashRing::with_partitions(0, [(name("a"), 5)]),
        ] {
            assert!(ring.is_empty());
            assert_eq!(ring.owner("key"), None);
            assert!(ring.owners("key", 3).is_empty());
        }
    }

    #[test]
    fn members_without_weight_are_never_waited_for() {
        // Python's ring looks for the second owner for ever.
        let ring = HashRing::new([(name("a"), 1), (name("idle"), 0)]);
        assert_eq!(ring.owners("key", 2), [&name("a")]);
        assert!(ring.owners_ignoring("key", 2, &["a"]).is_empty());
        assert_eq!(ring.owners_ignoring("key", 2, &["idle", "idle", "nobody"]), [&name("a")]);
    }

    #[test]
    fn names_that_repeat_each_other_have_one_owner_whatever_the_order() {
        let rings = [
            HashRing::new([(name("a"), 1), (name("aa"), 1)]),
            HashRing::new([(name("aa"), 1), (name("a"), 1)]),
        ];
        // 2, 3, … 33 times against 4, 6, … 66 times "a": 15 of 64 points are the same.
        assert!(rings.iter().all(|ring| ring.len() == 64 - 15));
        for key in 0..1_000 {
            let key = key.to_string();
            assert_eq!(rings[0].owner(&key), rings[1].owner(&key));
        }
    }

    #[test]
    fn a_member_given_twice_counts_once() {
        let ring = HashRing::new([(name("a"), 1), (name("a"), 3)]);
        assert_eq!((ring.len(), ring.share("a").unwrap().weight), (96, 3));
    }
}
