//! Connecting that is given up or refused, and runtimes that end.

#![allow(clippy::unwrap_used, reason = "a failed assumption in a test is a failed test")]

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use common::{Script, Switch, builder, settle};
use tokio::sync::watch;
use tooz_core::backend::*;
use tooz_core::memory::Store;
use tooz_core::*;

/// Opens sessions of the memory store, and answers only when told.
struct Slow {
    inner: Arc<dyn Driver>,
    opened: watch::Sender<usize>,
    hold: Switch,
}

impl Slow {
    fn new() -> Arc<Self> {
        let inner = Arc::clone(Registry::embedded().drivers().next().unwrap());
        Arc::new(Self { inner, opened: watch::Sender::new(0), hold: Switch::default() })
    }
}

struct Handle(Arc<Slow>);

#[async_trait]
impl Driver for Handle {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.0.inner.schemes()
    }

    fn options(&self) -> &'static [OptionSpec] {
        self.0.inner.options()
    }

    fn profile(&self) -> Profile {
        self.0.inner.profile()
    }

    async fn open(&self, endpoint: &Endpoint, opening: &Opening) -> Result<Opened> {
        let opened = self.0.inner.open(endpoint, opening).await;
        self.0.opened.send_modify(|opened| *opened += 1);
        self.0.hold.off().await;
        opened
    }
}

/// Also when nobody else keeps the engine running.
#[test]
fn a_session_opened_for_nobody_is_closed() {
    let slow = Slow::new();
    let store = Store::named("connect-dropped");
    slow.hold.set(true);
    let script = Arc::new(Script::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connect = Registry::new()
            .with(Handle(Arc::clone(&slow)))
            .builder("memory://connect-dropped")
            .wrap(script.wrap())
            .connect();
        let mut opened = slow.opened.subscribe();
        tokio::select! {
            _ = connect => panic!("the answer is held back"),
            opened = opened.wait_for(|opened| *opened == 1) => drop(opened.unwrap()),
        }

        slow.hold.set(false);

        let mut closed = script.closed.subscribe();
        let closed = closed.wait_for(|closed| *closed == 1);
        drop(tokio::time::timeout(Duration::from_secs(10), closed).await.expect("closed").unwrap());
        assert!(store.leftovers().is_empty());
    });
}

#[tokio::test(start_paused = true)]
async fn a_session_answered_to_nobody_is_closed() {
    let store = Store::named("connect-answered");
    {
        let mut connect = pin!(builder("connect-answered", "a").connect());
        assert!(connect.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        settle().await;
        assert_eq!(store.snapshot().sessions.len(), 1, "answered, but not taken");
    }
    settle().await;
    assert!(store.snapshot().sessions.is_empty());
}

/// Fails the first who ask, each after so long, and lets the others in.
struct Deaf {
    inner: Arc<dyn Driver>,
    silence: fn(usize) -> Duration,
    deaf: usize,
    effect: Effect,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Driver for Deaf {
    fn name(&self) -> &'static str {
        "deaf"
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.inner.schemes()
    }

    fn options(&self) -> &'static [OptionSpec] {
        self.inner.options()
    }

    fn profile(&self) -> Profile {
        self.inner.profile()
    }

    async fn open(&self, endpoint: &Endpoint, opening: &Opening) -> Result<Opened> {
        let before = self.asked.fetch_add(1, Ordering::SeqCst);
        if before < self.deaf {
            tokio::time::sleep((self.silence)(before)).await;
            let error = Error::new(ErrorKind::Unavailable, "deaf");
            return Err(if self.effect == Effect::Unknown { error.effect_unknown() } else { error });
        }
        self.inner.open(endpoint, opening).await
    }
}

/// Connects within 10 s to a store that is so deaf; also says how often it was asked, and for how long.
async fn connect_deaf(
    silence: fn(usize) -> Duration,
    deaf: usize,
    effect: Effect,
) -> (Result<Coordinator>, usize, Duration) {
    let inner = Arc::clone(Registry::embedded().drivers().next().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let driver = Deaf { inner, silence, deaf, effect, asked: Arc::clone(&asked) };
    let builder = Registry::new().with(driver).builder(format!("memory://connect-deaf-{deaf}"));
    let began = tokio::time::Instant::now();
    let builder = builder.ttl(Duration::from_secs(6)).timeout(Duration::from_secs(10));
    let answer = builder.engine(Engine::Current).connect().await;
    (answer, asked.load(Ordering::SeqCst), began.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_store_that_says_nothing_is_asked_again_and_one_that_refuses_is_not() {
    let attempt = |_| Duration::from_secs(1);
    let (coord, asked, _) = connect_deaf(attempt, 1, Effect::None).await;
    assert_eq!(asked, 2);
    coord.unwrap().close().await.unwrap();

    let (refused, asked, took) = connect_deaf(attempt, usize::MAX, Effect::None).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!((8..=10).contains(&asked), "asked {asked} times");
    assert!(took <= Duration::from_secs(10), "{took:?}");

    let (refused, asked, _) = connect_deaf(|_| Duration::ZERO, 1, Effect::None).await;
    assert_eq!((refused.unwrap_err().kind(), asked), (ErrorKind::Unavailable, 1));
}

/// Also where the last attempt, begun in time, would have a whole one to itself.
#[tokio::test(start_paused = true)]
async fn connecting_ends_within_its_time() {
    let ever_longer = |before| if before < 8 { Duration::from_secs(1) } else { Duration::MAX };

    let (refused, asked, took) = connect_deaf(ever_longer, usize::MAX, Effect::None).await;

    assert_eq!((refused.unwrap_err().kind(), asked), (ErrorKind::Unavailable, 9));
    assert!(took <= Duration::from_secs(10), "{took:?}");
}

/// As it does where what stands between lets go of it while the session is made.
#[tokio::test(start_paused = true)]
async fn a_store_whose_connection_breaks_at_once_is_asked_once_more() {
    let (coord, asked, _) = connect_deaf(|_| Duration::ZERO, 1, Effect::Unknown).await;
    assert_eq!(asked, 2);
    coord.unwrap().close().await.unwrap();

    let (broken, asked, _) = connect_deaf(|_| Duration::ZERO, usize::MAX, Effect::Unknown).await;
    assert_eq!((broken.unwrap_err().effect(), asked), (Effect::Unknown, 2));
}

#[test]
fn an_unmet_requirement_closes_the_session_inside_the_engine() {
    let script = Arc::new(Script::default());
    *script.profile.lock().unwrap() = Some(|profile| profile.groups = None);
    let connect = Registry::embedded()
        .builder("memory://connect-unmet")
        .wrap(script.wrap())
        .require(Requirement::groups())
        .connect();

    let error = pollster::block_on(connect).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!((*script.closed.borrow(), script.closed_outside.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_time_to_live_that_is_granted_too_short_closes_the_session() {
    let script = Arc::new(Script::default());
    let store = Store::named("connect-short");
    *script.profile.lock().unwrap() =
        Some(|profile| profile.liveness = Liveness::Lease(Duration::from_millis(50)));

    let error = builder("connect-short", "a").wrap(script.wrap()).connect().await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::InvalidOption);
    settle().await;
    assert!(store.snapshot().sessions.is_empty());
}

/// `Engine::Current` ends with its runtime: what is used elsewhere afterwards is over, not stuck.
#[test]
fn a_runtime_that_ends_under_its_sessions_loses_them() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (coord, guard, mut view, me) = runtime().block_on(async {
        let coord = Registry::embedded()
            .builder("memory://connect-ended")
            .engine(Engine::Current)
            .connect()
            .await
            .unwrap();
        let guard = coord.lock("x").acquire().await.unwrap();
        coord.group("g").create().await.unwrap();
        let me = coord.group("g").join(&()).await.unwrap();
        let view = coord.group("g").watch().await.unwrap();
        (coord, guard, view, me)
    });

    runtime().block_on(async {
        let all = async {
            assert_eq!(guard.lost().await, Cause::Orphaned);
            assert!(!guard.is_held());
            assert_eq!(guard.release().await.unwrap_err().kind(), ErrorKind::Lost);
            assert_eq!(coord.lock("x").acquire().await.unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(view.changed().await.unwrap_err().kind(), ErrorKind::Closed);
            assert!(me.leave().await.is_err());
            assert_eq!(coord.group("g").join(&()).await.unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(coord.state().borrow(), State::Closed);
            assert!(coord.close().await.is_err(), "nothing was given back");
        };
        tokio::time::timeout(Duration::from_secs(10), all).await.expect("nothing waits for ever");
    });
}

/// What the margin leaves has room for a beat; otherwise the session would end before the first, again and again.
#[tokio::test]
async fn a_margin_that_leaves_no_time_for_a_beat_is_refused() {
    let connect = |margin: u64| {
        let builder = Registry::embedded().builder("memory://connect-margin").ttl(Duration::from_millis(200));
        builder.margin(Duration::from_millis(margin)).connect()
    };
    let refusal = connect(95).await.unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::InvalidOption);
    assert!(refusal.to_string().contains("less than"), "{refusal}");
    connect(30).await.unwrap().close().await.unwrap();
}
