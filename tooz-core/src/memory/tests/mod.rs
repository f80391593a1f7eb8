//! The driver through its interface, on tokio's paused clock.

mod groups;
mod model;
mod opening;
mod sessions;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Data, Store, driver};
use crate::backend::{
    Backend, Created, Deleted, Doubt, Driver, Enrolment, Eviction, Grant, GroupSteps, Joined, Left, Liveness,
    LockSteps, Opened, Opening, Proof, Standing, Turn, Updated, Withdrawn,
};
use crate::claim::{Claim, Mode, Seat};
use crate::clock::{Clock, TokioClock};
use crate::endpoint::Endpoint;
use crate::error::{Effect, Error, ErrorKind};
use crate::id::{ClaimId, SessionId};
use crate::lost::Cause;
use crate::name::Name;

const TTL: Duration = Duration::from_secs(10);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn opening(member: &str, clock: &Arc<dyn Clock>) -> Opening {
    Opening {
        member: name(member),
        session: SessionId::random(),
        predecessor: None,
        ttl: TTL,
        membership_ttl: TTL,
        timeout: Duration::from_secs(1),
        clock: Arc::clone(clock),
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(TokioClock::new())
}

async fn try_open(url: &str, opening: &Opening) -> Result<Opened, Error> {
    driver().open(&Endpoint::parse(url).unwrap(), opening).await
}

/// A session of a member, and what its claims and enrolments look like.
struct Client {
    member: Name,
    session: SessionId,
    backend: Arc<dyn Backend>,
    proof: Proof,
}

impl Client {
    async fn open(store: &Store, member: &str, clock: &Arc<dyn Clock>) -> Self {
        let opening = opening(member, clock);
        let opened = try_open(&store.url(), &opening).await.unwrap();
        Self {
            member: opening.member,
            session: opening.session,
            backend: opened.backend,
            proof: opened.proof,
        }
    }

    fn locks(&self) -> &dyn LockSteps {
        self.backend.locks().unwrap()
    }

    fn groups(&self) -> &dyn GroupSteps {
        self.backend.groups().unwrap()
    }

    fn claim(&self, seat: &str, mode: Mode) -> Claim {
        let seat = Seat::Lock(name(seat));
        Claim { id: ClaimId::random(), seat, mode, member: self.member.clone(), value: Bytes::new() }
    }

    fn exclusive(&self) -> Claim {
        self.claim("nightly", Mode::Exclusive)
    }

    fn enrolment(&self, capabilities: &'static [u8]) -> Enrolment {
        Enrolment {
            group: name("blue"),
            member: self.member.clone(),
            session: self.session,
            replaces: None,
            capabilities: Bytes::from_static(capabilities),
        }
    }

    async fn held(&self, claim: &Claim) -> Grant {
        match self.locks().claim(claim).await.unwrap() {
            Standing::Held(grant) => grant,
            waiting => panic!("{waiting:?}"),
        }
    }

    /// Starts to wait for a turn, on a task that has begun to listen when this returns.
    async fn waiting(&self, claim: &Claim) -> tokio::task::JoinHandle<Turn> {
        let Standing::Waiting(position) = self.locks().claim(claim).await.unwrap() else { panic!("held") };
        let (backend, claim) = (Arc::clone(&self.backend), claim.clone());
        let task = tokio::spawn(async move { backend.locks().unwrap().turn(&claim, &position).await });
        tokio::task::yield_now().await;
        task
    }
}

async fn is_pending<T>(wait: &mut tokio::task::JoinHandle<T>) -> bool {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    !wait.is_finished()
}

/// A future that is polled by hand and counts its wake-ups.
struct Polled<T> {
    future: std::pin::Pin<Box<dyn Future<Output = T>>>,
    flag: Arc<Flag>,
}

struct Flag(std::sync::atomic::AtomicBool);

impl std::task::Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

fn polled<T>(future: impl Future<Output = T> + 'static) -> Polled<T> {
    Polled { future: Box::pin(future), flag: Arc::new(Flag(false.into())) }
}

impl<T> Polled<T> {
    fn poll(&mut self) -> Option<T> {
        let waker = Arc::clone(&self.flag).into();
        match self.future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        }
    }

    fn woken(&self) -> bool {
        self.flag.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}
