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
use crate::locks::Locks;
use crate::session::Session;
use crate::topics::Topics;

/// Coordination over a directory of this machine: `file:///absolute/path`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FileDriver;

impl FileDriver {
    /// The driver.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Driver for FileDriver {
    fn name(&self) -> &'static str {
        "file"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["file"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn profile(&self) -> Profile {
        profile(cfg!(any(target_os = "linux", target_os = "android")), None)
    }

    async fn open(&self, endpoint: &Endpoint, opening: &Opening) -> Result<Opened> {
        let config = Config::read(endpoint)?;
        let session = Arc::new(Session::open(&config, opening)?);
        let backend = FileBackend {
            profile: profile(session.ear().is_told(), session.root.network),
            locks: Locks::new(Arc::clone(&session)),
            groups: Groups::new(Arc::clone(&session)),
            topics: Topics::new(Arc::clone(&session), config.fsync),
            session,
        };
        Ok(Opened { backend: Arc::new(backend), proof: Proof::Kernel })
    }
}

fn profile(told: bool, network: Option<&str>) -> Profile {
    let wake_up = if told { WakeUp::Push } else { WakeUp::Poll };
    let warning = network.map(|kind| {
        format!(
            "the root is on a network file system ({kind}): locks may not hold between hosts, news are polled"
        )
    });
    Profile {
        store: "file",
        server: None,
        liveness: Liveness::Kernel,
        locks: Some(LockProfile {
            fencing: Fencing::Monotonic,
            fairness: Fairness::Fifo,
            shared: true,
            wake_up,
            notice: Duration::from_millis(if told { 50 } else { 250 }),
        }),
        groups: Some(GroupProfile { wake_up }),
        topics: Some(TopicProfile { wake_up, largest_body: TopicProfile::FULL_BODY, advice: None }),
        warnings: warning.into_iter().collect(),
    }
}

/// One open session. Dropping it closes every file, and the kernel frees the rest.
struct FileBackend {
    profile: Profile,
    locks: Locks,
    groups: Groups,
    topics: Topics,
    session: Arc<Session>,
}

#[async_trait]
impl Backend for FileBackend {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal> {
        self.session.check()?;
        let mut expelled = Vec::new();
        for enrolment in memberships {
            let folder = self.groups.find(&enrolment.group)?;
            let stands = folder.map(|folder| self.groups.stands(&folder, enrolment)).transpose()?;
            if stands != Some(true) {
                expelled.push(enrolment.group.clone());
            }
        }
        let gone = |claim: &&Claim| self.locks.slots.find(claim.id).is_none();
        let ousted = claims.iter().filter(gone).map(|claim| claim.id).collect();
        Ok(Renewal { proof: Proof::Kernel, ousted, stray: Vec::new(), expelled })
    }

    async fn lost(&self) -> Cause {
        self.session.ended().await
    }

    async fn close(&self) -> Result<()> {
        // First no step may begin, then everything goes that earlier ones left.
        self.session.end(Cause::Closed);
        self.locks.close();
        self.groups.close().await;
        self.session.clear()
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
