//! Drops many acquires at random awaits and prints what is left: `drops --url URL [--count N] [--seed N]`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command speaks

use std::process::ExitCode;
use std::time::{Duration, Instant};

use conformance::arguments::Arguments;
use conformance::drops::{drop_acquires, open_files, remains};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("drops: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run() -> Result<bool, Box<dyn std::error::Error>> {
    let arguments = Arguments::read(std::env::args().skip(1), &["url", "count", "seed"])?;
    let url = arguments.text("url").ok_or("which store? --url file:///tmp/drops")?.to_owned();
    let (count, seed) = (arguments.number("count", 10_000)?, arguments.number("seed", 1)?);
    let registry = tooz::registry();
    let files_before = open_files();
    let mut coords = Vec::new();
    for member in ["a", "b", "c"] {
        coords.push(registry.builder(&*url).member(member).connect().await?);
    }

    let start = Instant::now();
    let dropped = drop_acquires(&coords, "drops", usize::try_from(count)?, seed).await;
    let spent = start.elapsed();
    let observer = registry.builder(&*url).member("observer").connect().await?;
    let left = remains(&observer, "drops", Duration::from_secs(1)).await?;
    coords.push(observer);
    for coord in coords {
        coord.close().await?;
    }
    // The engine's thread ends with its last coordinator, a moment after it.
    let until = Instant::now() + Duration::from_secs(10);
    while open_files() > files_before && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let files_after = open_files();

    println!("{count} acquires begun on {url} with seed {seed} in {spent:.1?}: {dropped:?}");
    println!(
        "left behind: {} claims, {} open files more than before",
        left.len(),
        files_after.saturating_sub(files_before)
    );
    left.iter().for_each(|line| println!("  {line}"));
    if files_after > files_before {
        let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        open.for_each(|entry| println!("  open: {:?}", std::fs::read_link(entry.path())));
    }
    Ok(left.is_empty() && files_after <= files_before && dropped.failed == 0)
}
