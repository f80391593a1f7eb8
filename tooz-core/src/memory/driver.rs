//! Opening sessions with memory stores.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::backend::MemoryBackend;
use super::ear::Ear;
use super::shared::Shared;
use crate::backend::{
    Driver, Fairness, Fencing, GroupProfile, Liveness, LockProfile, Opened, Opening, OptionSpec, Profile,
    TopicProfile, WakeUp,
};
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind, Result};

/// The driver for `memory://name`.
///
/// ```
/// use tooz_core::backend::Driver;
///
/// assert_eq!(tooz_core::memory::driver().schemes(), ["memory"]);
/// ```
pub fn driver() -> impl Driver {
    MemoryDriver
}

#[derive(Clone, Copy, Debug)]
struct MemoryDriver;

const NAME: &str = "memory";

#[async_trait]
impl Driver for MemoryDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn schemes(&self) -> &'static [&'static str] {
        &[NAME]
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn profile(&self) -> Profile {
        profile(Duration::from_secs(30))
    }

    async fn open(&self, endpoint: &Endpoint, opening: &Opening) -> Result<Opened> {
        endpoint.check_options(NAME, self.options())?;
        let name = store_name(endpoint)?;
        check_lease(opening)?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|e| {
            Error::new(ErrorKind::Internal, "a memory session was opened outside a tokio runtime")
                .with_source(e)
        })?;
        let shared = Shared::named(name);
        if shared.is_cut_off(&opening.member) {
            return Err(super::backend::unreachable(&shared));
        }
        shared.wind(&opening.clock);
        let sent = opening.clock.now();
        let proof = shared
            .step(|state, now| state.open_sent(now, sent, opening.session, &opening.member, opening.ttl));
        let ear = Ear::start(&runtime, &shared, opening.session);
        let backend = MemoryBackend::new(shared, opening, profile(opening.ttl), ear);
        Ok(Opened { backend: Arc::new(backend), proof })
    }
}

fn profile(ttl: Duration) -> Profile {
    Profile {
        store: NAME,
        server: None,
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
        warnings: Vec::new(),
    }
}

/// The one host of the URL, which nothing else may stand beside: what is ignored would silently not exclude.
fn store_name(endpoint: &Endpoint) -> Result<&str> {
    let refuse = |what: &str| {
        let text = format!("URL {endpoint} {what}: write memory://name, the name being the store's");
        Err(Error::new(ErrorKind::InvalidUrl, text))
    };
    let host = match endpoint.hosts() {
        [] => return refuse("names no store"),
        [host] => host,
        _ => return refuse("names several stores"),
    };
    if host.port.is_some() {
        return refuse("has a port");
    }
    if !matches!(endpoint.path(), "" | "/") {
        return refuse("has a path");
    }
    if endpoint.user().is_some() || endpoint.password().is_some() {
        return refuse("has a user or a password");
    }
    Ok(&host.name)
}

/// Claims and memberships stand under one session with one lease.
fn check_lease(opening: &Opening) -> Result<()> {
    if opening.ttl.is_zero() {
        return Err(Error::new(ErrorKind::InvalidOption, "lock_timeout is zero: give a time above zero"));
    }
    if opening.ttl == opening.membership_ttl {
        return Ok(());
    }
    let text = format!(
        "lock_timeout is {:?} and membership_timeout is {:?}: memory keeps one lease per session, give both the same time",
        opening.ttl, opening.membership_ttl
    );
    Err(Error::new(ErrorKind::InvalidOption, text))
}
