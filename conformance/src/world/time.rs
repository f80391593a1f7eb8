//! Waiting for a state, with a bound.

use std::future::Future;
use std::time::Duration;

/// How long one attempt of a step may take.
pub(super) const ATTEMPT: Duration = Duration::from_secs(5);

/// Longer than anything that works takes, also on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Between two looks. Only what has no wait of its own is looked at again and again.
const PAUSE: Duration = Duration::from_millis(2);

/// The future's output, which must come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => crate::verdict::fail(format!("{what}: nothing for {LIMIT:?}")),
    }
}

/// Looks until `look` sees nothing wrong any more; fails with what it saw last.
pub async fn eventually(what: &str, mut look: impl AsyncFnMut() -> Result<(), String>) {
    let start = std::time::Instant::now();
    let virtual_start = tokio::time::Instant::now();
    loop {
        let Err(wrong) = look().await else { return };
        let late = start.elapsed().max(virtual_start.elapsed()) > LIMIT;
        assert!(!late, "{what}: after {LIMIT:?} still: {wrong}");
        tokio::time::sleep(PAUSE).await;
    }
}
