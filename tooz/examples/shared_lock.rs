//! Readers together, a writer alone.
//!
//! ```text
//! cargo run -p tooz --example shared_lock
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

mod backend;

#[tokio::main]
async fn main() -> tooz::Result<()> {
    tooz::with(backend::url(), "librarian", |coord| async move {
        let lock = coord.lock("example-book");
        let reader_1 = lock.clone().shared().acquire().await?;
        let reader_2 = lock.clone().shared().acquire().await?;
        println!("two readers: {} and {}", reader_1.is_held(), reader_2.is_held());

        let writer = lock.acquire_timeout(Duration::from_millis(100)).await?;
        println!("a writer beside them: {}", writer.is_some());

        reader_1.release().await?;
        reader_2.release().await?;
        // Released with the guard: `run` is the short form, and cancels the work when the lock is lost.
        let token = lock.run(|hold| async move { hold.fencing_token() }).await?;
        println!("the writer alone: token {token}");
        Ok::<_, tooz::Error>(())
    })
    .await
}
