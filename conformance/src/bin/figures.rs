//! What coordination costs beside the bare store: `figures --url URL [--pairs N] [--turns N] [--weight N]
//! [--kills N]`, or `figures --url URL --topics N [--messages N]` for messages alone.
//!
//! Each line is measured in this one run. With `--kills`, so many processes that hold a lock each are killed with
//! -9, and the waits of those next in line are measured against the time to live.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command speaks

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use conformance::arguments::Arguments;
use conformance::figures::{self, Outcome};
use tooz_core::Coordinator;
use tooz_core::backend::Liveness;

const KNOWN: &[&str] = &["url", "pairs", "turns", "tasks", "weight", "kills", "hold", "topics", "messages"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("figures: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Outcome<()> {
    let arguments = Arguments::read(std::env::args().skip(1), KNOWN)?;
    let url = arguments.text("url").ok_or("which store? --url redis://localhost:6379")?;
    let number = |name, usual| {
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(usize::try_from(arguments.number(name, usual)?)?)
    };
    let connect = async |member: &str| tooz::registry().builder(url).member(member).connect().await;
    if let Some(name) = arguments.text("hold") {
        let coord = connect(&format!("holder-of-{name}")).await?;
        return figures::hold_for_others(&coord, name, || {
            println!("held");
            // Whoever reads it may be gone; then nobody minds.
            let _ = std::io::stdout().flush();
        })
        .await;
    }
    let (a, b) = (connect("a").await?, connect("b").await?);
    println!("store: {url}, {:?}", a.profile().liveness);
    let topics = number("topics", 0)?;
    if topics > 0 {
        compare_topics(&a, &b, url, topics, number("messages", 10_000)?).await?;
        a.close().await?;
        return Ok(b.close().await?);
    }
    compare(&a, &b, url, number("pairs", 4_000)?, number("turns", 1_000)?, number("tasks", 64)?).await?;
    let weight = number("weight", 10_000)?;
    if weight > 0 {
        println!("memory per held lock: {} bytes (of {weight})", figures::held(&a, weight).await?);
        println!("memory per waiter: {} bytes (of {weight})", figures::waiting(&a, &b, weight).await?);
    }
    let kills = number("kills", 0)?;
    if kills > 0 {
        let waits = figures::take_over(&a, url, kills).await?;
        let ttl = match a.profile().liveness {
            Liveness::Lease(ttl) => ttl,
            Liveness::Kernel => Duration::ZERO,
        };
        println!("take-over after {kills} kill -9, time to live {ttl:?}: {waits}");
    }
    a.close().await?;
    b.close().await?;
    Ok(())
}

/// The figures that have a bare request beside them.
async fn compare(
    a: &Coordinator,
    b: &Coordinator,
    url: &str,
    pairs: usize,
    turns: usize,
    tasks: usize,
) -> Outcome<()> {
    let Some(bare) = figures::bare(url).await? else {
        println!("no bare store to compare with");
        return Ok(());
    };
    let (ours, theirs) = figures::uncontended(a, &*bare, pairs).await?;
    println!("acquire + release: {ours}");
    println!("{}: {theirs}", bare.pair_name());
    println!("  ratio of medians: {:.2}", ours.times(&theirs));
    let (ours, theirs) = figures::hand_over([a, b], &*bare, turns).await?;
    println!("release to the next holder's return: {ours}");
    println!("{}: {theirs}", bare.event_name());
    println!(
        "  as multiples: p50 {:.2}, p99 {:.2}",
        ours.times(&theirs),
        ours.quantile(0.99).as_secs_f64() / theirs.quantile(0.99).as_secs_f64().max(1e-12)
    );
    let (ours, theirs) = figures::together(a, &bare, tasks, pairs / tasks.max(1) + 1).await?;
    println!("{tasks} tasks on {tasks} locks: {ours:.0} acquires and releases per second");
    println!("{tasks} tasks of {}: {theirs:.0} per second", bare.pair_name());
    println!("  ratio: {:.2}", ours / theirs);
    Ok(())
}

/// The figures of topics, each beside a bare log.
async fn compare_topics(
    a: &Coordinator,
    b: &Coordinator,
    url: &str,
    turns: usize,
    messages: usize,
) -> Outcome<()> {
    let Some(bare) = figures::log(url).await? else {
        println!("no bare store to compare with");
        return Ok(());
    };
    let (ours, theirs) = figures::published_to_received([a, b], &*bare, turns).await?;
    println!("publish to a subscriber's return: {ours}");
    println!("{}: {theirs}", bare.heard_name());
    println!(
        "  as multiples: p50 {:.2}, p99 {:.2}",
        ours.times(&theirs),
        ours.quantile(0.99).as_secs_f64() / theirs.quantile(0.99).as_secs_f64().max(1e-12)
    );
    let (ours, theirs) = figures::published_together(a, &*bare, messages).await?;
    println!("{messages} messages of 100 bytes at once: {ours:.0} per second");
    println!("{messages} times {}: {theirs:.0} per second", bare.append_name());
    println!("  ratio: {:.2}", ours / theirs);
    Ok(())
}
