//! The futures of a coordinator itself.

use futures_util::FutureExt;
use tooz_core::{Result, scope};

use super::calls::Call;
use super::site::{Became, Site, Touches::Lock, Touches::Nothing};

pub(super) const CALLS: &[Call] = &[
    Call { name: "connect", touches: Nothing, play: |site, polls| connect(site, polls).boxed_local() },
    Call { name: "close", touches: Lock, play: |site, polls| close(site, polls).boxed_local() },
    Call { name: "scope", touches: Lock, play: |site, polls| scoped(site, polls).boxed_local() },
    Call { name: "round trip", touches: Nothing, play: |site, polls| round_trip(site, polls).boxed_local() },
];

/// What had connected before it was dropped goes with its coordinator.
async fn connect(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, async { site.builder("c").connect().await?.close().await }).await
}

/// It goes on when it is dropped, and gives back what only its session keeps.
async fn close(site: &Site, polls: usize) -> Result<Became> {
    let visitor = site.visitor().await?;
    let lock = Site::lock_of(&visitor);
    site.surely(|| lock.acquire()).await?.detach();
    drop(lock);
    site.cut(polls, visitor.close()).await
}

async fn scoped(site: &Site, polls: usize) -> Result<Became> {
    let visitor = site.visitor().await?;
    let work = scope(visitor, |coord| async move {
        let _guard = Site::lock_of(&coord).acquire().await?;
        tokio::task::yield_now().await;
        Ok::<_, tooz_core::Error>(())
    });
    site.cut(polls, work).await
}

async fn round_trip(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.a.round_trip()).await
}
