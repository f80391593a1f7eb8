//! What a session keeps of a group that somebody follows: its members, with a watch on each and one on the group.
//!
//! A watch stays until it has heard something, whoever waits meanwhile. So a change costs one list of the group and one
//! look at each member that is new or changed, however many there are. What is kept is told only after the group was
//! listed once more: whatever a watch has to say of what stands in the list, it has said before that is answered.
//! Where the connection was replaced everything is read anew. Whoever found no room for a [watch](crate::watches) is read
//! at each look, and there is a look now and then.
//!
//! Several may look at once, and one of them may stand still for as long as its caller likes. So nobody takes what is kept
//! away to work on it: each answer is added when it is there, with its watch, unless that has heard something by then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tooz_core::Name;
use tooz_core::backend::{Mark, RosterEntry};
use zookeeper_client::StateWatcher;

use crate::roster::Seen;
use crate::session::locked;
use crate::watches::Watch;

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
    /// `None` where nothing is known.
    kept: Mutex<Option<Kept>>,
}

impl Roll {
    fn new() -> Self {
        Self { alarm: Arc::new(Alarm(watch::Sender::new(0))), kept: Mutex::default() }
    }

    fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.alarm))
    }

    /// What a look would show (`Some(None)`: no such group), if all is known and nothing was heard since.
    pub(crate) fn current(&self) -> Option<Option<Mark>> {
        let mut kept = locked(&self.kept);
        let kept = kept.as_mut()?;
        kept.is_current(&self.waker()).then(|| kept.mark())
    }

    /// Whether all was read and nothing was heard since.
    fn is_whole(&self) -> bool {
        locked(&self.kept).as_mut().is_some_and(|kept| kept.is_whole(&self.waker()))
    }

    /// How long who waits may do so before looking again; `None`: until something is heard.
    pub(crate) fn pause(&self) -> Option<Duration> {
        locked(&self.kept).as_ref()?.news().find_map(News::pause)
    }

    /// The group was listed: who in it need not be read again.
    pub(crate) fn listed(
        &self,
        line: &mut Line,
        exists: bool,
        watch: Watch,
        nodes: &[(String, Name)],
    ) -> HashMap<String, Child> {
        let (waker, mut news) = (self.waker(), News::of(watch));
        let mut kept = locked(&self.kept);
        drop(kept.take_if(|kept| kept.line.is_cut()));
        let mut same = HashMap::new();
        for (node, known) in kept.iter_mut().flat_map(|kept| &mut kept.members) {
            drop(known.take_if(|known| known.news.has_come(&waker)));
            let same_as_read = known.as_ref().filter(|known| known.news.is_silent());
            same.extend(same_as_read.map(|known| (node.clone(), known.child.clone())));
        }
        // A list that is old already is of no use to others.
        if !line.is_cut() && !news.has_come(&waker) {
            let mut before = kept.take().map(|kept| kept.members).unwrap_or_default();
            let members =
                nodes.iter().map(|(node, _)| (node.clone(), before.remove(node).flatten())).collect();
            *kept = Some(Kept { line: line.clone(), exists, news, members });
        }
        same
    }

    /// A child was read.
    pub(crate) fn read(&self, line: &mut Line, node: &str, mut known: Known) {
        let mut kept = locked(&self.kept);
        let Some(kept) = kept.as_mut() else { return };
        if line.is_cut() || kept.line.is_cut() {
            return;
        }
        if let Some(place) = kept.members.get_mut(node)
            && !known.news.has_come(&self.waker())
        {
            *place = Some(known);
        }
    }
}

/// A look that is under way. Where it comes to nothing, or is old by its end, whoever waits looks for itself.
pub(crate) struct Looking<'a> {
    roll: &'a Roll,
    has_ended: bool,
}

impl<'a> Looking<'a> {
    pub(crate) fn begin(roll: &'a Roll) -> Self {
        Self { roll, has_ended: false }
    }

    /// All is read.
    pub(crate) fn end(mut self) {
        self.has_ended = self.roll.is_whole();
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.roll.alarm.wake_by_ref();
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
        let followed =
            all.entry(group.clone()).or_insert_with(|| Followed { roll: Arc::new(Roll::new()), waiting: 0 });
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

/// What a watch has to say.
pub(crate) enum News {
    /// Nothing so far.
    None(BoxFuture<'static, ()>),
    /// It has heard something.
    Come,
    /// There was no room for a watch: only another look tells.
    Unheard(Watch),
}

impl News {
    pub(crate) fn of(watch: Watch) -> Self {
        if watch.is_set() { Self::None(Box::pin(watch.changed())) } else { Self::Unheard(watch) }
    }

    /// Whether it has heard something. If not, the waker is woken when it does.
    fn has_come(&mut self, waker: &Waker) -> bool {
        if let Self::None(watch) = self
            && watch.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
        {
            *self = Self::Come;
        }
        matches!(self, Self::Come)
    }

    /// Whether there is a watch, which has heard nothing.
    fn is_silent(&self) -> bool {
        matches!(self, Self::None(_))
    }

    fn pause(&self) -> Option<Duration> {
        match self {
            Self::Unheard(watch) => watch.pause(),
            _ => None,
        }
    }
}

/// A child of a group that may be a member.
#[derive(Clone)]
pub(crate) struct Child {
    /// The transactions that made it and wrote it last.
    pub(crate) seen: (i64, i64),
    /// `None`: it is no member.
    pub(crate) entry: Option<RosterEntry>,
}

/// What is kept of one.
pub(crate) struct Known {
    pub(crate) news: News,
    pub(crate) child: Child,
}

/// A connection, and whether it was lost since, and with it what the watches may have heard.
#[derive(Clone)]
pub(crate) struct Line {
    states: StateWatcher,
    is_cut: bool,
}

impl Line {
    /// By the states from now on.
    pub(crate) fn new(states: StateWatcher) -> Self {
        Self { states, is_cut: false }
    }

    fn is_cut(&mut self) -> bool {
        self.is_cut = self.is_cut || self.states.changed().now_or_never().is_some();
        self.is_cut
    }
}

/// A group as it was listed last.
struct Kept {
    /// Since before the watch was set.
    line: Line,
    exists: bool,
    news: News,
    /// `None`: it has to be read.
    members: HashMap<String, Option<Known>>,
}

impl Kept {
    /// Whether all is known and certain to be as it was. If so, the waker is woken when that changes.
    fn is_current(&mut self, waker: &Waker) -> bool {
        self.is_whole(waker) && self.news().all(News::is_silent)
    }

    /// Whether all is known and nothing was heard since. If so, the waker is woken when something is.
    fn is_whole(&mut self, waker: &Waker) -> bool {
        let mut has_come = self.news.has_come(waker);
        for known in self.members.values_mut() {
            has_come |= known.as_mut().is_none_or(|known| known.news.has_come(waker));
        }
        !has_come && !self.line.is_cut()
    }

    fn news(&self) -> impl Iterator<Item = &News> {
        let members = self.members.values().flatten().map(|known| &known.news);
        std::iter::once(&self.news).chain(members)
    }

    /// `None`: there is no such group.
    fn mark(&self) -> Option<Mark> {
        let mut seen = Seen::default();
        for (node, known) in &self.members {
            let member = known.as_ref().filter(|known| known.child.entry.is_some());
            member.into_iter().for_each(|known| seen.add(node, known.child.seen));
        }
        self.exists.then(|| seen.mark())
    }
}
