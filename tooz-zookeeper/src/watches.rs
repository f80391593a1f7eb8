//! What a session has under watch: no more than the client library sets again in one request.
//!
//! After a reconnect the library asks for all its watches anew. Where their paths have more than 128 KiB it sends several
//! requests under one number, takes the answer to the first for the end of the connection, and so on until the session has
//! expired. So a watch needs room, and who finds none looks again now and then (`docs/decisions/0033`).

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, TryFutureExt};
use zookeeper_client::{Client, Error as Fault, OneshotWatcher, Stat};

/// What all watches may take, in bytes of their paths. The rest of the 128 KiB is for those that were given up while they
/// were being set, and are removed a moment later.
const MOST: usize = 96 * 1024;
/// What is left for each more urgent use by the less urgent ones.
const RESERVE: usize = 16 * 1024;
/// What a path takes beside its bytes.
const LENGTH: usize = 4;
/// All who have no watch make about one look in that time …
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// … and each waits for so long at least, and for a time to live at most.
const SOON: Duration = Duration::from_secs(1);

/// What a watch is for. The later ones here find room where the others find none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// What this session itself has: a hold, a membership, a place in a queue. That it is gone, beats tell too, and
    /// [notices](crate::notices) what others do to a hold.
    Own,
    /// A member of a group: whoever comes or goes changes the list of the group, which has a watch of its own.
    Member,
    /// Something that is waited for.
    Wait,
    /// The first of a queue, by the one behind it.
    Turn,
}

impl Use {
    /// Up to where it may fill the room.
    fn limit(self) -> usize {
        let more_urgent = match self {
            Self::Own => 3,
            Self::Member => 2,
            Self::Wait => 1,
            Self::Turn => 0,
        };
        MOST - more_urgent * RESERVE
    }
}

/// The room that one session has for watches.
#[derive(Debug)]
pub(crate) struct Room {
    /// The bytes of the chroot, which the library puts before every path.
    chroot: usize,
    ttl: Duration,
    taken: AtomicUsize,
    /// How many found no room and look again.
    without: AtomicUsize,
}

impl Room {
    pub(crate) fn new(chroot: usize, ttl: Duration) -> Self {
        Self { chroot, ttl, taken: AtomicUsize::new(0), without: AtomicUsize::new(0) }
    }

    /// A place for a watch on this path, or one among those who go without.
    fn take(self: &Arc<Self>, path: &str, what_for: Use) -> Place {
        let bytes = self.chroot + path.len() + LENGTH;
        let with = |taken: usize| Some(taken + bytes).filter(|sum| *sum <= what_for.limit());
        let is_taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with).is_ok();
        let place = match (is_taken, what_for) {
            (true, _) => Place::Taken { room: Arc::clone(self), bytes },
            (false, Use::Own) => Place::Told,
            (false, _) => Place::Without { room: Arc::clone(self) },
        };
        if let Place::Without { .. } = place {
            self.without.fetch_add(1, Ordering::Relaxed);
        }
        place
    }

    /// How long to wait for what is not under watch before looking again.
    fn pause(&self) -> Duration {
        let without = u32::try_from(self.without.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let pause = BETWEEN_LOOKS.saturating_mul(without).min(self.ttl).max(SOON);
        // By up to an eighth more or less, so that looks that began together part.
        let chance = (RandomState::new().build_hasher().finish() % 256) as u32;
        pause * 7 / 8 + pause / 4 * chance / 256
    }

    /// Whether the node is there, and a watch on it. Sent at once, as are the others here.
    pub(crate) fn stat<'a>(
        self: &Arc<Self>,
        client: &'a Client,
        path: &str,
        what_for: Use,
    ) -> impl Future<Output = Result<(Option<Stat>, Watch), Fault>> + Send + use<'a> {
        let place = self.take(path, what_for);
        let look = match place.is_taken() {
            true => {
                Either::Left(client.check_and_watch_stat(path).map_ok(|(stat, watch)| (stat, Some(watch))))
            }
            false => Either::Right(client.check_stat(path).map_ok(|stat| (stat, None))),
        };
        async move { look.await.map(|(stat, watch)| (stat, Watch { watch, place })) }
    }

    /// The node's data, and a watch on it.
    pub(crate) fn data<'a>(
        self: &Arc<Self>,
        client: &'a Client,
        path: &str,
        what_for: Use,
    ) -> impl Future<Output = Result<(Vec<u8>, Stat, Watch), Fault>> + Send + use<'a> {
        let place = self.take(path, what_for);
        let look = match place.is_taken() {
            true => Either::Left(
                client.get_and_watch_data(path).map_ok(|(data, stat, watch)| (data, stat, Some(watch))),
            ),
            false => Either::Right(client.get_data(path).map_ok(|(data, stat)| (data, stat, None))),
        };
        async move { look.await.map(|(data, stat, watch)| (data, stat, Watch { watch, place })) }
    }

    /// The node's children, and a watch on who they are.
    pub(crate) fn children<'a>(
        self: &Arc<Self>,
        client: &'a Client,
        path: &str,
        what_for: Use,
    ) -> impl Future<Output = Result<(Vec<String>, Watch), Fault>> + Send + use<'a> {
        let place = self.take(path, what_for);
        let look = match place.is_taken() {
            true => Either::Left(
                client.list_and_watch_children(path).map_ok(|(children, watch)| (children, Some(watch))),
            ),
            false => Either::Right(client.list_children(path).map_ok(|children| (children, None))),
        };
        async move { look.await.map(|(children, watch)| (children, Watch { watch, place })) }
    }
}

/// A part of the room, given back when dropped.
#[derive(Debug)]
enum Place {
    Taken {
        room: Arc<Room>,
        bytes: usize,
    },
    /// Among those who look again.
    Without {
        room: Arc<Room>,
    },
    /// There was none, but whoever waits hears in another way.
    Told,
}

impl Place {
    fn is_taken(&self) -> bool {
        matches!(self, Self::Taken { .. })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        match self {
            Self::Taken { room, bytes } => drop(room.taken.fetch_sub(*bytes, Ordering::Relaxed)),
            Self::Without { room } => drop(room.without.fetch_sub(1, Ordering::Relaxed)),
            Self::Told => {}
        }
    }
}

/// A watch, or the lack of one. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Watch {
    // Goes before its place does.
    watch: Option<OneshotWatcher>,
    place: Place,
}

impl Watch {
    /// Whether it will tell of a change.
    pub(crate) fn is_set(&self) -> bool {
        self.watch.is_some()
    }

    /// How long to wait before looking again, if nothing tells.
    pub(crate) fn pause(&self) -> Option<Duration> {
        match &self.place {
            Place::Without { room } => Some(room.pause()),
            Place::Taken { .. } | Place::Told => None,
        }
    }

    /// Waits until it has heard something: for ever if it hears nothing.
    pub(crate) async fn changed(self) {
        let Self { watch, place } = self;
        match watch {
            Some(watch) => drop(watch.changed().await),
            None => std::future::pending().await,
        }
        drop(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_secs(30);

    fn fill(room: &Arc<Room>, what_for: Use) -> Vec<Place> {
        let places = std::iter::repeat_with(|| room.take("/tooz/locks/nightly", what_for));
        places.take_while(Place::is_taken).collect()
    }

    #[test]
    fn the_more_urgent_find_room_where_others_find_none_and_all_of_it_comes_back() {
        let room = Arc::new(Room::new("/blue".len(), T));
        let mut places = Vec::new();
        for what_for in [Use::Own, Use::Member, Use::Wait, Use::Turn] {
            let some = fill(&room, what_for);
            assert!(some.len() > 500, "{what_for:?}: {}", some.len());
            places.extend(some);
            assert!(!room.take("/tooz/locks/nightly", what_for).is_taken());
        }
        let taken = room.taken.load(Ordering::Relaxed);
        assert_eq!(taken, places.len() * "/blue/tooz/locks/nightly....".len());
        assert!(taken <= MOST);
        drop(places);
        assert_eq!((room.taken.load(Ordering::Relaxed), room.without.load(Ordering::Relaxed)), (0, 0));
        assert_eq!(fill(&room, Use::Turn).len(), MOST / "/blue/tooz/locks/nightly....".len());
    }

    #[test]
    fn the_more_go_without_a_watch_the_rarer_each_of_them_looks_and_who_hears_otherwise_does_not() {
        let room = Arc::new(Room::new(0, T));
        let _full = fill(&room, Use::Turn);
        let without = |what_for| Watch { watch: None, place: room.take("/a", what_for) };
        let mut looking = Vec::new();
        for (some, expected) in [(1, SOON), (1_000, SOON * 10), (100_000, T)] {
            looking.resize_with(some, || without(Use::Turn));
            let pause = looking[0].pause().unwrap();
            assert!(
                pause >= expected * 7 / 8 && pause <= expected * 9 / 8,
                "{pause:?} instead of {expected:?}"
            );
        }
        let told = without(Use::Own);
        assert_eq!((told.is_set(), told.pause()), (false, None));
    }
}
