//! Coordinators on the case's store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tooz_core::backend::{Driver, Opened, Opening, OptionSpec, Profile};
use tooz_core::{Builder, Clock, Coordinator, Endpoint, Engine, Moment, Registry, Result};

use super::{World, fail, locked, name};

impl World {
    /// Connects `member`; closed at the end of the case.
    pub async fn connect(&self, member: &str) -> Coordinator {
        let coord = self.connect_loose(member).await;
        locked(&self.coordinators).push(coord.clone());
        coord
    }

    /// Connects `member` for a session that lives no longer than this between its beats, where the case
    /// waits for one.
    pub async fn connect_for(&self, member: &str, ttl: Duration) -> Coordinator {
        let builder = self.builder(member).ttl(ttl.min(self.harness.ttl()));
        let coord = super::within("connect", builder.connect()).await.unwrap_or_else(fail("connect"));
        locked(&self.coordinators).push(coord.clone());
        coord
    }

    /// Connects `member` without keeping a handle: for cases about the last handle being dropped.
    pub async fn connect_loose(&self, member: &str) -> Coordinator {
        let builder = self.builder(member);
        super::within("connect", builder.connect()).await.unwrap_or_else(fail("connect"))
    }

    /// How `member` would be connected.
    pub fn builder(&self, member: &str) -> Builder {
        self.builder_at(self.harness.url(), member)
    }

    /// The same with another URL.
    pub fn builder_at(&self, url: impl Into<String>, member: &str) -> Builder {
        let (opened, traffic, seed) = (Arc::clone(&self.opened), Arc::clone(&self.traffic), self.seed);
        let id = name(member);
        let engine = if self.harness.paused() { Engine::Current } else { Engine::Dedicated };
        Registry::new()
            .with(SharedDriver(Arc::clone(&self.driver)))
            .builder(url)
            .member(member)
            .ttl(self.harness.ttl())
            .engine(engine)
            .clock(SharedClock(Arc::clone(&self.clock)))
            .wrap(Arc::new(move |inner| opened.wrap(inner, &id, seed, &traffic)))
    }
}

/// A driver that several own.
struct SharedDriver(Arc<dyn Driver>);

#[async_trait]
impl Driver for SharedDriver {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.0.schemes()
    }

    fn options(&self) -> &'static [OptionSpec] {
        self.0.options()
    }

    fn profile(&self) -> Profile {
        self.0.profile()
    }

    async fn open(&self, endpoint: &Endpoint, opening: &Opening) -> Result<Opened> {
        self.0.open(endpoint, opening).await
    }
}

/// A clock that several own.
#[derive(Debug)]
struct SharedClock(Arc<dyn Clock>);

impl Clock for SharedClock {
    fn now(&self) -> Moment {
        self.0.now()
    }
}
