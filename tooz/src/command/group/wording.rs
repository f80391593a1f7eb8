//! What a member says about itself: given once, or a line at a time on standard input.

use std::io::BufRead;
use std::thread;

use serde_json::Value;
use tokio::sync::mpsc::{Receiver, channel};
use tooz::Capabilities;

use crate::command::failure::Failure;

/// A member's words, the first and those that replace them.
#[derive(Debug)]
pub(super) struct Wording {
    given: Option<Capabilities>,
    lines: Option<Receiver<(u64, Result<String, String>)>>,
}

impl Wording {
    /// JSON, or `-` for standard input with one JSON value a line.
    pub(super) fn read(text: &str) -> Result<Self, Failure> {
        if text == "-" {
            return Ok(Self { given: None, lines: Some(listen()) });
        }
        let given = parse(text).map_err(|wrong| Failure::usage(format!("--capabilities {wrong}")))?;
        Ok(Self { given: Some(given), lines: None })
    }

    /// What to join with.
    pub(super) async fn first(&mut self) -> Result<Capabilities, Failure> {
        match (self.given.take(), self.lines.as_mut()) {
            (Some(given), _) => Ok(given),
            (None, Some(lines)) => match lines.recv().await {
                Some((number, line)) => {
                    line.and_then(|line| parse(&line)).map_err(|wrong| Failure::input(number, wrong))
                }
                None => Err(Failure::usage("--capabilities -: standard input ended before the first line")),
            },
            (None, None) => Ok(Capabilities::default()),
        }
    }

    /// What replaces it, or why the line does not. Never ends where nothing will; may be dropped and asked again.
    pub(super) async fn next(&mut self) -> Result<Capabilities, String> {
        if let Some(lines) = self.lines.as_mut() {
            if let Some((number, line)) = lines.recv().await {
                let read = line.and_then(|line| parse(&line));
                return read.map_err(|wrong| format!("line {number} of standard input {wrong}"));
            }
            self.lines = None;
        }
        std::future::pending().await
    }
}

/// A thread of its own: a read that blocks must not keep the process from ending.
fn listen() -> Receiver<(u64, Result<String, String>)> {
    let (lines, heard) = channel(1);
    thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        for number in 1.. {
            let mut line = Vec::new();
            let read = input.read_until(b'\n', &mut line);
            let failed = read.is_err();
            let line = match read {
                Ok(0) => return,
                Ok(_) => String::from_utf8(line).map_err(|e| format!("is no text: {}", e.utf8_error())),
                Err(e) => Err(format!("cannot be read: {e}")),
            };
            if lines.blocking_send((number, line)).is_err() || failed {
                return;
            }
        }
    });
    heard
}

/// What is wrong is said as what comes after the name of the line or the option.
fn parse(text: &str) -> Result<Capabilities, String> {
    let value: Value = serde_json::from_str(text.trim_end_matches('\n'))
        .map_err(|e| format!("is no JSON: {e}; write it like '{{\"weight\": 3}}'"))?;
    Capabilities::of(&value).map_err(|e| format!("cannot be taken: {e}"))
}
