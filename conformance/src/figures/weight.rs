//! What a held lock and a waiter weigh in memory.

use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tooz_core::Coordinator;

use super::Outcome;

/// Bytes of memory per held lock, with so many held by one coordinator.
///
/// # Errors
/// If the store fails or the system does not tell.
pub async fn held(coord: &Coordinator, count: usize) -> Outcome<usize> {
    let warm = coord.lock("figures-weight").acquire().await?;
    let before = resident()?;
    let mut guards = Vec::with_capacity(count);
    for chunk in (0..count).collect::<Vec<_>>().chunks(500) {
        let locks = chunk.iter().map(|n| coord.lock(format!("figures-weight-{n}")));
        guards.extend(try_join_all(locks.map(|lock| async move { lock.acquire().await })).await?);
    }
    let per_lock = resident()?.saturating_sub(before) / count.max(1);
    if let Some(lost) = guards.iter().position(|guard| !guard.is_held()) {
        return Err(format!("lock {lost} of {count} was lost").into());
    }
    let released = guards.into_iter().map(tooz_core::Guard::release);
    for ended in futures_util::future::join_all(released).await {
        ended?;
    }
    warm.release().await?;
    Ok(per_lock)
}

/// Bytes of memory per waiter, with so many waiting for one lock by one coordinator.
///
/// # Errors
/// If the store fails or the system does not tell.
pub async fn waiting(holder: &Coordinator, coord: &Coordinator, count: usize) -> Outcome<usize> {
    const NAME: &str = "figures-crowd";
    let guard = holder.lock(NAME).acquire().await?;
    let before = resident()?;
    let waits: FuturesUnordered<_> = (0..count)
        .map(|_| {
            let lock = coord.lock(NAME);
            async move { lock.acquire().await }
        })
        .collect();
    let mut waits = waits;
    // Polling drives all of them; none ends while the lock is held.
    while holder.lock(NAME).queue().await?.waiting.len() < count {
        let poll = tokio::time::timeout(Duration::from_millis(20), waits.next()).await;
        if let Ok(Some(ended)) = poll {
            return Err(format!("a waiter came through: {:?}", ended.map(|_| ())).into());
        }
    }
    let per_waiter = resident()?.saturating_sub(before) / count.max(1);
    drop(waits);
    guard.release().await?;
    Ok(per_waiter)
}

/// The process's resident memory in bytes.
fn resident() -> Outcome<usize> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: usize = line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
