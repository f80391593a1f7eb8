//! Who listens to what. Pure but for the bells it hands out.

use std::collections::HashMap;
use std::time::Instant;

use tokio::sync::watch;

use super::interest::{Interest, News};

/// Rings one listener; cheap to clone, rung outside the table's lock.
pub(super) type Bell = watch::Sender<()>;

/// What a listener waits on.
pub(super) type Hearing = watch::Receiver<()>;

#[derive(Debug)]
struct Listener {
    id: u64,
    interest: Interest,
    bell: Bell,
}

/// The listeners by subject, and the alarms.
#[derive(Debug, Default)]
pub(super) struct Table {
    next: u64,
    subjects: HashMap<i32, Vec<Listener>>,
    alarms: Vec<(Instant, u64, Bell)>,
}

impl Table {
    pub(super) fn add(&mut self, subject: i32, interest: Interest) -> (u64, Hearing) {
        let (bell, hearing) = watch::channel(());
        let id = self.id();
        self.subjects.entry(subject).or_default().push(Listener { id, interest, bell });
        (id, hearing)
    }

    pub(super) fn add_alarm(&mut self, at: Instant) -> (u64, Hearing) {
        let (bell, hearing) = watch::channel(());
        let id = self.id();
        self.alarms.push((at, id, bell));
        (id, hearing)
    }

    fn id(&mut self) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.next
    }

    /// Forgets a listener. `true` if nobody listens to the subject any more.
    pub(super) fn forget(&mut self, subject: i32, id: u64) -> bool {
        let Some(listeners) = self.subjects.get_mut(&subject) else { return false };
        listeners.retain(|listener| listener.id != id);
        let deserted = listeners.is_empty();
        if deserted {
            self.subjects.remove(&subject);
        }
        deserted
    }

    pub(super) fn forget_alarm(&mut self, id: u64) {
        self.alarms.retain(|(_, other, _)| *other != id);
    }

    /// The bells of those who want to hear it.
    pub(super) fn hearers(&self, subject: i32, news: News<'_>) -> Vec<Bell> {
        let listeners = self.subjects.get(&subject).into_iter().flatten();
        listeners
            .filter(|listener| listener.interest.hears(news))
            .map(|listener| listener.bell.clone())
            .collect()
    }

    /// The subject is gone: the bells of all its listeners.
    pub(super) fn end(&mut self, subject: i32) -> Vec<Bell> {
        self.subjects.remove(&subject).into_iter().flatten().map(|listener| listener.bell).collect()
    }

    /// Every bell: after events were lost.
    pub(super) fn everyone(&self) -> Vec<Bell> {
        self.subjects.values().flatten().map(|listener| listener.bell.clone()).collect()
    }

    pub(super) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.iter().map(|(at, ..)| *at).min()
    }

    pub(super) fn due(&mut self, now: Instant) -> Vec<Bell> {
        self.alarms.extract_if(.., |(at, ..)| *at <= now).map(|(_, _, bell)| bell).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn news_reach_those_who_want_them_and_the_last_to_leave_ends_the_subject() {
        let mut table = Table::default();
        let (a, mut heard_a) = table.add(1, Interest::End);
        let (b, heard_b) = table.add(1, Interest::Keep);
        table.hearers(1, News::Closed).iter().for_each(|bell| bell.send(()).unwrap());
        assert!(heard_a.has_changed().unwrap() && !heard_b.has_changed().unwrap());
        heard_a.mark_unchanged();
        assert!(!table.forget(1, a) && table.forget(1, b) && table.is_empty());
        assert!(!table.forget(1, b));
    }

    #[test]
    fn alarms_ring_once_when_due() {
        let mut table = Table::default();
        let now = Instant::now();
        let (id, hearing) = table.add_alarm(now + Duration::from_secs(1));
        assert!(table.due(now).is_empty());
        assert_eq!(table.next_alarm(), Some(now + Duration::from_secs(1)));
        let bells = table.due(now + Duration::from_secs(1));
        bells.iter().for_each(|bell| bell.send(()).unwrap());
        assert!(hearing.has_changed().unwrap() && table.next_alarm().is_none());
        table.forget_alarm(id);
    }
}
