//! The same without async.
//!
//! ```text
//! cargo run -p tooz --example blocking
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod backend;

fn main() -> tooz::Result<()> {
    tooz::blocking::with(backend::url(), "plain-thread", |coord| {
        let guard = coord.lock("example-blocking").acquire()?;
        println!("token {}, held: {}", guard.fencing_token(), guard.is_held());
        guard.release()?;

        let term = coord.group("example").election().campaign("here")?;
        println!("leading with term {}", term.term());
        term.resign()
    })
}
