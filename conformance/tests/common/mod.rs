//! Harnesses of the drivers that live in this workspace.

#![allow(dead_code)] // each test binary uses its own

use std::sync::Arc;

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
