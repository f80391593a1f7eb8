//! Partitioning: which member is responsible for which key, without asking anyone.
//!
//! Every member computes the same consistent hash ring from the same roster, so all agree on the owners of
//! every key, Python members of a partitioned group included.

mod joined;
mod moves;
mod partitioner;
mod points;
mod ring;
mod weight;

pub use joined::Partitioned;
pub(crate) use joined::Weight;
pub use moves::{Move, Moved, Moves};
pub use partitioner::{Changes, Partitioner};
pub use ring::HashRing;
pub use weight::{MAX_POINTS, MAX_WEIGHT, Share};

/// How many points a member of weight 1 has on a ring, unless told otherwise. All members of a group must
/// use the same number; Python's default is this one too.
pub const DEFAULT_PARTITIONS: u32 = 32;
