//! The points of a ring, and the way from a hash to the next of them.

use md5::{Digest, Md5};

use super::weight::Share;

/// Points in order, each with the place of the member it belongs to.
#[derive(Clone, Debug, Default)]
pub(super) struct Points {
    at: Vec<u128>,
    members: Vec<u32>,
    /// For every value of a hash's leading bits, the first point that is not before it.
    doors: Vec<u32>,
    /// How far a hash is shifted to leave its leading bits.
    shift: u32,
}

/// Where a key stands on the ring: its md5 as a number, as Python takes it.
pub(super) fn hash(key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(key).into())
}

impl Points {
    /// The points of all members; `shares` are sorted by name.
    pub(super) fn of(shares: &[Share], partitions: u32) -> Self {
        let mut points = Vec::new();
        for (member, share) in (0_u32..).zip(shares) {
            let name = share.member.as_str().as_bytes();
            let mut hasher = Md5::new_with_prefix(name);
            for _ in 0..u64::from(partitions) * u64::from(share.weight) {
                hasher.update(name);
                points.push((u128::from_be_bytes(hasher.clone().finalize().into()), member));
            }
        }
        // Names that repeat each other, like "a" and "aa", share points. The greater name has them; in
        // Python whichever member was added last.
        points.sort_unstable_by(|one, two| one.0.cmp(&two.0).then(two.1.cmp(&one.1)));
        points.dedup_by_key(|point| point.0);
        Self::sorted(points)
    }

    fn sorted(points: Vec<(u128, u32)>) -> Self {
        let bits = points.len().next_power_of_two().trailing_zeros().max(1);
        let shift = u128::BITS - bits;
        let mut doors = Vec::with_capacity((1 << bits) + 1);
        for (place, (at, _)) in (0_u32..).zip(&points) {
            let door = usize::try_from(at >> shift).unwrap_or(usize::MAX);
            while doors.len() <= door {
                doors.push(place);
            }
        }
        let end = u32::try_from(points.len()).unwrap_or(u32::MAX);
        doors.resize((1 << bits) + 1, end);
        let (at, members) = points.into_iter().unzip();
        Self { at, members, doors, shift }
    }

    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// The hashes of the points, in order.
    pub(super) fn hashes(&self) -> &[u128] {
        &self.at
    }

    /// The member of the first point behind this hash, around the end.
    pub(super) fn member_at(&self, hash: u128) -> Option<u32> {
        let place = self.behind(hash);
        self.members.get(place).or_else(|| self.members.first()).copied()
    }

    /// The members of all points from the first behind this hash on, once around.
    pub(super) fn members_from(&self, hash: u128) -> impl Iterator<Item = u32> {
        let (before, behind) = self.members.split_at_checked(self.behind(hash)).unwrap_or_default();
        behind.iter().chain(before).copied()
    }

    /// How many points are not behind this hash.
    fn behind(&self, hash: u128) -> usize {
        let door = usize::try_from(hash >> self.shift).unwrap_or(usize::MAX);
        let place = |door: usize| self.doors.get(door).map_or(self.at.len(), |place| *place as usize);
        let (first, last) = (place(door), place(door + 1));
        first + self.at.get(first..last).map_or(0, |few| few.partition_point(|at| *at <= hash))
    }
}
