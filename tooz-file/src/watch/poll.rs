//! Nobody tells: everyone who listens is rung again and again, and looks.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::interest::Interest;
use super::table::{Hearing, Table};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Poll {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    table: Mutex<Table>,
    rouser: Condvar,
    ended: AtomicBool,
}

impl Poll {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let ear = Arc::clone(&shared);
        std::thread::Builder::new().name("tooz-file-poll".into()).spawn(move || ear.tick())?;
        Ok(Self { shared })
    }

    pub(super) fn listen(&self, path: &Path, interest: Interest) -> io::Result<(i32, u64, Hearing)> {
        // What is missing is refused, as the kernel does.
        std::fs::symlink_metadata(path)?;
        let (id, hearing) = self.table().add(0, interest);
        self.rouse();
        Ok((0, id, hearing))
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn rouse(&self) {
        self.shared.rouser.notify_one();
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        let table = self.table();
        self.shared.ended.store(true, Ordering::Release);
        drop(table);
        self.rouse();
    }
}

impl Shared {
    /// The thread: sleeps for a pause while somebody listens, else until somebody does.
    fn tick(&self) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tick = Instant::now() + PAUSE;
        while !self.ended.load(Ordering::Acquire) {
            let next = [(!table.is_empty()).then_some(tick), table.next_alarm()].into_iter().flatten().min();
            table = match next.map(|at| at.saturating_duration_since(Instant::now())) {
                None => self.rouser.wait(table).unwrap_or_else(PoisonError::into_inner),
                Some(span) => self.rouser.wait_timeout(table, span).unwrap_or_else(PoisonError::into_inner).0,
            };
            let now = Instant::now();
            let mut bells = table.due(now);
            if now >= tick {
                tick = now + PAUSE;
                bells.extend(table.everyone());
            }
            // Outside the lock: a waker may drop a watch.
            drop(table);
            for bell in bells {
                bell.send_replace(());
            }
            table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        }
    }
}
