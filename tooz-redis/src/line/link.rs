//! The connection of one runtime.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, join_all};
use redis::aio::MultiplexedConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, Pipeline, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tooz_core::{Error, ErrorKind, Result};

use super::Call;
use super::cluster::{self, Nodes};
use super::reach::Reach;
use crate::config::Topology;
use crate::error::{is_turned_away, refused, silent, unanswered, unconnected};

/// The connection of one runtime, shared by everyone there: opened when needed, and again after it broke.
pub(crate) struct Link {
    reach: Arc<Reach>,
    state: Mutex<State>,
    /// How many connections to nodes of a cluster broke: the client crate opens them again by itself.
    breaks: Arc<AtomicU64>,
}

enum State {
    /// None is open.
    Down,
    /// One is being opened since then, by a task of its own.
    Opening(Shared<BoxFuture<'static, Result<Open>>>, Instant),
    /// One is open, or was when it was last used.
    Up(Open),
}

/// An open connection.
#[derive(Clone)]
pub(super) struct Open {
    wire: Wire,
    broken: Arc<AtomicBool>,
    epoch: u64,
}

#[derive(Clone)]
enum Wire {
    Server(MultiplexedConnection),
    Cluster(Nodes),
}

impl Link {
    /// Nothing opened yet.
    pub(super) fn new(reach: Arc<Reach>) -> Self {
        Self { reach, state: Mutex::new(State::Down), breaks: Arc::default() }
    }

    /// Runs one script.
    pub(super) async fn run(&self, call: &Call, deadline: Instant) -> Result<Value> {
        let known = self.ask(&call.by_hash(), first_key(call), deadline).await;
        match known {
            Err(error) if is_unknown_script(&error) => {
                self.ask(&call.by_source(), first_key(call), deadline).await.map_err(Failure::told)
            }
            answer => answer.map_err(Failure::told),
        }
    }

    /// Runs a script that finds nothing left to do (`is_idle`) when it is run again. The client crate sends again what was
    /// on a connection to a node of a cluster that broke: whether it was run before is then unknown.
    pub(super) async fn run_once(
        &self,
        call: &Call,
        is_idle: impl Fn(&Value) -> bool,
        deadline: Instant,
    ) -> Result<Value> {
        let before = self.breaks.load(Ordering::Acquire);
        let answer = self.run(call, deadline).await?;
        if is_idle(&answer) && self.breaks.load(Ordering::Acquire) != before {
            let text = "a connection broke, and what it carried may have been sent twice";
            return Err(Error::new(ErrorKind::Unavailable, text).effect_unknown());
        }
        Ok(answer)
    }

    /// Runs scripts in one flush, on a cluster a few at a time.
    pub(super) async fn run_all(&self, calls: &[Call], deadline: Instant) -> Result<Vec<Result<Value>>> {
        if calls.is_empty() {
            return Ok(Vec::new());
        }
        if matches!(self.reach.config().topology, Topology::Cluster(_)) {
            // A few at a time, and those for one node are written together.
            return Ok(join_all(calls.iter().map(|call| self.run(call, deadline))).await);
        }
        let mut pipeline = Pipeline::with_capacity(calls.len());
        for call in calls {
            pipeline.add_command(call.by_hash());
        }
        let answers = self.ask_all(&pipeline, calls.len(), None, deadline).await?;
        let healed = answers.into_iter().zip(calls).map(|(answer, call)| async move {
            match answer {
                Value::ServerError(reply) if reply.code() == "NOSCRIPT" => self.run(call, deadline).await,
                answer if turns_away(&answer) => self.run(call, deadline).await,
                Value::ServerError(reply) => Err(refused(&reply)),
                value => Ok(value),
            }
        });
        Ok(join_all(healed).await)
    }

    /// Sends a plain command.
    pub(crate) async fn command(
        &self,
        command: &Cmd,
        key: Option<&[u8]>,
        deadline: Instant,
    ) -> Result<Value> {
        self.ask(command, key, deadline).await.map_err(Failure::told)
    }

    /// Sends one command, to another primary if the first one turns it away.
    async fn ask(&self, command: &Cmd, key: Option<&[u8]>, deadline: Instant) -> Result<Value, Failure> {
        let mut open = self.open(deadline).await.map_err(Failure::Unsent)?;
        let answer = self.send(&mut open, command, key, deadline).await;
        match answer {
            Err(Failure::Said(error))
                if is_turned_away(error.code(), error.detail()) && self.renounce(&open) =>
            {
                let mut open = self.open(deadline).await.map_err(Failure::Unsent)?;
                self.send(&mut open, command, key, deadline).await
            }
            answer => answer,
        }
    }

    /// Sends commands over one wire, on a cluster to the node that has `key`.
    pub(super) async fn ask_all(
        &self,
        pipeline: &Pipeline,
        count: usize,
        key: Option<&[u8]>,
        deadline: Instant,
    ) -> Result<Vec<Value>> {
        let mut open = self.open(deadline).await?;
        let patience = deadline.saturating_duration_since(Instant::now());
        let sending = async {
            match &mut open.wire {
                Wire::Server(wire) => wire.send_packed_commands(pipeline, 0, count).await,
                Wire::Cluster(nodes) => nodes.pipeline(pipeline.clone(), count, route(key)).await,
            }
        };
        let answers = self.in_time(sending, deadline, patience).await;
        let answers = answers.inspect_err(|failure| open.judge(failure)).map_err(Failure::told)?;
        if answers.iter().any(turns_away) {
            self.renounce(&open);
        }
        Ok(answers)
    }

    async fn send(
        &self,
        open: &mut Open,
        command: &Cmd,
        key: Option<&[u8]>,
        deadline: Instant,
    ) -> Result<Value, Failure> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let sending = async {
            match &mut open.wire {
                Wire::Server(wire) => wire.send_packed_command(command).await?.extract_error(),
                Wire::Cluster(nodes) => nodes.command(command.clone(), route(key)).await?.extract_error(),
            }
        };
        let answer = self.in_time(sending, deadline, patience).await;
        answer.inspect_err(|failure| open.judge(failure))
    }

    async fn in_time<T>(
        &self,
        sending: impl Future<Output = RedisResult<T>>,
        deadline: Instant,
        patience: Duration,
    ) -> Result<T, Failure> {
        match timeout_at(deadline, sending).await {
            Ok(answer) => answer.map_err(Failure::Said),
            Err(_) => Err(Failure::Silent(patience)),
        }
    }

    /// The open connection, if need be a new one. Several callers at once open one together.
    pub(super) async fn open(&self, deadline: Instant) -> Result<Open> {
        let patience = deadline.saturating_duration_since(Instant::now());
        let opening = match &mut *self.state() {
            State::Up(open) if open.is_usable(&self.reach) => return Ok(open.clone()),
            // An attempt that everybody gave up waiting for is over by now, and its failure is old.
            State::Opening(opening, since) if since.elapsed() < self.reach.patience() => opening.clone(),
            state => {
                let dialling = tokio::spawn(dial(Arc::clone(&self.reach), Arc::clone(&self.breaks)));
                let ended = |e| Error::new(ErrorKind::Unavailable, "the runtime is ending").with_source(e);
                let opening = dialling.map(move |opened| opened.unwrap_or_else(|e| Err(ended(e))));
                let opening = opening.boxed().shared();
                *state = State::Opening(opening.clone(), Instant::now());
                opening
            }
        };
        let opened = timeout_at(deadline, opening.clone()).await;
        let opened = opened.unwrap_or_else(|_| Err(unconnected(&*self.reach, patience)));
        let mut state = self.state();
        if matches!(&*state, State::Opening(current, _) if current.ptr_eq(&opening)) {
            match &opened {
                Ok(open) => *state = State::Up(open.clone()),
                // Who gave up waiting leaves the attempt to the others.
                Err(_) if opening.peek().is_some() => *state = State::Down,
                Err(_) => {}
            }
        }
        opened
    }

    /// Uses this connection no more because its server is no primary; `false` where there is no other.
    fn renounce(&self, open: &Open) -> bool {
        let elsewhere = matches!(self.reach.config().topology, Topology::Sentinel { .. });
        if elsewhere {
            self.reach.renounce(open.epoch);
        }
        elsewhere
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Whether it neither broke nor leads to a former primary.
    fn is_usable(&self, reach: &Reach) -> bool {
        !self.broken.load(Ordering::Acquire) && self.epoch == reach.epoch()
    }

    /// After silence or a broken wire the next caller opens another.
    fn judge(&self, failure: &Failure) {
        let broken = match failure {
            Failure::Silent(_) => true,
            Failure::Said(error) => error.code().is_none() && error.is_unrecoverable_error(),
            Failure::Unsent(_) => false,
        };
        if broken {
            self.broken.store(true, Ordering::Release);
        }
    }
}

async fn dial(reach: Arc<Reach>, breaks: Arc<AtomicU64>) -> Result<Open> {
    let epoch = reach.epoch();
    let broken = Arc::new(AtomicBool::new(false));
    let wire = if let Topology::Cluster(_) = reach.config().topology {
        Wire::Cluster(cluster::connect_to_all(&reach, breaks).await?)
    } else {
        let (news, mut pushes) = mpsc::unbounded_channel::<PushInfo>();
        let connection = reach.connect(news).await?;
        let mark = Arc::clone(&broken);
        // Ends with the connection: then nothing holds the other end of the channel.
        tokio::spawn(async move {
            while let Some(push) = pushes.recv().await {
                if push.kind == PushKind::Disconnection {
                    mark.store(true, Ordering::Release);
                }
            }
        });
        Wire::Server(connection)
    };
    Ok(Open { wire, broken, epoch })
}

/// How a request failed.
enum Failure {
    /// It was not sent.
    Unsent(Error),
    /// The server or the client crate said so.
    Said(redis::RedisError),
    /// Nobody said anything.
    Silent(Duration),
}

impl Failure {
    fn told(self) -> Error {
        match self {
            Self::Unsent(error) => error,
            Self::Said(error) => unanswered(error),
            Self::Silent(patience) => silent(patience),
        }
    }
}

fn route(key: Option<&[u8]>) -> SingleNodeRoutingInfo {
    key.map_or(SingleNodeRoutingInfo::Random, |key| {
        SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master))
    })
}

fn first_key(call: &Call) -> Option<&[u8]> {
    call.keys.first().map(Vec::as_slice)
}

fn is_unknown_script(failure: &Failure) -> bool {
    matches!(failure, Failure::Said(error) if error.code() == Some("NOSCRIPT"))
}

/// Whether the answer is that another is primary.
fn turns_away(answer: &Value) -> bool {
    let Value::ServerError(reply) = answer else { return false };
    is_turned_away(Some(reply.code()), reply.details())
}
