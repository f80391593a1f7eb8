//! The connection that news come in by.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisResult, Value, cmd};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tooz_core::Result;

use super::reach::Reach;
use super::retreat::Retreat;
use super::sentinel;
use crate::config::Topology;
use crate::error::unanswered;

/// What the ear hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Something was published.
    Message {
        /// Where.
        channel: Vec<u8>,
        /// What.
        payload: Vec<u8>,
    },
    /// A watched key was set, deleted or expired; it is watched no more.
    KeyChanged(Vec<u8>),
    /// The connection is back: channels are subscribed again, keys are not watched, anything may have been
    /// missed.
    Resumed,
}

/// Says what to listen to. When the last clone is dropped the ear ends.
#[derive(Clone)]
pub(crate) struct Subscriber(Arc<Ear>);

struct Ear {
    wanted: Arc<Mutex<Wanted>>,
    patience: Duration,
    tracks: bool,
    task: AbortHandle,
}

/// What is listened to, and by which connection.
#[derive(Default)]
struct Wanted {
    channels: BTreeSet<Vec<u8>>,
    watched: BTreeSet<Vec<u8>>,
    connection: Option<MultiplexedConnection>,
    /// Counts the connections: who gives one up must not hit the next.
    generation: u64,
    given_up: Arc<Notify>,
}

/// Connects and starts to listen, on the current runtime.
pub(super) async fn open(
    reach: Arc<Reach>,
    patience: Duration,
) -> Result<(Subscriber, mpsc::UnboundedReceiver<Heard>)> {
    let (heard, hearer) = mpsc::unbounded_channel();
    let wanted = Arc::new(Mutex::new(Wanted::default()));
    let tracks = !matches!(reach.config().topology, Topology::Cluster(_));
    let first = Listening::begin(&reach, &wanted).await?;
    let listener = Listener { reach, wanted: Arc::downgrade(&wanted), heard, patience };
    let task = tokio::spawn(listener.listen(first)).abort_handle();
    Ok((Subscriber(Arc::new(Ear { wanted, patience, tracks, task })), hearer))
}

impl Subscriber {
    /// Subscribes to a channel, over reconnects too. Where the connection is just away, the subscription
    /// comes back with it, and [`Heard::Resumed`] follows.
    pub(crate) async fn subscribe(&self, channel: &[u8]) -> Result<()> {
        let (connection, generation) = {
            let mut wanted = lock(&self.0.wanted);
            wanted.channels.insert(channel.to_vec());
            (wanted.connection.clone(), wanted.generation)
        };
        let Some(mut connection) = connection else { return Ok(()) };
        match timeout(self.0.patience, connection.subscribe(channel)).await {
            Ok(Err(error)) if error.code().is_some() => {
                lock(&self.0.wanted).channels.remove(channel);
                Err(unanswered(error))
            }
            Ok(Err(_)) | Err(_) => {
                self.give_up_connection(generation);
                Ok(())
            }
            Ok(Ok(())) => Ok(()),
        }
    }

    /// Ends a subscription.
    pub(crate) async fn unsubscribe(&self, channel: &[u8]) -> Result<()> {
        let connection = {
            let mut wanted = lock(&self.0.wanted);
            wanted.channels.remove(channel);
            wanted.connection.clone()
        };
        let Some(mut connection) = connection else { return Ok(()) };
        match timeout(self.0.patience, connection.unsubscribe(channel)).await {
            Ok(Err(error)) if error.code().is_some() => Err(unanswered(error)),
            // A connection that is away takes its subscriptions along.
            _ => Ok(()),
        }
    }

    /// Watches a key: [`Heard::KeyChanged`] when it is next set, deleted or expired. `false` where this
    /// server, topology or user cannot: then look from time to time.
    pub(crate) async fn watch_key(&self, key: &[u8]) -> Result<bool> {
        if !self.0.tracks {
            return Ok(false);
        }
        let connection = lock(&self.0.wanted).connection.clone();
        let Some(mut connection) = connection else { return Ok(false) };
        lock(&self.0.wanted).watched.insert(key.to_vec());
        // One message: the second command is about the third, which nothing may come between.
        let mut pipeline = redis::pipe();
        pipeline.cmd("CLIENT").arg("TRACKING").arg("ON").arg("OPTIN");
        pipeline.cmd("CLIENT").arg("CACHING").arg("YES");
        pipeline.cmd("EXISTS").arg(key);
        let answers = timeout(self.0.patience, connection.send_packed_commands(&pipeline, 0, 3)).await;
        let works = match answers {
            Ok(Ok(answers)) => !answers.iter().any(|answer| matches!(answer, Value::ServerError(_))),
            Ok(Err(_)) | Err(_) => false,
        };
        if !works {
            lock(&self.0.wanted).watched.remove(key);
        }
        Ok(works)
    }

    /// A connection that does not answer is dropped: the ear opens another, and subscribes everything there.
    fn give_up_connection(&self, generation: u64) {
        let mut wanted = lock(&self.0.wanted);
        if wanted.generation == generation {
            wanted.connection = None;
            wanted.given_up.notify_one();
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task behind the ear.
struct Listener {
    reach: Arc<Reach>,
    wanted: Weak<Mutex<Wanted>>,
    heard: mpsc::UnboundedSender<Heard>,
    patience: Duration,
}

/// One connection of the ear.
struct Listening {
    connection: MultiplexedConnection,
    pushes: mpsc::UnboundedReceiver<PushInfo>,
    epoch: u64,
}

impl Listening {
    async fn begin(reach: &Reach, wanted: &Mutex<Wanted>) -> Result<Self> {
        let epoch = reach.epoch();
        let (sender, pushes) = mpsc::unbounded_channel();
        let mut connection = reach.connect(sender).await?;
        let channels = {
            let mut wanted = lock(wanted);
            wanted.watched.clear();
            wanted.generation += 1;
            wanted.given_up = Arc::default();
            wanted.connection = Some(connection.clone());
            wanted.channels.iter().cloned().collect::<Vec<_>>()
        };
        if !channels.is_empty() {
            let again = timeout(reach.patience(), connection.subscribe(channels)).await;
            let failed = again.map_or(true, |answer| answer.is_err());
            if failed {
                lock(wanted).connection = None;
                return Err(crate::error::unconnected(reach, reach.patience()));
            }
        }
        Ok(Self { connection, pushes, epoch })
    }
}

impl Listener {
    async fn listen(self, mut listening: Listening) {
        loop {
            self.pass_on(&mut listening).await;
            if let Topology::Sentinel { .. } = self.reach.config().topology {
                // What broke the connection may have been a failover whose news nobody heard.
                self.reach.renounce(listening.epoch);
            }
            drop(listening);
            let mut retreat = Retreat::new();
            listening = loop {
                let Some(wanted) = self.wanted.upgrade() else { return };
                lock(&wanted).connection = None;
                match Listening::begin(&self.reach, &wanted).await {
                    Ok(listening) => break listening,
                    Err(error) => tracing::debug!(%error, "the ear cannot connect"),
                }
                drop(wanted);
                sleep(retreat.next()).await;
            };
            let _nobody_listens = self.heard.send(Heard::Resumed);
        }
    }

    /// Passes on what comes until the connection breaks, falls silent or leads to a former primary.
    async fn pass_on(&self, listening: &mut Listening) {
        let silence = silence(listening.connection.clone(), self.beat(), self.patience);
        let moved = self.reach.moved_on(listening.epoch);
        let switched = sentinel::switched(&self.reach);
        let Some(given_up) = self.wanted.upgrade().map(|wanted| Arc::clone(&lock(&wanted).given_up)) else {
            return;
        };
        let given_up = given_up.notified();
        tokio::pin!(silence, moved, switched, given_up);
        loop {
            tokio::select! {
                push = listening.pushes.recv() => match push {
                    Some(push) if push.kind == PushKind::Disconnection => return,
                    Some(push) => self.hear(push),
                    None => return,
                },
                () = &mut silence => return,
                () = &mut moved => return,
                () = &mut switched => return,
                () = &mut given_up => return,
            }
        }
    }

    fn hear(&self, push: PushInfo) {
        let Some(wanted) = self.wanted.upgrade() else { return };
        let news = understand(push, &mut lock(&wanted));
        for heard in news {
            let _nobody_listens = self.heard.send(heard);
        }
    }

    fn beat(&self) -> Duration {
        let usual = self.patience.clamp(Duration::from_millis(500), Duration::from_secs(5));
        self.reach.config().health_check.unwrap_or(usual)
    }
}

/// What a push means to those who listen.
fn understand(push: PushInfo, wanted: &mut Wanted) -> Vec<Heard> {
    match (push.kind, <[Value; 2]>::try_from(push.data)) {
        (PushKind::Message, Ok([Value::BulkString(channel), Value::BulkString(payload)]))
            if wanted.channels.contains(&channel) =>
        {
            vec![Heard::Message { channel, payload }]
        }
        (PushKind::Invalidate, Err(data)) => {
            let keys = match data.into_iter().next() {
                Some(Value::Array(keys)) => keys
                    .into_iter()
                    .filter_map(|key| match key {
                        Value::BulkString(key) => wanted.watched.take(&key),
                        _ => None,
                    })
                    .collect(),
                // The whole database was emptied, or the server can remember no more keys.
                _ => std::mem::take(&mut wanted.watched),
            };
            keys.into_iter().map(Heard::KeyChanged).collect()
        }
        _ => Vec::new(),
    }
}

/// Ends when the server does not answer a ping in time.
async fn silence(mut connection: MultiplexedConnection, beat: Duration, patience: Duration) {
    loop {
        sleep(beat).await;
        let ping: Result<RedisResult<Value>, _> =
            timeout(patience, cmd("PING").query_async(&mut connection)).await;
        match ping {
            // A user who may not ping hears that: also an answer.
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.code().is_some() => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

fn lock(wanted: &Mutex<Wanted>) -> MutexGuard<'_, Wanted> {
    wanted.lock().unwrap_or_else(PoisonError::into_inner)
}
