//! Opening sessions, and the session as core sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::Txn;
use tooz_core::backend::{
    Backend, Driver, Enrolment, Fairness, Fencing, GroupProfile, GroupSteps, Liveness, LockProfile,
    LockSteps, Opened, Opening, OptionSpec, Profile, Proof, Renewal, TopicProfile, TopicSteps, WakeUp,
};
use tooz_core::{Cause, Claim, Endpoint, Error, ErrorKind, Result};

use crate::config::{Config, OPTIONS, SCHEMES};
use crate::error::deposed;
use crate::groups::Groups;
use crate::line::Line;
use crate::locks::Locks;
use crate::session::{Session, TERMS, lease_ids, revoke};
use crate::topics::Topics;
use crate::under::Under;
use crate::{beat, keys, readers, stray, txn};

/// The format of what stands under our root.
const FORMAT: &str = "1";

/// Coordination over etcd: `etcd://host:2379,other:2379`.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct EtcdDriver;

impl EtcdDriver {
    /// The driver.
    pub fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Driver for EtcdDriver {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn schemes(&self) -> &'static [&'static str] {
        SCHEMES
    }

    fn options(&self) -> &'static [OptionSpec] {
        OPTIONS
    }

    fn profile(&self) -> Profile {
        profile(Duration::from_secs(30), None)
    }

    async fn open(&self, endpoint: &Endpoint, opening: &Opening) -> Result<Opened> {
        let line = Line::new(Config::read(endpoint)?, opening.timeout);
        // A server that is dead, frozen or without a leader is no reason to fail while there are others, and an
        // election none to fail before it has ended.
        let (mut tried, mut left, mut waited) = (false, line.servers(), false);
        let (session, proof, server) = loop {
            match start(&line, opening, std::mem::replace(&mut tried, true)).await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    left = left.saturating_sub(1);
                    if left == 0 {
                        if std::mem::replace(&mut waited, true) || !line.elected().await {
                            return Err(error);
                        }
                        left = line.servers();
                    }
                }
                started => break started?,
            }
        };
        let backend = EtcdBackend {
            profile: profile(session.ttl(), server),
            locks: Locks::new(Arc::clone(&session)),
            groups: Groups::new(Arc::clone(&session)),
            topics: Topics::new(Arc::clone(&session)),
            session,
        };
        Ok(Opened { backend: Arc::new(backend), proof })
    }
}

/// One attempt at opening a session.
async fn start(
    line: &Arc<Line>,
    opening: &Opening,
    again: bool,
) -> Result<(Arc<Session>, Proof, Option<String>)> {
    check_format(line).await?;
    if again {
        // The lease of an attempt that went unanswered.
        for lease in lease_ids(opening.session) {
            revoke(line, lease).await?;
        }
    }
    let (session, proof) = Session::open(Arc::clone(line), opening).await?;
    let server = line.version().await;
    Ok((session, proof, server))
}

/// Writes our format version where there is none, refuses one that is not ours.
async fn check_format(line: &Line) -> Result<()> {
    let first = Txn::new()
        .when([txn::absent(keys::FORMAT)])
        .and_then([etcd_client::TxnOp::put(keys::FORMAT, FORMAT, None)])
        .or_else([txn::get(keys::FORMAT)]);
    let looked = line.txn(Txn::new().and_then([txn::get(keys::FORMAT)])).await?;
    let mut found = txn::first(looked.op_responses().first());
    if found.is_none() {
        found = txn::first(line.txn(first).await?.op_responses().first());
    }
    match found {
        Some(seen) if seen.value != FORMAT.as_bytes() => {
            let version = String::from_utf8_lossy(&seen.value).escape_debug().to_string();
            let text = format!(
                "the store holds format {version} of tooz for Rust, this library reads {FORMAT}: update it"
            );
            Err(Error::new(ErrorKind::Unsupported, text))
        }
        _ => Ok(()),
    }
}

fn profile(ttl: Duration, server: Option<String>) -> Profile {
    let old = server.as_deref().filter(|version| is_flawed(version)).map(|version| {
        format!("etcd {version} has known faults in leases and watches: use 3.4.38, 3.5.23, 3.6.5 or newer")
    });
    Profile {
        store: "etcd",
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
            advice: None,
        }),
        warnings: old.into_iter().collect(),
    }
}

/// Whether a version is older than the repairs of its line.
pub(crate) fn is_flawed(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    let version = (next(), next(), next());
    match version {
        (3, 4, patch) => patch < 38,
        (3, 5, patch) => patch < 23,
        (3, 6, patch) => patch < 5,
        other => other < (3, 4, 0),
    }
}

/// One open session. Dropping it stops its ear; the server frees the rest when its time is up.
struct EtcdBackend {
    profile: Profile,
    locks: Locks,
    groups: Groups,
    topics: Topics,
    session: Arc<Session>,
}

#[async_trait]
impl Backend for EtcdBackend {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn renew(&self, claims: &[Claim], memberships: &[Enrolment]) -> Result<Renewal> {
        for _ in 0..TERMS {
            let looks = Under::look(&self.session, !memberships.is_empty());
            let (renewed, under) = tokio::join!(self.session.renew(), looks);
            let renewed = renewed?;
            // Who answered may have been deposed while it was stopped. If a majority answers in the same term what is asked
            // now, it was the leader.
            let hear = async {
                // Looking at claims does the same.
                if claims.is_empty() { self.session.hear_a_majority().await } else { Ok(()) }
            };
            let (ousted, expelled, ()) = tokio::try_join!(
                beat::ousted(&self.session, claims, &under),
                self.groups.no_more(memberships, &under),
                hear
            )?;
            if self.session.term() == renewed.term {
                let proof = self.session.prove(renewed.sent);
                let stray = stray::strays(&self.session, claims, &under);
                return Ok(Renewal { proof, ousted, stray, expelled });
            }
        }
        Err(deposed())
    }

    async fn lost(&self) -> Cause {
        self.session.ended().await
    }

    async fn close(&self) -> Result<()> {
        // First no step may begin, then everything goes that earlier ones left.
        self.session.end(Cause::Closed);
        let readers = readers::leave(&self.session).await;
        self.session.revoke().await?;
        if let Err(error) = readers {
            // All that stood under the leases is given back, and the session has ended.
            tracing::debug!(%error, "what readers share ends by itself, with its own lease");
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_the_repairs_are_warned_of() {
        for old in ["3.3.27", "3.4.23", "3.5.9", "3.6.0", "3.5.22"] {
            assert!(is_flawed(old), "{old}");
        }
        for good in ["3.4.38", "3.5.23", "3.6.5", "3.7.0-alpha.0", "4.0.0"] {
            assert!(!is_flawed(good), "{good}");
        }
    }
}
