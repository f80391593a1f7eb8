//! A lock, from connecting to disconnecting.
//!
//! Run it in two terminals at once: the second waits for the first.
//!
//! ```text
//! cargo run -p tooz --example quickstart
//! TOOZ_BACKEND=file:///var/lib/my-app cargo run -p tooz --example quickstart
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

mod backend;

#[tokio::main]
async fn main() -> tooz::Result<()> {
    let url = backend::url();
    // Where a store keeps us alive by a lease, a time to live of three seconds means a heartbeat a second.
    let coord = tooz::builder(&url).ttl(Duration::from_secs(3)).connect().await?;
    println!("connected to {} as {}", coord.endpoint(), coord.member());

    // Closes the session whatever happens in between: this is what `tooz::with` does, too.
    tooz::scope(coord, |coord| async move {
        println!("waiting up to 5s for the lock");
        let lock = coord.lock("my_critical_section");
        let Some(guard) = lock.acquire_timeout(Duration::from_secs(5)).await? else {
            println!("somebody else holds it; giving up");
            return Ok(());
        };
        println!("acquired, with fencing token {}", guard.fencing_token());

        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(2)) => println!("worked for 2s"),
            cause = guard.lost() => println!("stopped working: {cause}"),
        }

        guard.release().await?;
        println!("released");
        Ok::<_, tooz::Error>(())
    })
    .await?;
    println!("disconnected");
    Ok(())
}
