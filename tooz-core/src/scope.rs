//! A coordinator for the length of a piece of work, closed on every way out.

use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;

use crate::coordinator::Coordinator;
use crate::error::Error;

/// Runs `work` with the coordinator and closes it afterwards: on success, on failure, on a panic (which
/// goes on afterwards), and in the background when this future is dropped.
///
/// This is what a `main` wants: a guard dropped right before a process exits may otherwise stay in the
/// store until its time to live is over.
///
/// # Errors
/// Those of the work; if it succeeded, those of closing.
///
/// ```
/// # async fn run() -> tooz_core::Result<()> {
/// let coord = tooz_core::Registry::embedded().builder("memory://docs-scope").connect().await?;
/// tooz_core::scope(coord, |coord| async move {
///     let _guard = coord.lock("nightly").acquire().await?;
///     Ok::<_, tooz_core::Error>(())
/// })
/// .await
/// # }
/// # pollster::block_on(run()).unwrap();
/// ```
pub async fn scope<F, Fut, T, E>(coord: Coordinator, work: F) -> Result<T, E>
where
    F: FnOnce(Coordinator) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<Error>,
{
    let closing = CloseOnDrop(coord.clone());
    let done = AssertUnwindSafe(async { work(coord).await }).catch_unwind().await;
    let closed = closing.0.close().await;
    match done {
        Err(panic) => resume_unwind(panic),
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(value)) => closed.map(|()| value).map_err(E::from),
    }
}

/// Begins to close when the scope itself is dropped half-way.
struct CloseOnDrop(Coordinator);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.begin_close();
    }
}
