//! Partitioning: three workers share a thousand jobs without asking anyone; one leaves, and only its jobs move.
//!
//! ```text
//! cargo run -p tooz --example partition
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use tooz::{Changes, Coordinator, Move, Partitioner};

mod backend;

const GROUP: &str = "example-partition";

#[tokio::main]
async fn main() -> tooz::Result<()> {
    let url = backend::url();
    tooz::with(url.clone(), "worker-1", |coord| async move {
        let group = coord.group(GROUP);
        let one = group.join_partitioned(1).await?;
        let mut seen = one.changes();
        tooz::with(&url, "worker-2", |coord| second(&url, coord, &mut seen)).await?;
        show(&one);
        one.leave().await?;
        group.delete().await
    })
    .await
}

async fn second(url: &str, coord: Coordinator, seen_by_one: &mut Changes) -> tooz::Result<()> {
    let two = coord.group(GROUP).join_partitioned(1).await?;
    tooz::with(url, "worker-3", |coord| third(coord, &mut *seen_by_one)).await?;
    until(seen_by_one, 2).await?;
    show(&two);
    two.leave().await?;
    until(seen_by_one, 1).await
}

async fn third(coord: Coordinator, seen_by_one: &mut Changes) -> tooz::Result<()> {
    let three = coord.group(GROUP).join_partitioned(2).await?;
    until(seen_by_one, 3).await?;
    show(&three);
    three.leave().await
}

/// Follows what moves until so many share the jobs.
async fn until(changes: &mut Changes, members: usize) -> tooz::Result<()> {
    loop {
        let moves = changes.next().await?;
        let told: Vec<_> = jobs().filter_map(|job| moves.of(job)).collect();
        let mine = told.iter().filter(|moved| matches!(moved, Move::ToMe(_))).count();
        println!(
            "  {} share the jobs: {mine} to worker-1, {} away from it",
            moves.after().shares().len(),
            told.len() - mine
        );
        if moves.after().shares().len() == members {
            return Ok(());
        }
    }
}

/// Everybody computes the same: it is as true for the others as for the one who tells.
fn show(part: &Partitioner) {
    let ring = part.ring();
    let shares = ring.shares().iter().map(|share| {
        let jobs = jobs().filter(|job| ring.is_owner(share.member.as_str(), job)).count();
        format!("{} (weight {}) has {jobs}", share.member, share.weight)
    });
    println!("{}: {}", part.me(), shares.collect::<Vec<_>>().join(", "));
}

fn jobs() -> impl Iterator<Item = String> {
    (1..=1_000).map(|number| format!("job-{number}"))
}
