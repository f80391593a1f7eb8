//! Where sessions live: the life line, one thread per process.
//!
//! Heartbeats, the janitor and the drivers' ears run on a thread of their own, so that a blocked, slow or
//! finished user runtime cannot let a lease lapse, `Drop` works anywhere, and any executor or plain
//! blocking code can use the library. A user's own steps run on the user's runtime where there is one
//! ([`Lane`]): a hop to another thread would cost more than the step itself.

use std::process;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

use crate::error::{Error, ErrorKind, Result};
use crate::orders::ordered;

/// Which runtime keeps sessions alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The process's own thread for all coordinators: started with the first, ended with the last.
    #[default]
    Dedicated,
    /// The runtime that `connect` is called on. For tests with paused time; a runtime that is blocked or
    /// ended lets leases lapse.
    Current,
}

/// Where a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// On the caller's tokio runtime if there is one, else on the engine.
    Caller,
    /// On the engine: for background work and for callers that block their thread.
    Engine,
}

/// A running engine, kept alive by whoever holds it.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    handle: Handle,
    process: u32,
    _lifeline: Option<Arc<Lifeline>>,
}

impl Running {
    pub(crate) fn start(engine: Engine) -> Result<Self> {
        match engine {
            Engine::Dedicated => {
                let lifeline = Lifeline::shared()?;
                Ok(Self {
                    handle: lifeline.handle.clone(),
                    process: process::id(),
                    _lifeline: Some(lifeline),
                })
            }
            Engine::Current => {
                let handle = Handle::try_current().map_err(|e| {
                    let text = "Engine::Current needs a tokio runtime around connect()";
                    Error::new(ErrorKind::InvalidOption, text).with_source(e)
                })?;
                Ok(Self { handle, process: process::id(), _lifeline: None })
            }
        }
    }

    /// The engine's own runtime.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Starts a task on the engine.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(ordered(task))
    }

    /// The process it runs in: a fork has its memory, but not its threads.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// Whether this is a fork of that process.
    pub(crate) fn is_foreign_process(&self) -> bool {
        self.process != process::id()
    }

    /// The runtime for a step of this lane.
    pub(crate) fn lane(&self, lane: Lane) -> Handle {
        match lane {
            Lane::Caller => Handle::try_current().unwrap_or_else(|_| self.handle.clone()),
            Lane::Engine => self.handle.clone(),
        }
    }

    /// A timer of the engine's runtime: works under any executor.
    pub(crate) fn sleep(&self, span: std::time::Duration) -> Sleep {
        let _inside = self.handle.enter();
        let now = Instant::now();
        // Tokio's timers panic far beyond what a clock can hold.
        let far = std::time::Duration::from_secs(86400 * 365 * 30);
        tokio::time::sleep_until(now + span.min(far))
    }
}

/// The thread, found again as long as somebody holds it.
#[derive(Debug)]
struct Lifeline {
    handle: Handle,
    process: u32,
    /// Dropping it ends the thread; never waits for it.
    _stop: oneshot::Sender<()>,
}

static LIFELINE: Mutex<Weak<Lifeline>> = Mutex::new(Weak::new());

impl Lifeline {
    fn shared() -> Result<Arc<Self>> {
        let mut slot = LIFELINE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = slot.upgrade() {
            if running.process == process::id() {
                return Ok(running);
            }
            // A fork inherits the memory of the thread, not the thread. Its runtime must never be dropped
            // here: that would touch descriptors shared with the parent.
            std::mem::forget(running);
        }
        let started = Arc::new(Self::start()?);
        *slot = Arc::downgrade(&started);
        Ok(started)
    }

    fn start() -> Result<Self> {
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Unavailable, format!("start the engine thread: {e}")).with_source(e)
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, start) = std::sync::mpsc::channel();
        // The runtime is made where it runs: without the thread there is none that would be dropped here, inside of
        // whatever runtime this is called in.
        thread::Builder::new()
            .name("tooz".into())
            .spawn(move || {
                let runtime = match Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(failure) => {
                        let _ = started.send(Err(failure)); // whoever started it waits for this
                        return;
                    }
                };
                let _ = started.send(Ok(runtime.handle().clone()));
                // Ends with an error by design: the sender is only ever dropped.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_background();
            })
            .map_err(failed)?;
        let handle = start.recv().unwrap_or_else(|_| Err(std::io::Error::other("it ended at once")));
        Ok(Self { handle: handle.map_err(failed)?, process: process::id(), _stop: stop })
    }
}
