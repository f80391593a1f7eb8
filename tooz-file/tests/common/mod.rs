//! What the tests of this driver share: sessions, claims, and a second process.
#![allow(dead_code, unreachable_pub)]

pub mod peer;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tooz_core::backend::{
    Backend, Driver, Enrolment, Grant, GroupSteps, LockSteps, Opening, Position, Queue, Standing, Turn,
};
use tooz_core::{BootClock, Claim, ClaimId, Endpoint, Mode, Name, Result, Seat, SessionId};
use tooz_file::FileDriver;

pub type Session = Arc<dyn Backend>;

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn lock(text: &str) -> Seat {
    Seat::Lock(name(text))
}

pub fn claim(seat: &Seat, mode: Mode) -> Claim {
    Claim { id: ClaimId::random(), seat: seat.clone(), mode, member: name("me"), value: Bytes::new() }
}

pub fn exclusive(seat: &str) -> Claim {
    claim(&lock(seat), Mode::Exclusive)
}

pub fn shared(seat: &str) -> Claim {
    claim(&lock(seat), Mode::Shared)
}

pub fn opening() -> Opening {
    Opening {
        member: name("me"),
        session: SessionId::random(),
        predecessor: None,
        ttl: Duration::from_secs(30),
        membership_ttl: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        clock: Arc::new(BootClock),
    }
}

pub async fn open_with(root: &Path, query: &str, opening: &Opening) -> Result<Session> {
    let endpoint = Endpoint::parse(&format!("file://{}{query}", root.display())).unwrap();
    Ok(FileDriver::new().open(&endpoint, opening).await?.backend)
}

pub async fn open(root: &Path) -> Session {
    open_with(root, "", &opening()).await.unwrap()
}

pub fn locks(session: &Session) -> &dyn LockSteps {
    session.locks().unwrap()
}

pub fn groups(session: &Session) -> &dyn GroupSteps {
    session.groups().unwrap()
}

pub fn enrolment(group: &str, member: &str, session: SessionId) -> Enrolment {
    Enrolment {
        group: name(group),
        member: name(member),
        session,
        replaces: None,
        capabilities: Bytes::from_static(b"\xc0"),
    }
}

/// Polls a call once, as whoever then awaits something else does.
pub fn poll_once<F: Future + ?Sized>(call: Pin<&mut F>) -> Option<F::Output> {
    match call.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// A temporary root that does not exist yet.
pub struct Root(tempfile::TempDir);

impl Root {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.0.path().join("root")
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A test that hangs fails instead.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("still waiting after 20 s")
}

pub fn held(standing: &Standing) -> Grant {
    match standing {
        Standing::Held(grant) => *grant,
        Standing::Waiting(position) => panic!("waits at {position:?}"),
    }
}

pub async fn take(session: &Session, claim: &Claim) -> Grant {
    held(&locks(session).claim(claim).await.unwrap())
}

pub async fn queue_up(session: &Session, claim: &Claim) -> Position {
    match locks(session).claim(claim).await.unwrap() {
        Standing::Waiting(position) => position,
        Standing::Held(grant) => panic!("holds with {grant:?}"),
    }
}

/// Waits at a place as core does, until it is time to ask again.
pub async fn wait(session: &Session, claim: &Claim, position: &Position) -> Turn {
    told(session, claim, position).await.unwrap_or(Turn::AskAgain)
}

/// The same; `None` if it was time to look again.
async fn told(session: &Session, claim: &Claim, position: &Position) -> Option<Turn> {
    let until = position.revisit.unwrap_or(Duration::MAX);
    tokio::time::timeout(until, soon(locks(session).turn(claim, position))).await.ok()
}

/// Waits for the seat as core does; also tells how often it was woken.
pub async fn acquire(session: &Session, claim: &Claim) -> (Grant, usize) {
    let mut wake_ups = 0;
    loop {
        match locks(session).claim(claim).await.unwrap() {
            Standing::Held(grant) => return (grant, wake_ups),
            Standing::Waiting(position) => match told(session, claim, &position).await {
                Some(Turn::Granted(grant)) => return (grant, wake_ups),
                Some(Turn::AskAgain) => wake_ups += 1,
                None => {}
            },
        }
    }
}

/// Devices, and what belongs to somebody else, only root can make.
pub fn assert_root() {
    assert!(rustix::process::geteuid().is_root(), "run this test as root: it makes what only root can make");
}

/// Waits until a look at the seat satisfies.
pub async fn queue_when(session: &Session, seat: &Seat, wanted: impl Fn(&Queue) -> bool) -> Queue {
    loop {
        let queue = locks(session).queue(seat).await.unwrap();
        if wanted(&queue) {
            return queue;
        }
        soon(locks(session).stirred(seat, queue.mark)).await;
    }
}

/// Everything in a root but what stays for ever: empty seats with their lock and counter.
pub fn leftovers(root: &Path) -> Vec<String> {
    let mut left = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if !["format", "lock", "counter", "name", "gate"].contains(&name.as_str()) {
                left.push(path.display().to_string());
            }
        }
    }
    left
}

/// Whether a wait goes on when it is looked at once.
pub async fn is_pending<F: Future + Unpin>(future: &mut F) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
    })
    .await
}
