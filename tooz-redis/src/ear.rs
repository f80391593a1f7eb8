//! The session's ear: turns pushes into wake-ups. It decides nothing.
//!
//! What may be missed is only ever a reason to ask again: every wait is also ended by the next beat that
//! finds something new, by a reconnection and by the end of the session.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{Mutex as Gate, Notify, mpsc};
use tooz_core::backend::Mark;
use tooz_core::{Cause, ClaimId, Error, ErrorKind, FencingToken, Moment, Result};

use crate::keys::SeatKeys;
use crate::line::{Heard, Subscriber};
use crate::news::News;

/// How many subjects are listened to at most, beyond those somebody waits for.
const MOST_SUBJECTS: usize = 1024;

/// What a session hears, and what it has in the store as far as it was told.
pub(crate) struct Ear {
    subscriber: Subscriber,
    /// The channel of news for this session.
    own: Vec<u8>,
    state: Mutex<State>,
    /// Held while channels are subscribed and left, so that the two never cross: by tasks of `runtime` only.
    channels: Gate<()>,
    /// Where the ear was opened and listens.
    runtime: Handle,
    /// Rings at the end of the session.
    end: Notify,
}

#[derive(Default)]
struct State {
    ended: Option<Cause>,
    places: HashMap<ClaimId, Place>,
    subjects: HashMap<Vec<u8>, Subject>,
    watches: HashMap<Vec<u8>, Watch>,
    deaf_to_keys: bool,
    last_mark: u64,
    beats: u64,
}

/// A claim of this session that was sent and not withdrawn.
struct Place {
    keys: Arc<SeatKeys>,
    news: Option<News>,
    bell: Option<Arc<Notify>>,
    /// A stranger was heard of; told once, with the next claim.
    stranger: bool,
}

/// A seat or a group that somebody follows.
struct Subject {
    mark: u64,
    /// The mark at which it was last seen not to exist.
    absent: u64,
    bell: Arc<Notify>,
}

/// A main key that is watched because a stranger has it.
struct Watch {
    /// Since when for sure; `None` while it is being asked for.
    since: Option<Moment>,
    waiting: HashSet<ClaimId>,
}

/// How a wait for a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Granted in the release of another.
    Granted(FencingToken),
    /// There may be news.
    AskAgain,
}

impl Ear {
    /// Listens to the session's own channel. The task ends with the ear.
    pub(crate) async fn open(
        subscriber: Subscriber,
        mut hearing: mpsc::UnboundedReceiver<Heard>,
        own: Vec<u8>,
    ) -> Result<Arc<Self>> {
        subscriber.subscribe(&own).await?;
        let (state, channels, end) = (Mutex::default(), Gate::default(), Notify::new());
        let runtime = Handle::current();
        let ear = Arc::new(Self { subscriber, own, state, channels, runtime, end });
        let listener = Arc::downgrade(&ear);
        tokio::spawn(async move {
            while let Some(heard) = hearing.recv().await {
                let Some(ear) = listener.upgrade() else { return };
                ear.hear(heard);
            }
        });
        Ok(ear)
    }

    /// Ends the session for everyone who waits.
    pub(crate) fn end(&self, cause: Cause) {
        let mut state = self.lock();
        state.ended = state.ended.or(Some(cause));
        state.ring_all();
        drop(state);
        self.end.notify_waiters();
    }

    /// How the session ended, if it did.
    pub(crate) fn ended(&self) -> Option<Cause> {
        self.lock().ended
    }

    /// Waits for the end of the session.
    pub(crate) async fn end_of_session(&self) -> Cause {
        loop {
            let end = self.end.notified();
            if let Some(cause) = self.ended() {
                return cause;
            }
            end.await;
        }
    }

    /// A claim is about to be sent: from now on news of it are kept. `false` if it was sent before: whatever told it
    /// to let go until now was about an earlier grant. From now on it may be about the one that is under way.
    pub(crate) fn expect(&self, claim: ClaimId, keys: &Arc<SeatKeys>) -> bool {
        let mut state = self.lock();
        let fresh = !state.places.contains_key(&claim);
        let place = state.places.entry(claim).or_insert_with(|| Place {
            keys: Arc::clone(keys),
            news: None,
            bell: None,
            stranger: false,
        });
        if place.news == Some(News::LetGo) {
            place.news = None;
        }
        fresh
    }

    /// A claim neither holds nor waits any more: whoever waits with it asks again.
    pub(crate) fn forget(&self, claim: ClaimId) {
        let place = self.lock().places.remove(&claim);
        if let Some(bell) = place.and_then(|place| place.bell) {
            bell.notify_waiters();
        }
    }

    /// Whether a stranger was heard of since this was asked last.
    pub(crate) fn take_stranger(&self, claim: ClaimId) -> bool {
        let mut state = self.lock();
        state.places.get_mut(&claim).is_some_and(|place| std::mem::take(&mut place.stranger))
    }

    /// Everything sent and not withdrawn.
    pub(crate) fn places(&self) -> Vec<(ClaimId, Arc<SeatKeys>)> {
        self.lock().places.iter().map(|(claim, place)| (*claim, Arc::clone(&place.keys))).collect()
    }

    /// News of a claim that came another way.
    pub(crate) fn tell(&self, claim: ClaimId, news: News) {
        let mut state = self.lock();
        if let Some(place) = state.places.get_mut(&claim) {
            place.take(news);
        }
    }

    /// A beat found that a claim holds: whoever still waits with it missed the grant.
    pub(crate) fn found_holding(&self, claim: ClaimId) {
        let mut state = self.lock();
        if let Some(place) = state.places.get_mut(&claim)
            && let Some(bell) = &place.bell
        {
            place.news = place.news.or(Some(News::Ask));
            bell.notify_waiters();
        }
    }

    /// Waits for the turn of a claim that got this ticket.
    pub(crate) async fn turn(&self, claim: ClaimId, ticket: u64) -> Call {
        loop {
            let bell = {
                let mut state = self.lock();
                let over = state.ended.is_some();
                let Some(place) = state.places.get_mut(&claim).filter(|_| !over) else {
                    return Call::AskAgain;
                };
                match place.news {
                    Some(News::Granted { ticket: granted, token }) if granted == ticket => {
                        place.news = None;
                        return Call::Granted(token);
                    }
                    Some(News::Granted { .. } | News::Ask) => {
                        place.news = None;
                        return Call::AskAgain;
                    }
                    Some(News::Stranger) => {
                        place.news = None;
                        place.stranger = true;
                        return Call::AskAgain;
                    }
                    Some(News::LetGo) => return Call::AskAgain,
                    None => place.bell(),
                }
            };
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if self.is_quiet(claim) {
                rung.await;
            }
        }
    }

    /// Waits until a claim was told to let go or was removed.
    pub(crate) async fn ousted(&self, claim: ClaimId) {
        loop {
            let bell = {
                let mut state = self.lock();
                let over = state.ended.is_some();
                let Some(place) = state.places.get_mut(&claim).filter(|_| !over) else { return };
                if place.news == Some(News::LetGo) {
                    return;
                }
                place.bell()
            };
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if !self.is_told(claim) {
                rung.await;
            }
        }
    }

    /// Whether the main key has been watched since before `asked`; then this claim hears of its change.
    pub(crate) fn hears_key(&self, main: &[u8], claim: ClaimId, asked: Moment) -> bool {
        let mut state = self.lock();
        match state.watches.get_mut(main) {
            Some(watch) if watch.since.is_some_and(|since| since <= asked) => {
                watch.waiting.insert(claim);
                true
            }
            _ => false,
        }
    }

    /// Starts to watch a main key; remembers where that is impossible.
    pub(crate) async fn watch_key(&self, main: &[u8], now: impl FnOnce() -> Moment) {
        // There before it is asked for: a change while the answer is under way takes it away again. And those
        // who wait by it already go on waiting.
        let arming = || Watch { since: None, waiting: HashSet::new() };
        self.lock().watches.entry(main.to_vec()).or_insert_with(arming);
        let works = self.subscriber.watch_key(main).await.unwrap_or(false);
        let mut state = self.lock();
        state.deaf_to_keys = !works;
        if !works {
            state.watches.remove(main);
        } else if let Some(watch) = state.watches.get_mut(main) {
            watch.since.get_or_insert_with(now);
        }
    }

    /// Whether keys cannot be watched here, as far as was tried.
    pub(crate) fn is_deaf_to_keys(&self) -> bool {
        self.lock().deaf_to_keys
    }

    /// Follows a channel, and says its mark: news from now on count.
    pub(crate) async fn follow(self: &Arc<Self>, channel: &[u8]) -> Result<Mark> {
        if let Some(subject) = self.lock().subjects.get(channel) {
            return Ok(Mark(subject.mark));
        }
        // A caller may poll this once and then something else, or its runtime may stand still: nobody else may
        // have to wait for the channels meanwhile.
        let (ear, channel) = (Arc::clone(self), channel.to_vec());
        let begun = self.runtime.spawn(async move { ear.begin_to_hear(&channel).await });
        let ended = |e| Error::new(ErrorKind::Unavailable, "the runtime is ending").with_source(e);
        begun.await.unwrap_or_else(|e| Err(ended(e)))
    }

    async fn begin_to_hear(&self, channel: &[u8]) -> Result<Mark> {
        let _one_at_a_time = self.channels.lock().await;
        // Somebody else may have begun meanwhile; to begin again could end what they listen to.
        if let Some(subject) = self.lock().subjects.get(channel) {
            return Ok(Mark(subject.mark));
        }
        self.subscriber.subscribe(channel).await?;
        let (mark, left) = self.lock().begin_to_follow(channel);
        if let Some(left) = left {
            // An ear that still hears it only wakes nobody.
            let _ = self.subscriber.unsubscribe(&left).await;
        }
        Ok(mark)
    }

    /// A look found nothing under the channel's subject when its mark was this.
    pub(crate) fn saw_absent(&self, channel: &[u8], mark: Mark) {
        if let Some(subject) = self.lock().subjects.get_mut(channel) {
            subject.absent = subject.absent.max(mark.0);
        }
    }

    /// Waits for news of a channel after `mark`; without one, for news since it was last seen absent, or
    /// for the next beat.
    pub(crate) async fn stirred(&self, channel: &[u8], mark: Option<Mark>) {
        let begun = self.lock().beats;
        loop {
            let Some(bell) = self.lock().quiet(channel, mark, begun) else { return };
            let rung = bell.notified();
            tokio::pin!(rung);
            rung.as_mut().enable();
            if self.lock().quiet(channel, mark, begun).is_none() {
                return;
            }
            rung.await;
        }
    }

    /// A beat went out: whoever waits for what nobody tells looks again.
    pub(crate) fn beat(&self) {
        let mut state = self.lock();
        state.beats += 1;
        state.subjects.values().for_each(|subject| subject.bell.notify_waiters());
    }

    fn is_quiet(&self, claim: ClaimId) -> bool {
        let state = self.lock();
        state.ended.is_none() && state.places.get(&claim).is_some_and(|place| place.news.is_none())
    }

    fn is_told(&self, claim: ClaimId) -> bool {
        let state = self.lock();
        state.ended.is_some() || state.places.get(&claim).is_none_or(|place| place.news == Some(News::LetGo))
    }

    fn hear(&self, heard: Heard) {
        let mut state = self.lock();
        match heard {
            Heard::Message { channel, payload } if channel == self.own => {
                if let Some((claim, news)) = News::read(&payload)
                    && let Some(place) = state.places.get_mut(&claim)
                {
                    place.take(news);
                }
            }
            Heard::Message { channel, .. } => state.stir(&channel),
            Heard::KeyChanged(main) => state.key_changed(&main),
            Heard::Resumed => state.miss_everything(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn bell(&mut self) -> Arc<Notify> {
        Arc::clone(self.bell.get_or_insert_default())
    }

    /// Being told to let go is never forgotten for lesser news.
    fn take(&mut self, news: News) {
        if self.news != Some(News::LetGo) {
            self.news = Some(news);
        }
        if let Some(bell) = &self.bell {
            bell.notify_waiters();
        }
    }
}

impl State {
    fn ring_all(&mut self) {
        self.places.values().filter_map(|place| place.bell.as_ref()).for_each(|bell| bell.notify_waiters());
        self.subjects.values().for_each(|subject| subject.bell.notify_waiters());
    }

    fn stir(&mut self, channel: &[u8]) {
        self.last_mark += 1;
        if let Some(subject) = self.subjects.get_mut(channel) {
            subject.mark = self.last_mark;
            subject.bell.notify_waiters();
        }
    }

    fn key_changed(&mut self, main: &[u8]) {
        let Some(watch) = self.watches.remove(main) else { return };
        for claim in watch.waiting {
            if let Some(place) = self.places.get_mut(&claim) {
                place.take(News::Stranger);
            }
        }
    }

    /// Anything may have happened meanwhile: everyone looks or asks again.
    fn miss_everything(&mut self) {
        self.watches.clear();
        self.deaf_to_keys = false;
        self.last_mark += 1;
        for subject in self.subjects.values_mut() {
            subject.mark = self.last_mark;
        }
        for place in self.places.values_mut() {
            place.news = place.news.or(Some(News::Ask));
        }
        self.ring_all();
    }

    /// A new subject, and the channel that is followed no more in its place.
    fn begin_to_follow(&mut self, channel: &[u8]) -> (Mark, Option<Vec<u8>>) {
        let mut left = None;
        if self.subjects.len() >= MOST_SUBJECTS {
            let idle = self.subjects.iter().filter(|(_, subject)| Arc::strong_count(&subject.bell) == 1);
            left = idle.min_by_key(|(_, subject)| subject.mark).map(|(channel, _)| channel.clone());
            if let Some(left) = &left {
                self.subjects.remove(left);
            }
        }
        self.last_mark += 1;
        let mark = self.last_mark;
        let subject = self.subjects.entry(channel.to_vec()).or_insert_with(|| Subject {
            mark,
            absent: 0,
            bell: Arc::default(),
        });
        (Mark(subject.mark), left)
    }

    /// The bell to wait for, or `None` if there is something to look at.
    fn quiet(&self, channel: &[u8], mark: Option<Mark>, begun: u64) -> Option<Arc<Notify>> {
        let subject = self.subjects.get(channel)?;
        let quiet = match mark {
            Some(mark) => subject.mark <= mark.0,
            None => subject.mark <= subject.absent && self.beats == begun,
        };
        (quiet && self.ended.is_none()).then(|| Arc::clone(&subject.bell))
    }
}
