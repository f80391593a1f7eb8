//! Acquires are dropped at their awaits: nothing is left behind.

use std::time::{Duration, Instant};

use super::{Line, Order, Outcome, Run};
use crate::drops::{drop_acquires, open_files, remains};

const NAME: &str = "dropped";
/// How soon the name is to be free.
const SOON: Duration = Duration::from_secs(1);
/// Between two looks at what is open.
const LOOK: Duration = Duration::from_millis(5);
/// How long the engine's thread may take to end after its last coordinator.
const ENDED: Duration = Duration::from_secs(10);

pub(super) fn run(order: &Order) -> Outcome<Line> {
    let run = Run::start("dropped", order)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut line = Line::new("dropped", &order.kind.to_string(), order.volume);
    runtime.block_on(drop_many(&run, order, &mut line))?;
    Ok(run.end(line))
}

async fn drop_many(run: &Run, order: &Order, line: &mut Line) -> Outcome<()> {
    let (registry, url) = (tooz::registry(), run.store.url());
    // What a client library opens once for the whole process is none of a dropped acquire's.
    registry.builder(&url).member("first").connect().await?.close().await?;
    let before = settled_files().await;
    let mut coords = Vec::new();
    for member in ["a", "b", "c", "observer"] {
        coords.push(registry.builder(&url).member(member).connect().await?);
    }
    let observer = coords.pop().ok_or("no observer")?;
    let dropped = drop_acquires(&coords, NAME, usize::try_from(order.volume)?, order.seed).await;
    let left = remains(&observer, NAME, SOON).await?;
    coords.push(observer);
    for coord in coords {
        coord.close().await?;
    }
    let began = Instant::now();
    while open_files() > before && began.elapsed() < ENDED {
        tokio::time::sleep(LOOK).await;
    }
    let files = open_files().saturating_sub(before);

    let cut = u64::try_from(dropped.cut + dropped.parked)?;
    (line.done, line.hits, line.least_hits) = (order.volume, cut, order.volume / 4);
    line.fact("dropped at an await", dropped.cut);
    line.fact("dropped in the queue", dropped.parked);
    line.fact("granted", dropped.granted);
    line.violate(left.iter().map(|claim| format!("left behind: {claim}")));
    line.violate((files > 0).then(|| format!("{files} open files more than before: {:?}", links())));
    line.violate((dropped.failed > 0).then(|| format!("{} acquires failed", dropped.failed)));
    Ok(())
}

/// How many files are open once they do not get fewer any more.
async fn settled_files() -> usize {
    let (mut least, mut since) = (open_files(), Instant::now());
    while since.elapsed() < SOON {
        tokio::time::sleep(LOOK).await;
        if open_files() < least {
            (least, since) = (open_files(), Instant::now());
        }
    }
    least
}

/// What is open.
fn links() -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    open.filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string())).collect()
}
