//! Many processes on one topic: `messages --url URL [--publishers N] [--messages N] [--subscribers N]
//! [--reconnects N] [--kills N]`.
//!
//! Each process records what it published or read; the merged history is checked (C5). Subscribers close
//! and connect again so many times on the way. With `--kills`, so many publishers are killed with -9 and
//! others take their places; subscribers then read what there is in the end.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command speaks

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use conformance::arguments::Arguments;
use conformance::checkers::order;
use conformance::history::{Op, Recorder, merge};
use conformance::messages::{publish, read};
use tooz_core::{Coordinator, ErrorKind};

/// How long a store may be out of reach when a process begins.
const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "messages";
const KNOWN: &[&str] = &[
    "url",
    "publishers",
    "messages",
    "subscribers",
    "reconnects",
    "kills",
    "folder",
    "publisher",
    "subscriber",
];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("messages: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Outcome<bool> {
    let arguments = Arguments::read(std::env::args().skip(1), KNOWN)?;
    match (arguments.text("publisher"), arguments.text("subscriber")) {
        (None, None) => lead(&arguments),
        (Some(worker), _) | (_, Some(worker)) => work(&arguments, worker).map(|()| true),
    }
}

/// Connects, again where the connection breaks meanwhile: a program's start is its own to repeat.
async fn connect(url: &str, worker: &str) -> tooz_core::Result<Coordinator> {
    let begun = Instant::now();
    loop {
        match tooz::builder(url).member(worker).connect().await {
            Err(error) if error.kind() == ErrorKind::Unavailable && begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            connected => return connected,
        }
    }
}

/// One process's part.
fn work(arguments: &Arguments, worker: &str) -> Outcome<()> {
    let folder = PathBuf::from(arguments.text("folder").ok_or("no folder")?);
    let url = arguments.text("url").ok_or("no url")?;
    let messages = arguments.number("messages", 0)?;
    let recorder = Recorder::to_file(worker, &folder.join(format!("{worker}.jsonl")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if arguments.text("publisher").is_some() {
            let coord = connect(url, worker).await?;
            publish(&coord, TOPIC, messages, &recorder).await?;
            return Ok(coord.close().await?);
        }
        let reconnects = arguments.number("reconnects", 0)?;
        Ok(read(|| connect(url, worker), TOPIC, (messages, reconnects), &recorder).await?)
    })
}

fn lead(arguments: &Arguments) -> Outcome<bool> {
    let url = arguments.text("url").ok_or("which store? --url file:///tmp/messages")?;
    let publishers = arguments.number("publishers", 4)?;
    let messages = arguments.number("messages", 5000)?;
    let subscribers = arguments.number("subscribers", 4)?;
    let reconnects = arguments.number("reconnects", 50)?;
    let kills = arguments.number("kills", 0)?;
    let folder = std::env::temp_dir().join(format!("tooz-messages-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;

    let start = Instant::now();
    let spawn = |role: &str, worker: String, count: u64| -> std::io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args([role, &worker, "--messages", &count.to_string(), "--url", url, "--folder"])
            .arg(&folder);
        command.args(["--reconnects", &reconnects.to_string()]).spawn()
    };
    let publisher = |worker: String| spawn("--publisher", worker, messages);
    let readers = |count: u64| (0..subscribers).map(move |n| (format!("s{n}"), count));
    let mut children = Vec::new();
    for worker in 0..publishers {
        children.push(publisher(format!("p{worker}"))?);
    }
    let mut reading = Vec::new();
    if kills == 0 {
        for (worker, count) in readers(publishers * messages) {
            reading.push(spawn("--subscriber", worker, count)?);
        }
    }
    let mut killed = 0;
    let mut victims = children.iter_mut().enumerate().collect::<Vec<_>>();
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(40));
        let index = usize::try_from(kill % publishers.max(1))?;
        if let Some((number, child)) = victims.get_mut(index) {
            killed += usize::from(child.try_wait()?.is_none());
            child.kill()?;
            child.wait()?;
            **child = publisher(format!("p{number}-after-kill-{kill}"))?;
        }
    }
    finish(children)?;
    if kills > 0 {
        println!("{killed} of {kills} killed at work");
        let total = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
            let coord = connect(url, "leader").await?;
            let last = coord.topic(TOPIC).last().await?.map_or(0, |offset| offset.number());
            coord.close().await?;
            Ok::<_, tooz_core::Error>(last)
        })?;
        for (worker, count) in readers(total) {
            reading.push(spawn("--subscriber", worker, count)?);
        }
    }
    finish(reading)?;
    judge(&folder, url, start.elapsed(), publishers * messages)
}

fn finish(children: Vec<Child>) -> Outcome<()> {
    for mut child in children {
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("a process ended with {status}").into());
        }
    }
    Ok(())
}

fn judge(folder: &Path, url: &str, spent: Duration, least: u64) -> Outcome<bool> {
    let records = merge(folder)?;
    let count = |op: Op| records.iter().filter(|record| record.op == op).count();
    let (published, delivered) = (count(Op::Publish), count(Op::Deliver));
    let violations = order(&records);
    let rate = rate(published, spent);
    println!("{url}: {published} published, {delivered} delivered, {} violations", violations.len());
    println!("in {spent:.2?}: {rate:.0} published per second");
    violations.iter().take(20).for_each(|violation| println!("  {violation}"));
    let is_enough = u64::try_from(published)? >= least.min(1000) && delivered >= published;
    if !is_enough {
        println!("too little happened to prove anything");
    }
    if violations.is_empty() && is_enough {
        std::fs::remove_dir_all(folder)?;
    } else {
        println!("histories: {}", folder.display());
    }
    Ok(violations.is_empty() && is_enough)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: usize, spent: Duration) -> f64 {
    count as f64 / spent.as_secs_f64().max(1e-9)
}
