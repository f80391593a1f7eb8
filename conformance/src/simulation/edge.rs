//! How far clocks may be apart: one holder whose clock is slow, cut off, and one who waits.

use std::time::Duration;

use tooz_core::memory::{Store, driver};
use tooz_core::{Clock as _, FencingToken};
use tooz_core::{Engine, Moment, Registry, Result, TokioClock};

use super::Drifting;

/// What was seen of the hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The last moment at which the holder thought that it holds.
    pub held_until: Moment,
    /// The moment at which the next one holds.
    pub granted_at: Moment,
    /// Both tokens.
    pub tokens: [FencingToken; 2],
}

/// Cuts a holder off whose clock is so many thousandths slow, under a lease of `ttl`.
///
/// # Errors
/// If a runtime cannot be built, or the store refuses.
pub fn edge(slow: i64, ttl: Duration) -> std::result::Result<Edge, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    Ok(runtime.block_on(play(slow, ttl))?)
}

async fn play(slow: i64, ttl: Duration) -> Result<Edge> {
    let store = Store::named(&crate::unique("edge"));
    let truth = TokioClock::new();
    let connect = async |member: &str, drift: i64, seed: u64| {
        let builder = Registry::new().with(driver()).builder(store.url()).member(member).ttl(ttl).seed(seed);
        builder.engine(Engine::Current).clock(Drifting(truth, drift)).connect().await
    };
    // The first to open gives the store its clock, which is the true one.
    let keeper = connect("keeper", 0, 1).await?;
    let (slow, next) = (connect("slow", -slow, 2).await?, connect("next", 0, 3).await?);
    let guard = slow.lock("x").acquire().await?;
    let waiting = next.lock("x");
    let mut waits = std::pin::pin!(waiting.acquire());
    // It queues, and some beats prove the holder to live.
    let queued = tokio::time::timeout(ttl * 2, waits.as_mut()).await;
    debug_assert!(queued.is_err(), "the holder lives: {queued:?}");
    store.cut_off("slow");
    let mut held_until = truth.now();
    let looks = async {
        while guard.is_held() {
            held_until = truth.now();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ((), granted) = futures_util::future::join(looks, async {
        let granted = waits.await;
        (granted, truth.now())
    })
    .await;
    let (second, granted_at) = (granted.0?, granted.1);
    let tokens = [guard.fencing_token(), second.fencing_token()];
    drop((guard, second));
    store.reconnect("slow");
    for coord in [slow, next, keeper] {
        // It may have lost its session.
        let _ = coord.close().await;
    }
    Ok(Edge { held_until, granted_at, tokens })
}
