//! Why there are fencing tokens: a holder that was paused writes too late, and is refused.
//!
//! ```text
//! cargo run -p tooz --example fenced_write
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use tooz::FencingToken;
use tooz::backend::Eviction;

mod backend;

/// A resource that remembers the largest token it has seen: a column in a row, a version of an object.
#[derive(Default)]
struct Register {
    largest: Option<FencingToken>,
    text: &'static str,
}

impl Register {
    fn write(&mut self, token: FencingToken, text: &'static str) -> Result<(), &'static str> {
        if self.largest.is_some_and(|largest| token < largest) {
            return Err("refused: a newer holder has written");
        }
        self.largest = Some(token);
        self.text = text;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> tooz::Result<()> {
    let url = backend::url();
    tooz::with(url.clone(), "paused", |paused| async move {
        let mut register = Register::default();
        let old = paused.lock("example-register").acquire().await?;
        println!("the first holder has token {} and is paused", old.fencing_token());

        tooz::with(&url, "impatient", |impatient| async move {
            let lock = impatient.lock("example-register");
            lock.evict(Eviction::Force).await?;
            let new = lock.acquire().await?;
            println!("the second holder has token {}", new.fencing_token());
            println!("it writes: {:?}", register.write(new.fencing_token(), "new"));

            // The first wakes up between its check and its write. No lock can prevent that.
            println!("the first writes: {:?}", register.write(old.fencing_token(), "old"));
            println!("the register says {:?}", register.text);
            new.release().await
        })
        .await
    })
    .await
}
