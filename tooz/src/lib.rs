//! Distributed locks, group membership, leader election and messages behind one API over several stores.
//!
//! Development needs no server (`file://` on one machine, `memory://` in one process); production changes
//! one URL.
//!
//! ```
//! # async fn run() -> tooz::Result<()> {
//! use std::collections::BTreeMap;
//!
//! let url = "memory://docs"; // file:///var/lib/my-app …
//! tooz::with(url, "worker-1", |coord| async move {
//!     // A lock: one holder at a time, first come, first served.
//!     let guard = coord.lock("nightly").acquire().await?;
//!     println!("working with fencing token {}", guard.fencing_token());
//!     guard.release().await?;
//!
//!     // A group: who is here, and what do they say about themselves?
//!     let group = coord.group("workers");
//!     group.create_if_missing().await?;
//!     let membership = group.join(&BTreeMap::from([("weight", 3)])).await?;
//!     assert!(group.members().await?.contains("worker-1"));
//!
//!     // An election: at most one leader, with a value for the others to see.
//!     let leadership = group.election().campaign("10.0.0.1:7000").await?;
//!     assert!(leadership.is_held());
//!     leadership.resign().await?;
//!     membership.leave().await
//! })
//! .await
//! # }
//! # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
//! ```
//!
//! # What a lock can do, and what it cannot
//! *A lock tells well-behaved processes not to start at the same time. It cannot stop a process paused
//! between check and write. Pass the [fencing token](Guard::fencing_token) to the resource and refuse
//! smaller ones.* A guard stops claiming ([`Guard::is_held`]) before the store may grant anyone else, and
//! [`Guard::lost`] tells so; once lost, always lost.
//!
//! # Where to start
//! * [`with`] connects, runs your work and gives everything back on every way out: what a `main` wants.
//! * [`connect`] is the same without the end; [`builder`] has times to live, timeouts and requirements.
//! * [`Coordinator`] is the door to [`Lock`], [`Topic`], [`Group`] and, through a group, [`Election`] and
//!   letters between members.
//! * [`Group::join_partitioned`] shares keys out between the members: a [`Partitioner`] says whose is which,
//!   and [`Changes`] what moves; a [`HashRing`] does so without a store.
//! * [`blocking`] is all of it without async. Any executor works: sessions live on a thread of their own. A Tokio runtime that
//!   calls are made on needs its timers and sockets (`enable_all`).
//! * [`memory::Store`] is the double for your tests: time can be advanced, sessions ended.
//! * The command `tooz` (feature `cli`) does the same for shells and scripts.
//!
//! # Stores and features
//! | feature | URL | what |
//! |---|---|---|
//! | always | `memory://NAME` | one process: tests and the reference of what every store does |
//! | `file` (default) | `file:///absolute/directory` | one machine, no server: the kernel frees what a killed process held |
//! | `redis` | `redis://HOST:PORT`, `rediss://`, `redis+unix://`, `redis+sentinel://`, `redis+cluster://` | several machines, locks and groups shared with Python tooz |
//! | `zookeeper` | `zookeeper://HOST[:PORT][,…]`, `kazoo://…` | ZooKeeper 3.6 and later; shared with kazoo and Python tooz; topics for control traffic, not for bulk |
//! | `etcd` | `etcd://HOST:2379,…`, `etcds://…` | **needs `protoc` and its includes to build** (Debian: `apt-get install protobuf-compiler libprotobuf-dev`, or `PROTOC=…`); shared with Python tooz |
//! | `etcd-compare` | | `still_held`: your own etcd transactions go through only under a lock |
//! | `metrics` | | counters and histograms through the `metrics` facade |
//! | `cli` | | the command `tooz`: `cargo install tooz --features cli` (Unix) |
//!
//! A store of your own joins by [`Registry::with`]; see [`backend`] for the interface it implements.
//!
//! # Environment
//! [`builder`] takes the member id from `TOOZ_MEMBER` where it is set. The URL is always given; the command
//! and the examples read it from `TOOZ_BACKEND`.

pub mod blocking;

pub use tooz_core::{
    BootClock, Builder, Capabilities, Cause, Changes, Channel, Claim, ClaimId, Clock, Coordinator,
    DEFAULT_PARTITIONS, Delivery, Effect, Election, Endpoint, Engine, Error, ErrorKind, Event, FencingToken,
    From, Group, Guard, HashRing, Hold, Inbox, Incarnation, Leader, Leadership, Letter, Lock,
    MAX_CAPABILITIES_BYTES, MAX_CAPABILITIES_DEPTH, MAX_NAME_BYTES, MAX_PAYLOAD_BYTES, MAX_POINTS,
    MAX_WEIGHT, Mail, Member, Membership, MembershipState, Message, MessageId, Mode, Moment, Move, Moved,
    Moves, Name, Observation, Observer, Offset, Partitioned, Partitioner, QueueView, Registry, Requirement,
    Result, Retention, Roster, Seat, SessionId, Share, State, Subscription, TokioClock, Topic, View, Watched,
    Wrap, backend, endpoint, memory, scope,
};

#[doc(hidden)]
pub use tooz_core::is_unruly;
#[cfg(feature = "etcd-compare")]
pub use tooz_etcd::still_held;
#[cfg(feature = "zookeeper")]
pub use tooz_zookeeper::lock_directory;

/// Every driver that is compiled in.
pub fn registry() -> Registry {
    let registry = Registry::embedded();
    #[cfg(feature = "file")]
    let registry = registry.with(tooz_file::FileDriver::new());
    #[cfg(feature = "redis")]
    let registry = registry.with(tooz_redis::RedisDriver::new());
    #[cfg(feature = "zookeeper")]
    let registry = registry.with(tooz_zookeeper::ZookeeperDriver::new());
    #[cfg(feature = "etcd")]
    let registry = registry.with(tooz_etcd::EtcdDriver::new());
    registry
}

/// Starts building a coordinator over the store at `url`, with every compiled-in driver.
///
/// The member id is that of the environment variable `TOOZ_MEMBER`, if set and not empty, until
/// [`Builder::member`] names another. One that is no UTF-8 text is refused when connecting, as `InvalidName`.
///
/// ```
/// # async fn run() -> tooz::Result<()> {
/// use std::time::Duration;
///
/// let coord = tooz::builder("memory://docs-builder")
///     .member("worker-1")
///     .ttl(Duration::from_secs(10))
///     .connect()
///     .await?;
/// assert_eq!(coord.member().as_str(), "worker-1");
/// coord.close().await
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
/// ```
pub fn builder(url: impl Into<String>) -> Builder {
    registry().builder(url).member_from_env("TOOZ_MEMBER")
}

/// Connects to the store at `url` as this member.
///
/// [`Coordinator::close`] gives everything back; [`with`] does so by itself.
///
/// # Errors
/// `InvalidUrl`, `UnknownScheme` and `InvalidOption` say what is wrong with the URL, `InvalidName` with the
/// member id; `Unavailable` and `Denied` come from the store.
///
/// ```
/// # async fn run() -> tooz::Result<()> {
/// let coord = tooz::connect("memory://docs-connect", "worker-1").await?;
/// coord.close().await
/// # }
/// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
/// ```
pub async fn connect(url: impl Into<String>, member: impl Into<String>) -> Result<Coordinator> {
    builder(url).member(member).connect().await
}

/// Connects, runs `work` with the coordinator, and closes it on every way out: success, failure, a panic
/// (which goes on afterwards), and in the background when this future is dropped.
///
/// This is what a `main` wants. Without it, a guard that is dropped right before the process ends may stay
/// in the store until its time to live is over: dropping only asks for the release, nobody waits for it.
///
/// # Errors
/// Those of [`connect`] and of the work; if both succeeded, those of closing.
///
/// ```
/// # async fn run() -> tooz::Result<()> {
/// let token = tooz::with("memory://docs-with", "worker-1", |coord| async move {
///     let guard = coord.lock("nightly").acquire().await?;
///     Ok::<_, tooz::Error>(guard.fencing_token())
/// })
/// .await?;
/// # assert!(token.get() > 0);
/// # Ok(()) }
/// # tokio::runtime::Runtime::new().unwrap().block_on(run()).unwrap();
/// ```
pub async fn with<F, Fut, T, E>(url: impl Into<String>, member: impl Into<String>, work: F) -> Result<T, E>
where
    F: FnOnce(Coordinator) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: std::convert::From<Error>,
{
    let coord = connect(url, member).await?;
    scope(coord, work).await
}

#[cfg(all(test, unix))]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    use super::{ErrorKind, blocking, builder};

    /// Runs itself again with such a variable: a process does not change its own while threads run.
    #[test]
    fn a_member_id_of_the_environment_that_is_no_text_is_refused() {
        const NAME: &str = "tests::a_member_id_of_the_environment_that_is_no_text_is_refused";
        let odd = OsStr::from_bytes(b"w\xff");
        if std::env::var_os("TOOZ_MEMBER").is_none_or(|member| member != odd) {
            let mut again = Command::new(std::env::current_exe().unwrap());
            let ran = again.args(["--exact", NAME]).env("TOOZ_MEMBER", odd).output().unwrap();
            let told = String::from_utf8_lossy(&ran.stdout).into_owned();
            assert!(ran.status.success() && told.contains("1 passed"), "{told}");
            return;
        }
        let refused = blocking::connect_with(builder("memory://no-text")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidName);
        assert!(refused.to_string().contains("TOOZ_MEMBER"), "{refused}");

        let named = blocking::connect("memory://no-text", "worker-1").unwrap();
        assert_eq!(named.member().as_str(), "worker-1");
        named.close().unwrap();
    }
}
