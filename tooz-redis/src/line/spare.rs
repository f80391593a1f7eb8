//! Connections that may be blocked.

use std::sync::{Arc, Mutex, PoisonError};

use redis::{Cmd, Pipeline, Value};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tooz_core::{Error, ErrorKind, Result};

use super::Call;
use super::link::Link;
use super::reach::Reach;
use crate::error::refused;

/// So many calls wait for replicas at a time, each on a connection of its own; others wait for room.
const ROOM: usize = 16;

/// The connections of one runtime that wait for replicas, each used by one call at a time.
pub(crate) struct Spare {
    reach: Arc<Reach>,
    room: Semaphore,
    /// Those that nobody uses: with those in use never more than there is room for.
    idle: Mutex<Vec<Link>>,
}

impl Spare {
    /// Nothing opened yet.
    pub(super) fn new(reach: Arc<Reach>) -> Self {
        Self { reach, room: Semaphore::new(ROOM), idle: Mutex::new(Vec::new()) }
    }

    /// Runs a script and waits for replicas, both over one wire: the wait covers that wire's writes only. A task that ends
    /// with its caller: one who polls this once and then something else keeps the room from nobody.
    pub(super) async fn confirm(
        self: &Arc<Self>,
        call: Call,
        replicas: u32,
        deadline: Instant,
    ) -> Result<(Value, u32)> {
        let spare = Arc::clone(self);
        let mut task = JoinSet::new();
        task.spawn(async move { spare.confirm_in_turn(&call, replicas, deadline).await });
        match task.join_next().await {
            Some(Ok(answer)) => answer,
            // It may have been sent before it was stopped.
            _ => Err(Error::new(ErrorKind::Unavailable, "the runtime is ending").effect_unknown()),
        }
    }

    async fn confirm_in_turn(&self, call: &Call, replicas: u32, deadline: Instant) -> Result<(Value, u32)> {
        let Ok(_room) = timeout_at(deadline, self.room.acquire()).await else {
            let text = format!("{ROOM} others waited for replicas all the time that there was");
            return Err(Error::new(ErrorKind::Unavailable, text));
        };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let link = idle.unwrap_or_else(|| Link::new(Arc::clone(&self.reach)));
        let answer = match ask(&link, call, call.by_hash(), replicas, deadline).await? {
            (Value::ServerError(reply), _) if reply.code() == "NOSCRIPT" => {
                ask(&link, call, call.by_source(), replicas, deadline).await?
            }
            answer => answer,
        };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
        match answer {
            (Value::ServerError(reply), _) => Err(refused(&reply)),
            (_, Value::ServerError(reply)) => Err(refused(&reply).effect_unknown()),
            (value, Value::Int(count)) => Ok((value, u32::try_from(count).unwrap_or(0))),
            _ => {
                let text = "redis answered WAIT without a number";
                Err(Error::new(ErrorKind::Corrupt, text).effect_unknown())
            }
        }
    }
}

async fn ask(
    link: &Link,
    call: &Call,
    script: Cmd,
    replicas: u32,
    deadline: Instant,
) -> Result<(Value, Value)> {
    // The answer must come before the deadline, so the server is given a little less.
    let left = deadline.saturating_duration_since(Instant::now());
    let left_ms = u64::try_from((left * 9 / 10).as_millis()).unwrap_or(u64::MAX).max(1);
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.add_command(script);
    pipeline.cmd("WAIT").arg(replicas).arg(left_ms);
    let answers = link.ask_all(&pipeline, 2, call.keys.first().map(Vec::as_slice), deadline).await?;
    let both = <[Value; 2]>::try_from(answers).map_err(|_| {
        Error::new(ErrorKind::Corrupt, "redis gave another number of answers than was asked for")
            .effect_unknown()
    })?;
    Ok(both.into())
}
