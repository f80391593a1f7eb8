//! The futures of a lock and its guards.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::join;
use tooz_core::backend::Eviction;
use tooz_core::{Guard, Result};

use super::calls::Call;
use super::site::{Became, Site, Touches::Lock, Touches::Nothing, left};

/// Limits of calls that are to run into them.
const SHORT: Duration = Duration::from_millis(5);

pub(super) const CALLS: &[Call] = &[
    Call { name: "acquire", touches: Lock, play: |site, polls| acquire(site, polls).boxed_local() },
    Call { name: "acquire, held", touches: Lock, play: |site, polls| waiting(site, polls).boxed_local() },
    Call {
        name: "acquire, handed over",
        touches: Lock,
        play: |site, polls| handed_over(site, polls).boxed_local(),
    },
    Call { name: "acquire shared", touches: Lock, play: |site, polls| shared(site, polls).boxed_local() },
    Call {
        name: "acquire shared, held",
        touches: Lock,
        play: |site, polls| shared_waiting(site, polls).boxed_local(),
    },
    Call { name: "try", touches: Lock, play: |site, polls| tried(site, polls).boxed_local() },
    Call { name: "try, held", touches: Lock, play: |site, polls| tried_held(site, polls).boxed_local() },
    Call {
        name: "acquire with a limit",
        touches: Lock,
        play: |site, polls| limited(site, polls).boxed_local(),
    },
    Call {
        name: "acquire with a limit, held",
        touches: Lock,
        play: |site, polls| limited_held(site, polls).boxed_local(),
    },
    Call { name: "run", touches: Lock, play: |site, polls| run(site, polls).boxed_local() },
    Call { name: "release", touches: Lock, play: |site, polls| release(site, polls).boxed_local() },
    Call { name: "lost", touches: Lock, play: |site, polls| lost(site, polls).boxed_local() },
    Call { name: "notice", touches: Lock, play: |site, polls| notice(site, polls).boxed_local() },
    Call { name: "break", touches: Lock, play: |site, polls| force(site, polls).boxed_local() },
    Call { name: "queue", touches: Nothing, play: |site, polls| queue(site, polls).boxed_local() },
    Call { name: "watch", touches: Nothing, play: |site, polls| watch(site, polls).boxed_local() },
    Call { name: "changed", touches: Nothing, play: |site, polls| changed(site, polls).boxed_local() },
    Call { name: "changed, news", touches: Lock, play: |site, polls| news(site, polls).boxed_local() },
];

async fn acquire(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.lock().acquire()).await
}

async fn waiting(site: &Site, polls: usize) -> Result<Became> {
    let held = site.held().await?;
    let became = site.cut_wait(polls, site.lock().acquire()).await;
    still(site, held, became).await
}

/// The call is over and has neither disturbed the holder nor stayed in the queue.
async fn still(site: &Site, held: Guard, became: Result<Became>) -> Result<Became> {
    let became = became?;
    site.unqueued().await?;
    if !held.is_held() {
        return Err(left("a holder was disturbed"));
    }
    held.release().await?;
    Ok(became)
}

async fn handed_over(site: &Site, polls: usize) -> Result<Became> {
    let held = site.held().await?;
    let lock = site.lock();
    let (became, released) = join!(site.cut(polls, lock.acquire()), async {
        tokio::task::yield_now().await;
        held.release().await
    });
    released?;
    became
}

async fn shared(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.lock().shared().acquire()).await
}

async fn shared_waiting(site: &Site, polls: usize) -> Result<Became> {
    let held = site.held().await?;
    let became = site.cut_wait(polls, site.lock().shared().acquire()).await;
    still(site, held, became).await
}

async fn tried(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.lock().try_acquire()).await
}

async fn tried_held(site: &Site, polls: usize) -> Result<Became> {
    let held = site.held().await?;
    let became = site.cut(polls, site.lock().try_acquire()).await;
    still(site, held, became).await
}

async fn limited(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.lock().acquire_timeout(Duration::from_secs(5))).await
}

async fn limited_held(site: &Site, polls: usize) -> Result<Became> {
    let held = site.held().await?;
    let became = site.cut(polls, site.lock().acquire_timeout(SHORT)).await;
    still(site, held, became).await
}

async fn run(site: &Site, polls: usize) -> Result<Became> {
    let lock = site.lock();
    let work = lock.run(async |_hold| {
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
    });
    site.cut(polls, work).await
}

async fn mine(site: &Site) -> Result<Guard> {
    let lock = site.lock();
    site.surely(|| lock.acquire()).await
}

async fn release(site: &Site, polls: usize) -> Result<Became> {
    let guard = mine(site).await?;
    site.cut(polls, guard.release()).await
}

async fn lost(site: &Site, polls: usize) -> Result<Became> {
    let guard = mine(site).await?;
    let became = site.cut_wait(polls, guard.lost().map(Ok)).await?;
    if became == Became::Ended {
        return Err(left("a guard was lost"));
    }
    Ok(became)
}

async fn notice(site: &Site, polls: usize) -> Result<Became> {
    let (held, lock) = (site.held().await?, site.lock());
    let lets_go = async move {
        held.lost().await;
        drop(held);
        std::future::pending().await
    };
    tokio::select! {
        biased;
        became = site.cut(polls, lock.evict(Eviction::Notice)) => became,
        never = lets_go => never,
    }
}

async fn force(site: &Site, polls: usize) -> Result<Became> {
    let _held = site.held().await?;
    site.cut(polls, site.lock().evict(Eviction::Force)).await
}

async fn queue(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.lock().queue()).await
}

async fn watch(site: &Site, polls: usize) -> Result<Became> {
    site.cut(polls, site.lock().watch()).await
}

async fn changed(site: &Site, polls: usize) -> Result<Became> {
    let lock = site.lock();
    let mut view = site.surely(|| lock.watch()).await?;
    site.cut_wait(polls, view.changed()).await
}

async fn news(site: &Site, polls: usize) -> Result<Became> {
    let lock = site.lock();
    let mut view = site.surely(|| lock.watch()).await?;
    let (became, held) = join!(site.cut(polls, view.changed()), site.held());
    drop(held?);
    became
}
