//! Many processes on one lock: `contend --url URL [--processes N] [--cycles N] [--kills N]`.
//!
//! Each process records every call; the merged history is checked (C1 to C3, and that enough happened), and
//! for `file` URLs the same cycles under a plain `flock` are timed in the same run. With `--kills`, so many
//! processes are killed with -9 on the way and others take their places.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command speaks

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use conformance::arguments::Arguments;
use conformance::checkers::{Least, Register, Traffic, check, grants};
use conformance::contend::{contend, contend_plainly};
use conformance::history::{Recorder, merge};

const NAME: &str = "contended";
const KNOWN: &[&str] = &["url", "processes", "cycles", "kills", "folder", "worker"];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("contend: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Outcome<bool> {
    let arguments = Arguments::read(std::env::args().skip(1), KNOWN)?;
    match arguments.text("worker") {
        Some(worker) => work(&arguments, worker).map(|()| true),
        None => lead(&arguments),
    }
}

/// One process's part.
fn work(arguments: &Arguments, worker: &str) -> Outcome<()> {
    let folder = PathBuf::from(arguments.text("folder").ok_or("no folder")?);
    let cycles = usize::try_from(arguments.number("cycles", 0)?)?;
    let recorder = Recorder::to_file(worker, &folder.join(format!("{worker}.jsonl")))?;
    let mut register = Register::open(&folder.join("register"))?;
    let Some(url) = arguments.text("url") else {
        return Ok(contend_plainly(&folder.join("plain"), NAME, cycles, &recorder, &mut register)?);
    };
    let registry = tooz::registry();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let coord = registry.builder(url).member(worker).connect().await?;
        contend(&coord, NAME, cycles, &recorder, &mut register).await?;
        Ok(coord.close().await?)
    })
}

fn lead(arguments: &Arguments) -> Outcome<bool> {
    let url = arguments.text("url").ok_or("which store? --url file:///tmp/contend")?;
    let processes = usize::try_from(arguments.number("processes", 8)?)?;
    let cycles = usize::try_from(arguments.number("cycles", 10_000)?)?;
    let kills = usize::try_from(arguments.number("kills", 0)?)?;
    let base = std::env::temp_dir().join(format!("tooz-contend-{}", std::process::id()));
    let (ours, plain) = (base.join("ours"), base.join("plain"));
    for folder in [&ours, &plain] {
        std::fs::create_dir_all(folder)?;
    }

    let each = cycles.div_ceil(processes);
    let (spent, killed) = race(&ours, Some(url), processes, each, kills)?;
    let records = merge(&ours)?;
    let granted = grants(&records);
    let traffic = Traffic::of(&records, &granted);
    let rate = per_second(granted.len(), spent);
    println!("{url}: {processes} processes, {} grants in {spent:.2?}: {rate:.0} per second", granted.len());
    println!("{traffic:?}, {killed} of {kills} killed at work");
    if url.starts_with("file:") {
        let (spent, _) = race(&plain, None, processes, each, 0)?;
        let records = merge(&plain)?;
        let locked = grants(&records);
        let traffic = Traffic::of(&records, &locked);
        let rate = per_second(locked.len(), spent);
        println!(
            "plain flock: {processes} processes, {} locks in {spent:.2?}: {rate:.0} per second",
            locked.len()
        );
        println!("{traffic:?}");
    }

    let least = Least {
        procs: processes,
        grants: if kills == 0 { processes * each } else { each },
        hand_overs: processes.min(2) - 1,
        contended: processes.min(2) - 1,
        writes: each,
    };
    let violations = check(&records, &least);
    println!("C1, C2, C3 and traffic: {} violations", violations.len());
    violations.iter().take(20).for_each(|violation| println!("  {violation}"));
    if violations.is_empty() {
        std::fs::remove_dir_all(&base)?;
    } else {
        println!("histories: {}", base.display());
    }
    Ok(violations.is_empty())
}

/// Starts the processes together and waits for all of them; kills and replaces so many on the way. Tells how long that took,
/// and how many of the killed were still at work.
fn race(
    folder: &Path,
    url: Option<&str>,
    processes: usize,
    each: usize,
    kills: usize,
) -> Outcome<(Duration, usize)> {
    let start = Instant::now();
    let spawn = |worker: String| -> std::io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--worker").arg(worker).arg("--cycles").arg(each.to_string()).arg("--folder").arg(folder);
        command.args(url.iter().flat_map(|url| ["--url", url])).spawn()
    };
    let mut children = Vec::new();
    for worker in 0..processes {
        children.push(spawn(format!("p{worker}"))?);
    }
    let mut killed = 0;
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(30));
        let victim = kill % processes.max(1);
        if let Some(child) = children.get_mut(victim) {
            killed += usize::from(child.try_wait()?.is_none());
            child.kill()?;
            child.wait()?;
            *child = spawn(format!("p{victim}-after-kill-{kill}"))?;
        }
    }
    for mut child in children {
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("a process ended with {status}").into());
        }
    }
    Ok((start.elapsed(), killed))
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per_second(count: usize, spent: Duration) -> f64 {
    count as f64 / spent.as_secs_f64().max(1e-9)
}
