//! Rows of faults against real servers: `rows ROW [--driver D] [--volume N] [--seed N] [--cap SECONDS]
//! [--span SECONDS] [--slack-ms N] [--json FILE]`.
//!
//! `rows list` names the rows, `rows all` runs each but the soak on each of its stores. `rows replay FOLDER [--driver D]`
//! judges the history that a failed run kept. `rows table --json FILE --into DOCUMENT`
//! puts the figures of a file, the newest of each row, into a document, between its two marks.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a command speaks

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use conformance::arguments::Arguments;
use conformance::rows::{Kind, Line, Order, Outcome, ROWS, Row, SOAK, child, parts, put, replay, table};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rows: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Outcome<bool> {
    let mut words = std::env::args().skip(1);
    let row = words.next().ok_or("which row? `rows list` names them")?;
    match row.as_str() {
        "list" => {
            for row in ROWS {
                let volumes = row.volumes.iter().map(|(kind, volume)| format!("{kind} {volume}"));
                println!("{:<14} {}", row.name, volumes.collect::<Vec<_>>().join(", "));
            }
            Ok(true)
        }
        "worker" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(parts::play(words)).map(|()| true)
        }
        "replay" => {
            let folder = words.next().ok_or("which folder?")?;
            let arguments = Arguments::read(words, &["driver"])?;
            let kind = arguments.text("driver").map(str::parse::<Kind>).transpose()?;
            let line = replay(Path::new(&folder), kind.is_some_and(Kind::forgets))?;
            println!("{line}");
            Ok(line.violations == 0)
        }
        "child" => child::play(words).map(|()| true),
        "table" => write_table(&Arguments::read(words, &["json", "into"])?),
        "all" => {
            let arguments = Arguments::read(words, KNOWN)?;
            let only = arguments.text("driver").map(str::parse::<Kind>).transpose()?;
            let is_run =
                |row: &&Row| only.is_none_or(|only| row.volumes.iter().any(|(kind, _)| *kind == only));
            let rows = ROWS.iter().filter(|row| row.name != SOAK).filter(is_run);
            rows.into_iter().try_fold(true, |passed, row| Ok(run_row(row, &arguments)? && passed))
        }
        row => run_row(Row::find(row)?, &Arguments::read(words, KNOWN)?),
    }
}

const KNOWN: &[&str] = &["driver", "volume", "seed", "cap", "span", "slack-ms", "json"];

fn run_row(row: &Row, arguments: &Arguments) -> Outcome<bool> {
    let only = arguments.text("driver").map(str::parse::<Kind>).transpose()?;
    let volumes: Vec<_> =
        row.volumes.iter().filter(|(kind, _)| only.is_none_or(|only| only == *kind)).collect();
    if volumes.is_empty() {
        return Err(format!(
            "the row {} is not run on {}",
            row.name,
            only.map(|only| only.to_string()).unwrap_or_default()
        )
        .into());
    }
    let mut passed = true;
    for (kind, volume) in volumes {
        let order = Order {
            kind: *kind,
            volume: arguments.number("volume", *volume)?,
            seed: arguments.number("seed", 1)?,
            cap: Duration::from_secs(arguments.number("cap", 900)?),
            span: Duration::from_secs(arguments.number("span", 60)?),
            slack: Duration::from_millis(arguments.number("slack-ms", 0)?),
        };
        let line = row.run(&order)?;
        println!("{line}");
        passed &= line.passes();
        if let Some(file) = arguments.text("json") {
            line.append(Path::new(file))?;
        }
    }
    Ok(passed)
}

fn write_table(arguments: &Arguments) -> Outcome<bool> {
    let text = |name: &str| arguments.text(name).ok_or_else(|| format!("no --{name}"));
    let (file, document) = (text("json")?, text("into")?);
    let before = std::fs::read_to_string(document)?;
    std::fs::write(document, put(&before, &table(&Line::newest(Path::new(file))?))?)?;
    Ok(true)
}
