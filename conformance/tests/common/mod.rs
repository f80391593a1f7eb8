//! Harnesses of the drivers that live in this workspace.

#![allow(dead_code)] // each test binary uses its own
#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use conformance::{Harness, async_trait, unique};
use tooz_core::backend::Driver;
use tooz_core::memory::{self, Store};
use tooz_core::{Clock, Name, SessionId, TokioClock};

/// A memory store of its own, whose time is tokio's.
pub(crate) struct Memory {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        // The origin is taken before the runtime of the case starts, which is as good as any.
        Self { store: Store::named(&unique("suite")), clock: Arc::new(TokioClock::new()) }
    }
}

#[async_trait]
impl Harness for Memory {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::new(memory::driver())
    }

    fn url(&self) -> String {
        self.store.url()
    }

    async fn expire(&self, member: &Name, _session: SessionId) {
        self.store.expire(member.as_str());
    }

    async fn leftovers(&self) -> Vec<String> {
        self.store.leftovers()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    fn paused(&self) -> bool {
        true
    }
}

/// A directory of its own.
pub(crate) struct Directory {
    folder: tempfile::TempDir,
    crashed: AtomicBool,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), crashed: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Harness for Directory {
    fn driver(&self) -> Arc<dyn Driver> {
        Arc::new(tooz_file::FileDriver::new())
    }

    fn url(&self) -> String {
        format!("file://{}/root?timeout=3", self.folder.path().display())
    }

    async fn expire(&self, member: &Name, _session: SessionId) {
        panic!("a session of \"{member}\" lives as long as its process: nothing can expire it");
    }

    /// The kernel closed the files of the dead; what they are called may stay until somebody cleans up.
    async fn crash(&self, _member: &Name, _session: SessionId, _kernel: bool) {
        self.crashed.store(true, Ordering::Relaxed);
    }

    async fn leftovers(&self) -> Vec<String> {
        conformance::drops::files_left(&self.folder.path().join("root"), self.crashed.load(Ordering::Relaxed))
    }
}
