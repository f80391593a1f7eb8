//! What a case is given: sessions and coordinators on one fresh store, and the proof at the end.

mod audit;
mod hand;
mod members;
mod session;
mod time;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tooz_core::backend::{Backend, Driver, Liveness, Opening, Profile, Proof};
use tooz_core::{Clock, Coordinator, Endpoint, Name, Result, SessionId};

pub(crate) use self::hand::Hand;
pub use self::session::Session;
pub(crate) use self::session::{leader, lock};
pub use self::time::{eventually, within};
use crate::faulty::{Faulty, Late, Odds};
use crate::harness::Harness;
use crate::wire::{Gate, Traffic, Wire};

/// One fresh store and everything that a case opened on it.
pub struct World {
    harness: Box<dyn Harness>,
    driver: Arc<dyn Driver>,
    clock: Arc<dyn Clock>,
    traffic: Arc<Traffic>,
    seed: Option<u64>,
    opened: Arc<Opened>,
    sessions: Mutex<Vec<(SessionId, Arc<dyn Backend>)>>,
    coordinators: Mutex<Vec<Coordinator>>,
}

/// What has to be reached again although core opened it.
#[derive(Default)]
struct Opened {
    gates: Mutex<BTreeMap<Name, Gate>>,
    late: Mutex<Vec<Arc<Late>>>,
}

impl World {
    /// A world on the harness's store; with a seed, coordinators reach it through a bad network.
    pub fn new(harness: Box<dyn Harness>, seed: Option<u64>) -> Self {
        Self {
            driver: harness.driver(),
            clock: harness.clock(),
            harness,
            traffic: Arc::default(),
            seed,
            opened: Arc::default(),
            sessions: Mutex::default(),
            coordinators: Mutex::default(),
        }
    }

    /// The harness.
    pub fn harness(&self) -> &dyn Harness {
        &*self.harness
    }

    /// The clock that sessions measure with.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// A clock of its own for one session, moved by hand, that shows the present moment.
    pub(crate) fn hand(&self) -> Arc<Hand> {
        Arc::new(Hand::at(self.clock.now()))
    }

    /// What was asked of the drivers so far.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Whether coordinators reach the store through a bad network.
    pub fn is_faulty(&self) -> bool {
        self.seed.is_some()
    }

    /// What this store, as connected, declares.
    pub async fn profile(&self) -> Profile {
        let session = self.visitor().await;
        let profile = session.backend.profile().clone();
        session.closed().await;
        profile
    }

    /// Whether the kernel keeps sessions alive here, so that none ends while its process lives.
    pub async fn is_kernel(&self) -> bool {
        self.profile().await.liveness == Liveness::Kernel
    }

    /// Opens a session of `member`, closed at the end of the case unless it ended before.
    pub async fn open(&self, member: &str) -> Session {
        self.open_after(member, None).await
    }

    /// Opens the session that follows the lost session `predecessor`.
    pub async fn open_after(&self, member: &str, predecessor: Option<SessionId>) -> Session {
        self.open_by(&self.clock, member, predecessor).await
    }

    /// Opens a session of `member` that measures with a clock of its own.
    pub(crate) async fn open_by_hand(&self, clock: &Arc<Hand>, member: &str) -> Session {
        let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
        self.open_by(&clock, member, None).await
    }

    async fn open_by(&self, clock: &Arc<dyn Clock>, member: &str, predecessor: Option<SessionId>) -> Session {
        let member = name(member);
        let gate = self.opened.gate(&member);
        let (id, backend, proof) =
            self.session(clock, &member, predecessor).await.unwrap_or_else(fail("open a session"));
        let backend: Arc<dyn Backend> = Arc::new(Wire::new(backend, Arc::clone(&self.traffic), gate));
        locked(&self.sessions).push((id, Arc::clone(&backend)));
        Session { backend, id, member, proof }
    }

    /// Ends a session as kill -9 of its process would.
    pub async fn crash(&self, session: Session) {
        let (id, member) = (session.id, session.member.clone());
        let kernel = session.backend.profile().liveness == Liveness::Kernel;
        locked(&self.sessions).retain(|(other, _)| *other != id);
        drop(session);
        self.harness.crash(&member, id, kernel).await;
    }

    /// Ends a session in the store while its owner lives on.
    pub async fn expire(&self, member: &Name, session: SessionId) {
        self.harness.expire(member, session).await;
    }

    /// Cuts a member off the store.
    pub async fn suspend(&self, member: &Name) {
        if !self.harness.suspend(member).await {
            self.opened.gate(member).cut();
        }
    }

    /// Ends what [`suspend`](Self::suspend) began.
    pub async fn resume(&self, member: &Name) {
        if !self.harness.resume(member).await {
            self.opened.gate(member).join();
        }
    }

    /// A session that leaves no trace in what the case is judged by.
    async fn visitor(&self) -> Session {
        let member = name("conformance-visitor");
        let (id, backend, proof) =
            self.session(&self.clock, &member, None).await.unwrap_or_else(fail("open a session"));
        Session { backend, id, member, proof }
    }

    async fn session(
        &self,
        clock: &Arc<dyn Clock>,
        member: &Name,
        predecessor: Option<SessionId>,
    ) -> Result<(SessionId, Arc<dyn Backend>, Proof)> {
        let endpoint = Endpoint::parse(&self.harness.url())?;
        let ttl = endpoint.span("lock_timeout")?.unwrap_or(self.harness.steps_ttl());
        let opening = Opening {
            member: member.clone(),
            session: SessionId::random(),
            predecessor,
            ttl,
            membership_ttl: endpoint.span("membership_timeout")?.unwrap_or(ttl),
            timeout: endpoint.span("timeout")?.unwrap_or(time::ATTEMPT),
            clock: Arc::clone(clock),
        };
        let opened = self.driver.open(&endpoint, &opening).await?;
        Ok((opening.session, opened.backend, opened.proof))
    }
}

impl Opened {
    fn gate(&self, member: &Name) -> Gate {
        locked(&self.gates).entry(member.clone()).or_default().clone()
    }

    /// What core's sessions go through: the line, and the bad network behind it.
    fn wrap(
        &self,
        inner: Arc<dyn Backend>,
        member: &Name,
        seed: Option<u64>,
        traffic: &Arc<Traffic>,
    ) -> Arc<dyn Backend> {
        let inner = match seed {
            None => inner,
            Some(seed) => {
                let mut late = locked(&self.late);
                let nth = u64::try_from(late.len()).unwrap_or(0);
                let faulty = Faulty::new(inner, seed.wrapping_add(nth.wrapping_mul(0x9e37)), Odds::default());
                late.push(faulty.late());
                Arc::new(faulty)
            }
        };
        Arc::new(Wire::new(inner, Arc::clone(traffic), self.gate(member)))
    }
}

/// A name that is known to be valid.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap_or_else(fail("make a name"))
}

/// Ends the case: something the case stands on did not work.
pub(crate) fn fail<T, E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> T {
    move |e| crate::verdict::fail(format!("{what}: {e}"))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
