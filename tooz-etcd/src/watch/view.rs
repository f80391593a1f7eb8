//! One watched subject as the ear knows it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::errand::Errand;
use crate::place::is_place;
use crate::txn::Seen;

/// The keys that make up a subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Subject {
    /// Single keys, watched alone.
    pub(crate) keys: Vec<String>,
    /// Prefixes, watched with all below them. Without a queue only names and leases are read, and no values.
    pub(crate) prefixes: Vec<String>,
    /// Before places, whose order by create revision matters, below the only prefix.
    pub(crate) queue: Option<String>,
}

/// The keys of a subject as they were at a revision.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) revision: i64,
    pub(crate) seen: Vec<Seen>,
    /// Where more stand in the queue than were read: what is missing was created then or later.
    pub(crate) cut: Option<i64>,
}

/// What is known of the subject's keys.
#[derive(Debug, Default)]
pub(crate) struct State {
    keys: BTreeMap<Bytes, Seen>,
    /// Places by create revision.
    order: BTreeMap<i64, Bytes>,
    /// Where more stood in the queue than were read: what is missing was created then or later.
    cut: Option<i64>,
    /// Everything up to this revision that concerns the subject may be counted on, except what a second
    /// watch of the same subject has yet to tell about that very revision.
    horizon: i64,
    /// When the keys were read; events up to then are in them already.
    read_at: i64,
    /// Events heard while the keys are being read.
    meanwhile: Option<Vec<Event>>,
    /// Its watches stand, or stood.
    watched: bool,
    loaded: bool,
    dead: bool,
    /// Times it heard something since somebody looked for it.
    unasked: usize,
}

/// A key was put, or deleted at a revision.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Put(Seen),
    Delete(Bytes, i64),
}

impl Event {
    fn revision(&self) -> i64 {
        match self {
            Self::Put(seen) => seen.modified,
            Self::Delete(_, revision) => *revision,
        }
    }
}

impl State {
    /// The key, if it is there.
    pub(crate) fn get(&self, key: &str) -> Option<&Seen> {
        self.keys.get(key.as_bytes())
    }

    /// All keys with the prefix.
    pub(crate) fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Seen> {
        let from = Bytes::copy_from_slice(prefix.as_bytes());
        self.keys
            .range(from..)
            .map(|(_, seen)| seen)
            .take_while(|seen| seen.key.starts_with(prefix.as_bytes()))
    }

    /// The oldest place, if it is known which that is.
    pub(crate) fn head(&self) -> Option<&Seen> {
        let (created, key) = self.order.first_key_value()?;
        self.keys.get(key).filter(|_| self.cut.is_none_or(|cut| *created <= cut))
    }

    /// Whether a place that was created then may stand although it is not known: more stood in the queue than were read.
    pub(crate) fn may_hide(&self, created: i64) -> bool {
        self.cut.is_some_and(|cut| (cut..=self.read_at).contains(&created))
    }

    /// Whether a place is older.
    pub(crate) fn has_older(&self, created: i64) -> bool {
        self.order.first_key_value().is_some_and(|(first, _)| *first < created)
    }

    pub(crate) fn horizon(&self) -> i64 {
        self.horizon
    }

    /// Whether its watches stand, or stood.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched
    }

    /// Whether nothing more will be heard.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead
    }

    fn hear(&mut self, queue: Option<&str>, event: Event) {
        if self.loaded && event.revision() > self.read_at {
            self.apply(queue, event);
        }
    }

    fn apply(&mut self, queue: Option<&str>, event: Event) {
        let revision = event.revision();
        match event {
            Event::Put(seen) => {
                if self.keys.get(&seen.key).is_some_and(|known| known.modified >= revision) {
                    return;
                }
                self.forget(&seen.key.clone());
                if queue.is_some_and(|queue| is_place(&seen, queue)) {
                    self.order.insert(seen.created, seen.key.clone());
                }
                self.keys.insert(seen.key.clone(), seen);
            }
            Event::Delete(key, _) => {
                if self.keys.get(&key).is_some_and(|known| known.modified > revision) {
                    return;
                }
                let knew = self.head().is_some();
                self.forget(&key);
                // What was cut off has come to the front.
                self.dead |= self.cut.is_some() && knew && self.head().is_none();
            }
        }
        self.horizon = self.horizon.max(revision);
    }

    fn forget(&mut self, key: &Bytes) {
        if let Some(seen) = self.keys.remove(key) {
            self.order.remove(&seen.created);
        }
    }
}

/// A subject under watch.
#[derive(Debug)]
pub(crate) struct View {
    subject: Subject,
    state: Mutex<State>,
    changes: watch::Sender<()>,
    /// The read of the keys: one at a time, for all who wait for it.
    pub(crate) reading: Errand<()>,
}

impl View {
    pub(crate) fn new(subject: Subject) -> Self {
        let (changes, _) = watch::channel(());
        Self { subject, state: Mutex::default(), changes, reading: Errand::default() }
    }

    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Its watches stand.
    pub(crate) fn set_watched(&self) {
        self.lock().watched = true;
    }

    /// A look at what is known.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Somebody asks for it.
    pub(crate) fn ask(&self) {
        self.lock().unasked = 0;
    }

    /// Times it heard something since somebody asked for it.
    pub(crate) fn unasked(&self) -> usize {
        self.lock().unasked
    }

    /// Whether the keys have been read and events still come.
    pub(crate) fn is_live(&self) -> bool {
        self.look(|state| state.loaded && !state.dead)
    }

    /// Ends when `look` finds something, and looks again after every change.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&State) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(found) = self.look(&mut look) {
                return found;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Begins to keep what is heard while the keys are read.
    pub(crate) fn begin_reading(&self) -> Reading<'_> {
        self.lock().meanwhile = Some(Vec::new());
        Reading(self)
    }

    /// The keys as they were at a revision, and what was heard of later times.
    fn load(&self, scan: Scan) {
        let Scan { revision, seen, cut } = scan;
        let queue = self.subject.queue.as_deref();
        let mut state = self.lock();
        let meanwhile = state.meanwhile.take().unwrap_or_default();
        if state.loaded && state.read_at >= revision {
            return;
        }
        state.keys.clear();
        state.order.clear();
        for seen in seen {
            state.apply(queue, Event::Put(seen));
        }
        (state.horizon, state.read_at, state.loaded, state.cut) = (revision, revision, true, cut);
        for event in meanwhile {
            state.hear(queue, event);
        }
        drop(state);
        self.changes.send_replace(());
    }

    /// What the stream told.
    pub(crate) fn hear(&self, events: Vec<Event>) {
        let queue = self.subject.queue.as_deref();
        let mut state = self.lock();
        state.unasked += 1;
        for event in events {
            if let Some(meanwhile) = &mut state.meanwhile {
                meanwhile.push(event.clone());
            }
            state.hear(queue, event);
        }
        drop(state);
        self.changes.send_replace(());
    }

    /// No more events will come.
    pub(crate) fn end(&self) {
        self.lock().dead = true;
        self.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A read of a view's keys. A read that fails or is given up keeps nothing of what was heard meanwhile:
/// nobody would ever take it.
#[derive(Debug)]
pub(crate) struct Reading<'a>(&'a View);

impl Reading<'_> {
    /// The keys as they were at a revision.
    pub(crate) fn load(self, scan: Scan) {
        self.0.load(scan);
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.lock().meanwhile = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_is_given_up_leaves_nothing_that_grows() {
        let view = View::new(Subject { keys: Vec::new(), prefixes: Vec::new(), queue: None });
        let heard = || vec![Event::Delete(Bytes::from_static(b"k"), 1)];
        let reading = view.begin_reading();
        view.hear(heard());
        assert_eq!(view.look(|state| state.meanwhile.as_ref().map(Vec::len)), Some(1));
        drop(reading);
        view.hear(heard());
        assert_eq!(view.look(|state| state.meanwhile.as_ref().map(Vec::len)), None);
    }
    /// Three were read, the rest is behind them.
    #[test]
    fn the_head_of_a_queue_that_was_cut_is_known_until_what_was_read_has_gone() {
        const RECORD: &[u8] = &[0x95, 0xc2, 0xa1, b'm', 0xc4, 0, 0xc0, 0xc0];
        let key = |created| Bytes::from(format!("s/q/{}", tooz_core::ClaimId::from_bytes([created; 16])));
        let put = |created: u8, lease| {
            let (value, at) = (Bytes::from_static(RECORD), i64::from(created));
            Seen { key: key(created), value, created: at, modified: at, lease }
        };
        let subject = Subject { keys: Vec::new(), prefixes: vec!["s/".into()], queue: Some("s/q/".into()) };
        let read = |lease| {
            let view = View::new(subject.clone());
            let seen = vec![put(1, lease), put(2, lease), put(3, lease)];
            view.begin_reading().load(Scan { revision: 9, seen, cut: Some(3) });
            view.hear(vec![Event::Put(put(10, 1))]);
            view
        };
        let head = |view: &View| view.look(|state| state.head().map(|head| head.created));

        let places = read(1);
        assert_eq!(
            [2, 3, 9, 10].map(|at| places.look(|state| state.may_hide(at))),
            [false, true, true, false]
        );
        assert_eq!(head(&places), Some(1));
        places.hear(vec![Event::Delete(key(1), 11), Event::Delete(key(2), 12)]);
        assert_eq!((head(&places), places.is_live()), (Some(3), true));
        places.hear(vec![Event::Delete(key(3), 13)]);
        assert_eq!((head(&places), places.is_live()), (None, false), "the head is among those not read");

        let aliens = read(0);
        assert_eq!(head(&aliens), None, "what was not read is older than news");
        aliens.hear(vec![Event::Delete(key(1), 11)]);
        assert!(aliens.is_live(), "reading again would show no more");
    }
}
