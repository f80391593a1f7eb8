//! A pool of processes that share a thousand jobs: one of them is killed, and the others take over its share.
//!
//! Partitioning tells every worker which jobs are its own, without asking anyone. What is done is announced
//! on a topic, so that whoever takes over a job knows whether there is anything left to do.
//!
//! ```text
//! cargo run -p tooz --example worker_pool
//! cargo run -p tooz --example worker_pool --features redis -- redis://localhost:6379
//! ```
//!
//! While it runs, start one more worker in another terminal, with the line that it prints, or kill one.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use tooz::Coordinator;

#[path = "../backend/mod.rs"]
mod backend;
mod lead;
mod worker;

/// So many jobs there are.
const JOBS: u32 = 1_000;

/// An example ends with whatever went wrong.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [] => lead::run(&backend::url()).await,
        [url] => lead::run(url).await,
        [url, pool, name] => worker::run(url, pool, name).await,
        _ => Err("give nothing, URL, or URL POOL NAME".into()),
    }
}

/// Where a store keeps members alive by a lease, a killed worker is missed after three seconds; files tell at
/// once.
async fn connect(url: &str, member: &str) -> tooz::Result<Coordinator> {
    tooz::builder(url).member(member).ttl(Duration::from_secs(3)).connect().await
}

/// What a job is called, on the ring and in what is announced.
fn key(job: u32) -> String {
    format!("job-{job}")
}

/// The job that was announced as done.
fn announced(delivery: tooz::Delivery) -> Outcome<(u32, tooz::Name)> {
    match delivery {
        tooz::Delivery::Message(message) => {
            let text = std::str::from_utf8(&message.payload)?;
            let number = text.strip_prefix("job-").ok_or_else(|| format!("no job: {text:?}"))?;
            Ok((number.parse()?, message.sender))
        }
        // A topic keeps ten thousand messages, unless told otherwise.
        other => Err(format!("announcements are missing: {other:?}").into()),
    }
}
