//! The one task of a session: it opens watches when asked and tells views what it hears.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};
use tooz_core::{Error, ErrorKind, Result};

use super::view::{Event, Scan};
use super::{Subject, View};
use crate::error::session_ended;
use crate::line::{LARGEST_ANSWER, Line};
use crate::txn::{self, Seen};

/// Subjects watched at once before those that nobody uses are forgotten.
const KEPT: usize = 256;
/// A subject that changed so often while nobody asked for it is no longer watched.
const UNASKED: usize = 256;
/// A stream that is older has a token that may have run out, where users are asked who they are.
const FRESH: Duration = Duration::from_secs(1);
/// Requests to the ear that may wait.
const ORDERS: usize = 64;

/// A session's ear.
pub(crate) struct Ear {
    line: Arc<Line>,
    runtime: Handle,
    orders: mpsc::Sender<Order>,
    views: Mutex<HashMap<Subject, Arc<View>>>,
    task: AbortHandle,
}

enum Order {
    /// Watch this, and say when it is watched.
    Watch(Arc<View>, Told),
    /// Give up the watches of views that were dropped.
    Sweep,
}

/// Whoever asked for a watch.
type Told = oneshot::Sender<Result<()>>;

impl Ear {
    /// Starts listening, on the runtime that lives as long as the session.
    pub(crate) fn start(line: Arc<Line>, runtime: &Handle) -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let task = runtime.spawn(Listener::new(Arc::clone(&line)).run(inbox)).abort_handle();
        Self { line, runtime: runtime.clone(), orders, views: Mutex::default(), task }
    }

    /// The subject under watch, known at least as of `revision`.
    pub(crate) async fn view(&self, subject: Subject, revision: i64) -> Result<Arc<View>> {
        let view = self.entry(subject);
        while !view.is_live() || view.look(|state| state.horizon()) < revision {
            let work = || read(Arc::clone(&self.line), self.orders.clone(), Arc::clone(&view));
            let reading = view.reading.join(&self.runtime, |_| false, work);
            let is_own = reading.is_own;
            reading.outcome().await.unwrap_or_else(|| Err(session_ended()))?;
            // One that was under way before may have read what was before `revision`.
            if is_own || view.look(super::State::is_dead) {
                break;
            }
        }
        Ok(view)
    }

    /// The subject if it is under watch already.
    pub(crate) fn glance(&self, subject: &Subject) -> Option<Arc<View>> {
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.get(subject).filter(|view| view.is_live()).cloned()
    }

    fn entry(&self, subject: Subject) -> Arc<View> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(view) = views.get(&subject).filter(|view| !view.look(super::State::is_dead)) {
            view.ask();
            return Arc::clone(view);
        }
        if views.len() >= KEPT {
            // A view that only this map knows is used by nobody.
            views.retain(|_, view| Arc::strong_count(view) > 1);
            // A full inbox is one that is being read: the next sweep comes.
            let _ = self.orders.try_send(Order::Sweep);
        }
        let view = Arc::new(View::new(subject.clone()));
        views.insert(subject, Arc::clone(&view));
        view
    }

    /// Stops listening; every wait ends.
    pub(crate) fn end(&self) {
        self.task.abort();
        let views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        views.values().for_each(|view| view.end());
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads the keys of a view, under watch from then on. A read that fails leaves the watch for the next.
async fn read(line: Arc<Line>, orders: mpsc::Sender<Order>, view: Arc<View>) -> Result<()> {
    if !view.look(super::State::is_watched) {
        let watched = timeout(line.timeout(), watch(&orders, &view)).await;
        watched.unwrap_or_else(|_| Err(unheard(line.timeout())))?;
    }
    let keys = view.begin_reading();
    keys.load(look(&line, view.subject()).await?);
    Ok(())
}

async fn watch(orders: &mpsc::Sender<Order>, view: &Arc<View>) -> Result<()> {
    let (watched, answer) = oneshot::channel();
    let ordered = orders.send(Order::Watch(Arc::clone(view), watched)).await;
    ordered.map_err(|_| session_ended())?;
    answer.await.map_err(|_| session_ended())?
}

async fn look(line: &Line, subject: &Subject) -> Result<Scan> {
    let looks = |most| {
        let mut looks: Vec<_> = subject.keys.iter().map(|key| txn::get(key.as_str())).collect();
        for prefix in &subject.prefixes {
            match &subject.queue {
                Some(queue) => looks.extend(txn::oldest_around(prefix, queue, most)),
                None => looks.push(txn::oldest_names_below(prefix, most)),
            }
        }
        looks
    };
    let answer = line.look(looks).await?;
    let answers = answer.op_responses();
    let seen = answers.iter().flat_map(|response| txn::all(Some(response))).collect();
    let cut = subject.queue.as_ref().and_then(|_| txn::cut(answers.last()));
    Ok(Scan { revision: txn::revision(&answer), seen, cut })
}

fn unheard(patience: Duration) -> Error {
    Error::new(ErrorKind::Unavailable, format!("no watch was begun in {patience:?}"))
}

/// What the task owns.
struct Listener {
    line: Arc<Line>,
    stream: Option<WatchStream>,
    /// When the stream was asked for.
    opened: Instant,
    /// Watches asked for, in order; the last of a view says that all of them stand.
    asked: VecDeque<(Arc<View>, Option<Told>)>,
    /// Weakly: a view that nobody uses is dropped by the ear.
    watches: HashMap<i64, Weak<View>>,
}

impl Listener {
    fn new(line: Arc<Line>) -> Self {
        Self { line, stream: None, opened: Instant::now(), asked: VecDeque::new(), watches: HashMap::new() }
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Watch(view, watched)) => self.watch(view, watched).await,
                    Some(Order::Sweep) => self.sweep().await,
                    None => return,
                },
                heard = hear(&mut self.stream) => match heard {
                    Some(response) => self.tell(&response).await,
                    None => self.lose(),
                },
            }
        }
    }

    async fn sweep(&mut self) {
        let unused: Vec<i64> =
            self.watches.iter().filter(|(_, view)| view.strong_count() == 0).map(|(id, _)| *id).collect();
        for id in unused {
            self.cancel(id).await;
        }
    }

    async fn cancel(&mut self, id: i64) {
        self.watches.remove(&id);
        if let Some(stream) = &mut self.stream {
            let _ = stream.cancel(id).await; // a stream that fails ends by itself
        }
    }

    async fn watch(&mut self, view: Arc<View>, watched: Told) {
        if view.look(super::State::is_watched) {
            let _ = watched.send(Ok(())); // who asked may have gone
            return;
        }
        // Whoever asked before waits no more: a view is read by one at a time.
        if let Some((_, told)) = self.asked.iter_mut().rev().find(|(other, _)| Arc::ptr_eq(other, &view)) {
            *told = Some(watched);
            return;
        }
        let mut wanted: VecDeque<(String, WatchOptions)> = ranges(view.subject());
        if self.stream.is_none() {
            let Some((key, options)) = wanted.pop_front() else { return };
            self.opened = Instant::now();
            match self.open(key, options).await {
                Ok(stream) => self.stream = Some(stream),
                Err(error) => {
                    view.end();
                    let _ = watched.send(Err(error)); // who asked may have gone
                    return;
                }
            }
            self.asked.push_back((Arc::clone(&view), None));
        }
        for (key, options) in wanted {
            let sent = match &mut self.stream {
                Some(stream) => stream.watch(key, Some(options)).await.is_ok(),
                None => false,
            };
            if !sent {
                return self.lose();
            }
            self.asked.push_back((Arc::clone(&view), None));
        }
        if let Some((_, last)) = self.asked.back_mut() {
            *last = Some(watched);
        }
    }

    async fn open(&self, key: String, options: WatchOptions) -> Result<WatchStream> {
        self.line
            .call(|client| {
                let (key, options) = (key.clone(), options.clone());
                let mut watches = client.watch_client().max_decoding_message_size(LARGEST_ANSWER);
                async move { watches.watch(key, Some(options)).await }
            })
            .await
    }

    async fn tell(&mut self, response: &WatchResponse) {
        let id = response.watch_id();
        if response.created() {
            let Some((view, watched)) = self.asked.pop_front() else { return self.lose() };
            if response.canceled() {
                return self.refused(view, watched, response.cancel_reason()).await;
            }
            self.watches.insert(id, Arc::downgrade(&view));
            if let Some(watched) = watched {
                view.set_watched();
                let _ = watched.send(Ok(())); // who asked may have gone
            }
        } else if response.canceled() {
            // Compacted, or no longer allowed: the subject is read anew by whoever asks next.
            if let Some(view) = self.watches.remove(&id).and_then(|view| view.upgrade()) {
                view.end();
            }
            return;
        }
        let Some(view) = self.watches.get(&id) else { return };
        let Some(view) = view.upgrade().filter(|view| !view.look(super::State::is_dead)) else {
            return self.cancel(id).await;
        };
        let events: Vec<Event> = response.events().iter().filter_map(event).collect();
        if events.is_empty() {
            return;
        }
        view.hear(events);
        // The ear's own and this one: nobody waits.
        let is_idle = Arc::strong_count(&view) <= 2;
        if is_idle && view.unasked() > UNASKED {
            view.end();
            self.cancel(id).await;
        }
    }

    /// A stream is asked for its token with every watch and never given another: once that is forgotten, it refuses
    /// all there is to come, and the watch is asked for on another. A fresh one has refused what was asked.
    async fn refused(&mut self, view: Arc<View>, mut watched: Option<Told>, reason: &str) {
        if self.opened.elapsed() < FRESH {
            view.end();
            let refused = Error::new(ErrorKind::Denied, format!("etcd refuses the watch: {reason}"));
            let _ = watched.map(|watched| watched.send(Err(refused))); // who asked may have gone
            return;
        }
        self.asked.retain_mut(|(other, told)| {
            let is_same = Arc::ptr_eq(other, &view);
            watched = watched.take().or(if is_same { told.take() } else { None });
            !is_same
        });
        self.watches.retain(|_, other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(&view)));
        self.line.renew();
        self.lose();
        if let Some(watched) = watched {
            self.watch(view, watched).await;
        }
    }

    /// The stream is gone, and with it every watch.
    fn lose(&mut self) {
        self.stream = None;
        for (view, watched) in self.asked.drain(..) {
            view.end();
            let lost = Error::new(ErrorKind::Unavailable, "the watch stream broke");
            let _ = watched.map(|watched| watched.send(Err(lost))); // who asked may have gone
        }
        self.watches.drain().filter_map(|(_, view)| view.upgrade()).for_each(|view| view.end());
    }
}

/// Whoever waits is told when the task goes, however it goes.
impl Drop for Listener {
    fn drop(&mut self) {
        self.lose();
    }
}

fn ranges(subject: &Subject) -> VecDeque<(String, WatchOptions)> {
    let keys = subject.keys.iter().map(|key| (key.clone(), WatchOptions::new()));
    let prefixes = subject.prefixes.iter().map(|prefix| (prefix.clone(), WatchOptions::new().with_prefix()));
    keys.chain(prefixes).collect()
}

/// The next answer; `None` when the stream has ended. Without a stream there is nothing to hear.
async fn hear(stream: &mut Option<WatchStream>) -> Option<WatchResponse> {
    match stream {
        Some(stream) => stream.message().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

fn event(event: &etcd_client::Event) -> Option<Event> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => Event::Put(Seen::from(kv)),
        EventType::Delete => Event::Delete(Bytes::copy_from_slice(kv.key()), kv.mod_revision()),
    })
}
