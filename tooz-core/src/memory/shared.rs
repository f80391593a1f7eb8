//! A state with its clock, its wake-ups and its name: what coordinators of one store share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use super::bells::{Bells, Listener, Ringing};
use super::state::{State, Subject};
use crate::clock::{Clock, Moment};
use crate::id::SessionId;
use crate::name::Name;

/// The stores of this process, by name. A store that nobody uses any more is gone.
static STORES: Mutex<BTreeMap<String, Weak<Shared>>> = Mutex::new(BTreeMap::new());

/// The largest token any store of this process has granted: a new store of an old name goes on from there.
static LAST_TOKEN: AtomicU64 = AtomicU64::new(0);

/// One store.
#[derive(Debug)]
pub(super) struct Shared {
    name: String,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    bells: Bells,
    /// That of the first who opened a session; until then time stands still.
    clock: Option<Arc<dyn Clock>>,
    /// How far the store's time was moved ahead of its clock.
    ahead: Duration,
    /// Members whose steps do not arrive.
    cut_off: BTreeSet<Name>,
}

impl Shared {
    /// The store of this name, a new one if nobody uses it.
    pub(super) fn named(name: &str) -> Arc<Self> {
        let mut stores = lock(&STORES);
        if let Some(shared) = stores.get(name).and_then(Weak::upgrade) {
            return shared;
        }
        let inner = Inner {
            state: State::new().with_tokens_after(LAST_TOKEN.load(Ordering::SeqCst)),
            bells: Bells::default(),
            clock: None,
            ahead: Duration::ZERO,
            cut_off: BTreeSet::new(),
        };
        let shared = Arc::new(Self { name: name.to_owned(), inner: Mutex::new(inner) });
        stores.insert(name.to_owned(), Arc::downgrade(&shared));
        shared
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Gives the store its clock, if it has none yet.
    pub(super) fn wind(&self, clock: &Arc<dyn Clock>) {
        let mut inner = lock(&self.inner);
        if inner.clock.is_none() {
            inner.clock = Some(Arc::clone(clock));
            let passed = Duration::from_nanos(inner.now().as_nanos());
            let epoch = SystemTime::now().checked_sub(passed).unwrap_or(SystemTime::UNIX_EPOCH);
            inner.state = std::mem::take(&mut inner.state).with_epoch(epoch);
        }
    }

    /// Takes one step at the present moment and wakes whom it concerns.
    pub(super) fn step<T>(&self, act: impl FnOnce(&mut State, Moment) -> T) -> T {
        let mut inner = lock(&self.inner);
        let now = inner.now();
        let fact = act(&mut inner.state, now);
        publish(inner);
        fact
    }

    /// Moves the store's time ahead of its clock; whose time is up by then ends at once.
    pub(super) fn advance(&self, span: Duration) {
        let mut inner = lock(&self.inner);
        inner.ahead = inner.ahead.saturating_add(span);
        inner.settle();
        // Whoever sleeps until the next expiry has to look at the time again.
        let sleepers = inner.bells.take(std::iter::once(&Subject::Schedule));
        publish(inner);
        sleepers.ring();
    }

    /// Lets no step of the member arrive, or lets them arrive again.
    pub(super) fn cut_off(&self, member: Name, cut: bool) {
        let mut inner = lock(&self.inner);
        let changed = if cut { inner.cut_off.insert(member) } else { inner.cut_off.remove(&member) };
        // Waits that heard nothing meanwhile have to look again.
        let all = if changed { inner.bells.take_all() } else { Ringing::default() };
        drop(inner);
        all.ring();
    }

    /// Whether steps of the member do not arrive.
    pub(super) fn is_cut_off(&self, member: &Name) -> bool {
        lock(&self.inner).cut_off.contains(member)
    }

    /// Waits until `look` sees something, looking again whenever the subject rings; `None` when the session
    /// ended first. A member that is cut off sees and hears nothing.
    pub(super) async fn until<T>(
        self: &Arc<Self>,
        session: SessionId,
        member: &Name,
        subject: Subject,
        look: impl Fn(&State) -> Option<T>,
    ) -> Option<T> {
        loop {
            match self.look_or_listen(session, member, &subject, &look) {
                Ok(seen) => return seen,
                Err(listening) => listening.rung().await,
            }
        }
    }

    /// Looks and, if there is nothing to see, listens, under one lock: nothing falls in between.
    fn look_or_listen<T>(
        self: &Arc<Self>,
        session: SessionId,
        member: &Name,
        subject: &Subject,
        look: impl Fn(&State) -> Option<T>,
    ) -> Result<Option<T>, Listening> {
        let mut inner = lock(&self.inner);
        inner.settle();
        let outcome = if inner.cut_off.contains(member) {
            Err(self.listen(&mut inner, subject.clone(), session))
        } else {
            match look(&inner.state) {
                None if inner.state.is_open(session) => {
                    Err(self.listen(&mut inner, subject.clone(), session))
                }
                seen => Ok(seen),
            }
        };
        publish(inner);
        outcome
    }

    /// The time to the next expiry of any session, and the bells that tell when it may have become shorter;
    /// `None` when `session` has ended.
    pub(super) fn schedule(self: &Arc<Self>, session: SessionId) -> Option<(Duration, Listening)> {
        let mut inner = lock(&self.inner);
        inner.settle();
        let next = inner.state.next_expiry().map_or(Duration::MAX, |at| at.since(inner.now()));
        let listening =
            inner.state.is_open(session).then(|| self.listen(&mut inner, Subject::Schedule, session));
        publish(inner);
        listening.map(|listening| (next, listening))
    }

    /// How many bells are listened to: for tests that prove that waits leave nothing behind.
    #[cfg(test)]
    pub(super) fn bells(&self) -> usize {
        lock(&self.inner).bells.len()
    }

    fn listen(self: &Arc<Self>, inner: &mut Inner, subject: Subject, session: SessionId) -> Listening {
        let listeners = [inner.bells.listen(subject), inner.bells.listen(Subject::Session(session))];
        Listening { shared: Arc::downgrade(self), listeners }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut stores = lock(&STORES);
        // A new store may have taken the name already.
        if stores.get(&self.name).is_some_and(|store| store.strong_count() == 0) {
            stores.remove(&self.name);
        }
    }
}

impl Inner {
    fn now(&self) -> Moment {
        self.clock.as_ref().map_or(Moment::ORIGIN, |clock| clock.now()) + self.ahead
    }

    fn settle(&mut self) {
        let now = self.now();
        self.state.settle(now);
    }
}

/// A wait's ear on its subject and on its session. Dropped, it leaves no trace.
#[derive(Debug)]
pub(super) struct Listening {
    /// Listening alone does not keep a store.
    shared: Weak<Shared>,
    listeners: [Listener; 2],
}

impl Listening {
    pub(super) async fn rung(&self) {
        let [subject, session] = &self.listeners;
        tokio::select! {
            () = subject.rung() => {}
            () = session.rung() => {}
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else { return };
        let mut inner = lock(&shared.inner);
        for listener in &self.listeners {
            inner.bells.leave(listener);
        }
    }
}

/// Ends a look or a step: wakes whom its news concern, after letting go of the lock.
fn publish(mut inner: MutexGuard<'_, Inner>) {
    LAST_TOKEN.fetch_max(inner.state.last_token(), Ordering::SeqCst);
    let Inner { state, bells, .. } = &mut *inner;
    let ringing = bells.take(state.news());
    drop(inner);
    ringing.ring();
}

/// No step leaves the state half-changed by a panic of its own, so a poisoned lock is still good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
