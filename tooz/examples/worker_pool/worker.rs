//! One worker: does the jobs that are its own, and tells everybody.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tooz::{Coordinator, From};

use crate::{JOBS, Outcome, announced, connect, key};

pub(crate) async fn run(url: &str, pool: &str, name: &str) -> Outcome {
    let coord = connect(url, name).await?;
    tooz::scope(coord, |coord| async move { work(&coord, pool).await }).await
}

async fn work(coord: &Coordinator, pool: &str) -> Outcome {
    let topic = coord.topic(pool);
    // From the beginning: a worker that comes late has to know what is done.
    let mut announcements = topic.subscribe(From::Beginning).await?;
    let me = coord.group(pool).join_partitioned(1).await?;
    let mut changes = me.changes();
    let mut open: BTreeSet<u32> = (1..=JOBS).collect();

    while !open.is_empty() {
        if let Some(job) = open.iter().copied().find(|job| me.is_mine(key(*job))) {
            // Whoever is killed here leaves the job to others. Whoever is killed after the work and before
            // the announcement has it done twice: a job must bear that, or be done under a lock with a
            // fencing token.
            sleep(Duration::from_millis(5)).await;
            topic.publish(key(job)).await?;
            open.remove(&job);
            // What others have announced meanwhile, without waiting for more of it.
            while let Ok(delivery) = timeout(Duration::ZERO, announcements.next()).await {
                open.remove(&announced(delivery?)?.0);
            }
        } else {
            // Nothing to do: until everything is done, or somebody's jobs become ours.
            tokio::select! {
                delivery = announcements.next() => drop(open.remove(&announced(delivery?)?.0)),
                moves = changes.next() => drop(moves?),
            }
        }
    }
    Ok(me.leave().await?)
}
