//! Opening sessions, and the session as core sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tooz_core::backend::{
    Backend, Driver, Enrolment, Fairness, Fencing, GroupProfile, GroupSteps, Liveness, LockProfile,
    LockSteps, Opened, Opening, OptionSpec, Profile, Renewal, TopicProfile, TopicSteps, WakeUp,
};
use tooz_core::{Cause, Claim, Endpoint, Result};

use crate::config::{Config, OPTIONS};
use crate::groups::Groups;
use crate::locks::Locks;
use crate::session::Session;
use crate::topics::Topics;

/// The usual time to live, where nothing is known of the server yet.
const USUAL_TTL: Duration = Duration::from_secs(30);

/// Coordination over ZooKeeper: `zookeeper://host:2181`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ZookeeperDriver {
    #[cfg(feature = "testing")]
    opened: crate::testing::Opened,
    #[cfg(feature = "testing")]
    credulous: bool,
}

impl ZookeeperDriver {
    /// The driver.
    pub fn new() -> Self {
        Self::default()
    }

    /// The driver with a mistake: its sessions take a read's answer for a proof of life. For tests that must fail.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn credulous() -> Self {
        Self { credulous: true, ..Self::default() }
    }

    /// Ends a session in the store while its owner lives on. For tests of drivers.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub async fn expire(&self, session: tooz_core::SessionId) {
        self.opened.expire(session).await;
    }
}

#[async_trait]
impl Driver for ZookeeperDriver {
    fn name(&self) -> &'static str {
        "zookeeper"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["zookeeper", "kazoo"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn profile(&self) -> Profile {
        profile(USUAL_TTL, None, Vec::new())
    }

    async fn open(&self, endpoint: &Endpoint, opening: &Opening) -> Result<Opened> {
        let config = Config::read(endpoint)?;
        #[cfg_attr(not(feature = "testing"), allow(unused_mut, unused_variables))]
        let (mut session, info) = Session::open(&config, opening).await?;
        #[cfg(feature = "testing")]
        {
            session.credulous = self.credulous;
            self.opened.note(opening.session, &config, info);
        }
        let proof = session.proof();
        let session = Arc::new(session);
        let backend = ZookeeperBackend {
            profile: profile(session.ttl, session.about.clone(), session.warnings.clone()),
            locks: Locks::new(Arc::clone(&session)),
            groups: Groups::new(Arc::clone(&session)),
            topics: Topics::new(Arc::clone(&session)),
            session,
        };
        Ok(Opened { backend: Arc::new(backend), proof })
    }
}

fn profile(ttl: Duration, server: Option<String>, warnings: Vec<String>) -> Profile {
    Profile {
        store: "zookeeper",
        server,
        liveness: Liveness::Lease(ttl),
        locks: Some(LockProfile {
            fencing: Fencing::Monotonic,
            fairness: Fairness::Fifo,
            shared: true,
            wake_up: WakeUp::Push,
            notice: Duration::from_millis(250),
        }),
        groups: Some(GroupProfile { wake_up: WakeUp::Push }),
        topics: Some(TopicProfile {
            wake_up: WakeUp::Push,
            largest_body: TopicProfile::FULL_BODY,
            advice: Some(crate::topics::ADVICE),
        }),
        warnings,
    }
}

/// One open session. Dropping it closes the connection and with it the session.
struct ZookeeperBackend {
    profile: Profile,
    locks: Locks,
    groups: Groups,
    topics: Topics,
    session: Arc<Session>,
}

#[async_trait]
impl Backend for ZookeeperBackend {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal> {
        let renewal = self.session.step("renew", self.session.renew(claims, memberships)).await?;
        // Whoever waits behind them need not rely on who waits with them.
        renewal.ousted.iter().for_each(|claim| self.locks.traces.ring(*claim));
        // Housekeeping: that it failed is no news about the session.
        let _ = self.session.step("renew", self.locks.sweep_voids()).await;
        Ok(renewal)
    }

    async fn lost(&self) -> Cause {
        self.session.lost().await
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
        Some(&self.topics)
    }
}
