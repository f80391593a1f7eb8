//! A ring that follows a group.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::moves::Moves;
use super::ring::HashRing;
use super::weight::Share;
use crate::error::Result;
use crate::group::{Roster, View};
use crate::name::Name;
use crate::observe;

/// The hash ring of a group's live members, as this member sees it. Resumes by itself after a lost session.
///
/// Every member computes it from its own view of the group, so two members may disagree for as long as
/// their views do: take a lock where a key must never have two owners at a time. Clones share the ring. While the store
/// is out of reach or refuses to be looked at, the ring stands still, as the [`View`] does, and a member that is gone
/// keeps its keys.
///
/// ```
/// # async fn run() -> tooz_core::Result<()> {
/// # let coord = tooz_core::Registry::embedded().builder("memory://docs-partitioner").member("w1").connect().await?;
/// let part = coord.group("workers").join_partitioned(1).await?;
/// assert!(part.is_mine("job-17"));
/// assert_eq!(part.owners("job-17", 2), [part.me().clone()]);
/// part.leave().await?;
/// # coord.close().await
/// # }
/// # pollster::block_on(run()).unwrap();
/// ```
///
/// # Behavior
/// The weight of a member is its capability `weight`: a whole number, else 1; what is no number, or more
/// than [`MAX_WEIGHT`](crate::MAX_WEIGHT), is corrected with a warning. A member that updates its weight
/// changes the ring here; Python's partitioner keeps the weight that a member joined with.
#[derive(Clone)]
pub struct Partitioner {
    live: Arc<Live>,
}

struct Live {
    me: Name,
    partitions: u32,
    view: View,
    latest: Mutex<Latest>,
}

/// The ring, and the roster that it is the ring of.
struct Latest {
    roster: Arc<Roster>,
    ring: Arc<HashRing>,
}

impl Partitioner {
    pub(crate) fn over(view: View, me: Name, partitions: u32) -> Self {
        let roster = view.borrow();
        let ring = Arc::new(HashRing::of_roster(partitions, &roster));
        warn_of_corrections(ring.shares(), &[]);
        let latest = Mutex::new(Latest { roster, ring });
        Self { live: Arc::new(Live { me, partitions, view, latest }) }
    }

    /// The ring as of now: for many keys at once, or with other members ignored.
    pub fn ring(&self) -> Arc<HashRing> {
        self.live.ring()
    }

    /// The members responsible for the key, the first of them first.
    pub fn owners(&self, key: impl AsRef<[u8]>, replicas: usize) -> Vec<Name> {
        self.owners_ignoring::<Name>(key, replicas, &[])
    }

    /// The same as if some members were not there; see [`HashRing::owners_ignoring`].
    pub fn owners_ignoring<N: AsRef<str>>(
        &self,
        key: impl AsRef<[u8]>,
        replicas: usize,
        ignored: &[N],
    ) -> Vec<Name> {
        self.ring().owners_ignoring(key, replicas, ignored).into_iter().cloned().collect()
    }

    /// The member responsible for the key: `None` if no member has any weight.
    pub fn owner(&self, key: impl AsRef<[u8]>) -> Option<Name> {
        self.ring().owner(key).cloned()
    }

    /// Whether this member is the one responsible for the key.
    pub fn is_mine(&self, key: impl AsRef<[u8]>) -> bool {
        self.ring().is_owner(self.me().as_str(), key)
    }

    /// Whether this member is one of those responsible for the key.
    pub fn is_one_of_mine(&self, key: impl AsRef<[u8]>, replicas: usize) -> bool {
        self.ring().owners(key, replicas).contains(&self.me())
    }

    /// This member.
    pub fn me(&self) -> &Name {
        &self.live.me
    }

    /// Follows what moves to and away from this member, from the ring as of now.
    pub fn changes(&self) -> Changes {
        // The view's place comes first: what happens between the two lines is told.
        let view = self.live.view.clone();
        Changes { told: self.ring(), view, live: Arc::clone(&self.live) }
    }
}

impl Live {
    /// Building takes place here, on the caller's thread: it must not delay a heartbeat.
    fn ring(&self) -> Arc<HashRing> {
        let roster = self.view.borrow();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&roster, &latest.roster) {
            // Another caller may have seen a newer roster meanwhile: look again, now that none can.
            latest.roster = self.view.borrow();
            let shares = HashRing::shares_of(self.partitions, &latest.roster);
            if shares != latest.ring.shares() {
                warn_of_corrections(&shares, latest.ring.shares());
                latest.ring = Arc::new(HashRing::of_shares(self.partitions, shares));
            }
        }
        Arc::clone(&latest.ring)
    }
}

/// Tells once of every weight that does not count as it was asked for.
fn warn_of_corrections(shares: &[Share], told: &[Share]) {
    for share in shares.iter().filter(|share| share.is_corrected() && !told.contains(share)) {
        observe::weight_corrected(&share.member, share.asked, share.weight);
    }
}

/// What moves to and away from this member. Every clone has its own place.
///
/// Level-triggered: what is told is the difference between the ring told last and the ring as of now, so
/// the last state is never missed, and changes that cancel out between two calls may not be told.
#[derive(Clone)]
pub struct Changes {
    told: Arc<HashRing>,
    view: View,
    live: Arc<Live>,
}

impl Changes {
    /// The next change of the ring. It may be one that moves nothing here ([`Moves::is_empty`]).
    ///
    /// # Errors
    /// `Closed` when the coordinator has ended.
    ///
    /// # Cancel safety
    /// May be dropped and called again; a change is never missed.
    ///
    /// ```
    /// # use tooz_core::Move;
    /// # async fn follow(part: tooz_core::Partitioner, jobs: Vec<String>) -> tooz_core::Result<()> {
    /// let mut changes = part.changes();
    /// loop {
    ///     let moves = changes.next().await?;
    ///     for job in &jobs {
    ///         match moves.of(job) {
    ///             Some(Move::ToMe(from)) => println!("start {job}, which {from:?} did before"),
    ///             Some(Move::Away(to)) => println!("stop {job}, which {to:?} does now"),
    ///             None => {}
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn next(&mut self) -> Result<Moves> {
        loop {
            let now = self.live.ring();
            if now != self.told {
                let before = std::mem::replace(&mut self.told, Arc::clone(&now));
                return Ok(Moves::between(self.live.me.clone(), before, now));
            }
            self.view.changed().await?;
        }
    }
}

impl fmt::Debug for Partitioner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partitioner({} on {:?})", self.me(), self.ring())
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Changes(after {:?})", self.told)
    }
}
