//! What the command prints: for people, or as JSON for machines.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde_json::{Map, Value, json};
use tooz::is_unruly;

use super::failure::Failure;

/// Where results and notes go. Results go to standard output, everything else to standard error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints one result in the form wanted, at once.
    pub(crate) fn say(self, human: impl Display, machine: &Value) -> Result<(), Failure> {
        if self.json { line(machine) } else { line(human) }
    }

    /// Prints one result whose text somebody else chose: byte for byte where a program reads it, harmless
    /// where a terminal shows it.
    pub(crate) fn payload(self, head: &str, raw: &[u8], machine: &Value) -> Result<(), Failure> {
        if self.json {
            return line(machine);
        }
        let out = io::stdout();
        if out.is_terminal() {
            return line(format_args!("{head}{}", plain(&String::from_utf8_lossy(raw))));
        }
        let whole = [head.as_bytes(), raw, b"\n"].concat();
        let mut out = out.lock();
        written(out.write_all(&whole).and_then(|()| out.flush()))
    }

    /// Prints many results: a line each for people, one array for machines.
    pub(crate) fn list<T: Display>(self, rows: Vec<(T, Value)>) -> Result<(), Failure> {
        if self.json {
            return line(Value::Array(rows.into_iter().map(|(_, machine)| machine).collect()));
        }
        rows.into_iter().try_for_each(|(human, _)| line(human))
    }

    /// Tells what is going on, on standard error.
    pub(crate) fn note(self, human: impl Display, machine: &Value) {
        if self.json { complain(&machine.to_string()) } else { complain(&format!("tooz: {human}")) }
    }

    /// Says what went wrong.
    pub(crate) fn fail(self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        if self.json {
            let facts = [("kind", failure.kind), ("message", failure.message.as_str())];
            let facts = facts.into_iter().chain(failure.facts.iter().copied());
            let error: Map<_, _> = facts.map(|(name, word)| (name.to_owned(), word.into())).collect();
            complain(&json!({ "error": error }).to_string());
        } else {
            complain(&format!("tooz: {}", plain(&failure.message)));
        }
    }
}

/// The text with everything escaped that could move a terminal's cursor or turn its text around.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unruly(c) { plain.extend(c.escape_default()) } else { plain.push(c) }
    }
    plain
}

fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    written(writeln!(out, "{text}").and_then(|()| out.flush()))
}

fn written(outcome: io::Result<()>) -> Result<(), Failure> {
    outcome.map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        _ => Failure::system("write to standard output", &e),
    })
}

/// A note nobody can read is no reason to stop.
fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(plain("a\u{1b}[2J\n\u{9b}é"), "a\\u{1b}[2J\\n\\u{9b}é");
        assert_eq!(plain("a\u{202e}b\u{2066}שלום"), "a\\u{202e}b\\u{2066}שלום");
    }
}
