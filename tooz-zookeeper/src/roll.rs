//! What a session keeps of a group that somebody follows: its members, with a watch on each and one on the group.
//!
//! A watch stays until it has heard something, whoever waits meanwhile. So a change costs one list of the group and one
//! look at each member that is new or changed, however many there are. What is kept is told only after the group was
//! listed once more: whatever a watch has to say of what stands in the list, it has said before that is answered.
//! Where the connection was replaced everything is read anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex as TaskMutex, watch};
use tooz_core::Name;
use tooz_core::backend::{Mark, RosterEntry, RosterFact};
use zookeeper_client::{OneshotWatcher, StateWatcher};

use crate::roster::Seen;
use crate::session::locked;

/// So many groups are kept beside those that somebody waits for.
const KEPT: usize = 64;

/// The groups that are followed through one session.
#[derive(Default)]
pub(crate) struct Rolls(Mutex<HashMap<Name, Followed>>);

struct Followed {
    roll: Arc<Roll>,
    /// How many wait for it.
    waiting: usize,
}

/// One group.
pub(crate) struct Roll {
    pub(crate) alarm: Arc<Alarm>,
    /// `None` where nothing is known, and while it is read: whoever is dropped reading leaves nothing half-done.
    pub(crate) kept: TaskMutex<Option<Kept>>,
}

/// A look that is under way. Where it comes to nothing, the watches of before are gone with it, as whoever listens has
/// to know.
pub(crate) struct Looking<'a> {
    alarm: &'a Arc<Alarm>,
    has_ended: bool,
}

impl<'a> Looking<'a> {
    pub(crate) fn begin(alarm: &'a Arc<Alarm>) -> Self {
        Self { alarm, has_ended: false }
    }

    /// The watches are set again.
    pub(crate) fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.alarm.wake_by_ref();
        }
    }
}

impl Rolls {
    /// The group, where it is followed.
    pub(crate) fn find(&self, group: &Name) -> Option<Arc<Roll>> {
        locked(&self.0).get(group).map(|followed| Arc::clone(&followed.roll))
    }

    /// Begins a wait.
    pub(crate) fn follow<'a>(&'a self, group: &'a Name) -> Following<'a> {
        let mut all = locked(&self.0);
        if all.len() >= KEPT && !all.contains_key(group) {
            all.retain(|_, followed| followed.waiting > 0);
        }
        let followed = all.entry(group.clone()).or_insert_with(|| {
            let alarm = Arc::new(Alarm(watch::Sender::new(0)));
            Followed { roll: Arc::new(Roll { alarm, kept: TaskMutex::new(None) }), waiting: 0 }
        });
        followed.waiting += 1;
        Following { rolls: self, group, roll: Arc::clone(&followed.roll), is_over: false }
    }
}

/// A wait. Dropped half-way, it was the last of its view's: then nothing is kept for it any more.
pub(crate) struct Following<'a> {
    rolls: &'a Rolls,
    group: &'a Name,
    pub(crate) roll: Arc<Roll>,
    is_over: bool,
}

impl Following<'_> {
    /// The wait is over, and whoever waited is about to look.
    pub(crate) fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        let mut all = locked(&self.rolls.0);
        let Some(followed) = all.get_mut(self.group) else { return };
        followed.waiting = followed.waiting.saturating_sub(1);
        if followed.waiting == 0 && !self.is_over {
            all.remove(self.group);
        }
    }
}

/// Woken by every watch of a group; wakes all who wait.
pub(crate) struct Alarm(watch::Sender<u64>);

impl Alarm {
    /// What rings from now on.
    pub(crate) fn hearing(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.send_modify(|times| *times = times.wrapping_add(1));
    }
}

/// A watch, until it has heard something.
pub(crate) struct News(Option<BoxFuture<'static, ()>>);

impl News {
    pub(crate) fn of(watch: OneshotWatcher) -> Self {
        Self(Some(Box::pin(watch.changed().map(drop))))
    }

    /// Whether it has. If not, the waker is woken when it does.
    pub(crate) fn has_come(&mut self, waker: &Waker) -> bool {
        let has_come = |watch: &mut BoxFuture<'static, ()>| {
            watch.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
        };
        if self.0.as_mut().is_some_and(has_come) {
            self.0 = None;
        }
        self.0.is_none()
    }
}

/// A child of a group that may be a member.
pub(crate) struct Known {
    pub(crate) news: News,
    /// The transactions that made it and wrote it last.
    pub(crate) seen: (i64, i64),
    /// `None`: it is no member.
    pub(crate) entry: Option<RosterEntry>,
}

impl Known {
    /// The same if its watch has heard nothing.
    pub(crate) fn unchanged(mut self, waker: &Waker) -> Option<Self> {
        (!self.news.has_come(waker)).then_some(self)
    }
}

/// A group as it was read last.
pub(crate) struct Kept {
    states: StateWatcher,
    is_cut: bool,
    exists: bool,
    news: News,
    pub(crate) members: HashMap<String, Known>,
}

impl Kept {
    /// No member yet. The states are those since before the watch was set.
    pub(crate) fn new(states: StateWatcher, exists: bool, news: News) -> Self {
        Self { states, is_cut: false, exists, news, members: HashMap::new() }
    }

    /// Its members, unless the connection was lost since.
    pub(crate) fn uncut(mut self) -> Option<HashMap<String, Known>> {
        (!self.is_cut()).then_some(self.members)
    }

    /// Whether the connection was lost since, and with it what the watches may have heard.
    fn is_cut(&mut self) -> bool {
        self.is_cut = self.is_cut || self.states.changed().now_or_never().is_some();
        self.is_cut
    }

    /// Whether nothing was heard since. If so, the waker is woken when that changes.
    pub(crate) fn is_current(&mut self, waker: &Waker) -> bool {
        let mut has_come = self.news.has_come(waker);
        for known in self.members.values_mut() {
            has_come |= known.news.has_come(waker);
        }
        !has_come && !self.is_cut()
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &Known, &RosterEntry)> {
        self.members.iter().filter_map(|(node, known)| Some((node.as_str(), known, known.entry.as_ref()?)))
    }

    /// `None`: there is no such group.
    pub(crate) fn mark(&self) -> Option<Mark> {
        let mut seen = Seen::default();
        self.entries().for_each(|(node, known, _)| seen.add(node, known.seen));
        self.exists.then(|| seen.mark())
    }

    /// What is told of it.
    pub(crate) fn fact(&self) -> Option<RosterFact> {
        let mark = self.mark()?;
        let members = self.entries().map(|(_, _, entry)| entry.clone()).collect();
        Some(RosterFact { mark, members, revisit: None })
    }
}
