//! Opening sessions, and the session as core sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tooz_core::backend::{
    Backend, Driver, Enrolment, Fairness, Fencing, GroupProfile, GroupSteps, Liveness, LockProfile,
    LockSteps, Opened, Opening, OptionSpec, Profile, Proof, Renewal, TopicProfile, TopicSteps, WakeUp,
};
use tooz_core::{Cause, Claim, Endpoint, Result};

use crate::config::{Config, OPTIONS};
use crate::groups::Groups;
use crate::keys::check_namespace;
use crate::line::Line;
use crate::locks::Locks;
use crate::server::{Mode, Server};
use crate::session::Session;
use crate::topics::Topics;

/// Coordination over Redis: `redis://host:port` and its kin.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RedisDriver;

impl RedisDriver {
    /// The driver.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Driver for RedisDriver {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["redis", "rediss", "redis+unix", "redis+sentinel", "redis+cluster"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn profile(&self) -> Profile {
        profile(Duration::from_secs(30), None, 0)
    }

    async fn open(&self, endpoint: &Endpoint, opening: &Opening) -> Result<Opened> {
        let config = Config::read(endpoint)?;
        check_namespace(&config.namespace)?;
        let line = Line::open(config, opening).await?;
        let lease = opening.ttl.min(opening.membership_ttl);
        let profile = profile(lease, Some(line.server()), line.config().wait_replicas);
        let (session, sent) = Session::open(line, opening).await?;
        let proof = Proof::Lease { sent, ttl: session.lease() };
        let backend = RedisBackend {
            profile,
            locks: Locks::new(Arc::clone(&session)),
            groups: Groups::new(Arc::clone(&session)),
            topics: Topics::new(Arc::clone(&session)),
            session,
        };
        Ok(Opened { backend: Arc::new(backend), proof })
    }
}

/// A replica that takes over may lack the last grants, and its clock may be behind.
fn profile(lease: Duration, server: Option<&Server>, wait_replicas: u32) -> Profile {
    let replicated = server.is_some_and(|server| server.mode != Mode::Standalone || server.replicas > 0);
    let mut warnings = server.map(|server| server.warnings.clone()).unwrap_or_default();
    if wait_replicas > 0 {
        warnings.push(format!(
            "wait_replicas={wait_replicas}: every grant takes one more round trip and a replica's answer"
        ));
    }
    Profile {
        store: "redis",
        server: server.map(ToString::to_string),
        liveness: Liveness::Lease(lease),
        locks: Some(LockProfile {
            fencing: if replicated { Fencing::ClockBound } else { Fencing::Monotonic },
            fairness: Fairness::Fifo,
            shared: true,
            wake_up: WakeUp::Push,
            notice: Duration::from_millis(50),
        }),
        groups: Some(GroupProfile { wake_up: WakeUp::Push }),
        topics: server.is_none_or(Server::trims_by_age).then_some(TopicProfile {
            wake_up: WakeUp::Push,
            largest_body: TopicProfile::FULL_BODY,
            advice: None,
        }),
        warnings,
    }
}

/// One open session. Dropping it closes its connections, and the store frees the rest in its time.
struct RedisBackend {
    profile: Profile,
    locks: Locks,
    groups: Groups,
    topics: Topics,
    session: Arc<Session>,
}

#[async_trait]
impl Backend for RedisBackend {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal> {
        self.session.renew(claims, memberships).await
    }

    async fn lost(&self) -> Cause {
        self.session.ear.end_of_session().await
    }

    async fn close(&self) -> Result<()> {
        self.session.close().await
    }

    fn locks(&self) -> Option<&dyn LockSteps> {
        Some(&self.locks)
    }

    fn groups(&self) -> Option<&dyn GroupSteps> {
        Some(&self.groups)
    }

    fn topics(&self) -> Option<&dyn TopicSteps> {
        self.profile.topics.as_ref().map(|_| &self.topics as &dyn TopicSteps)
    }
}
