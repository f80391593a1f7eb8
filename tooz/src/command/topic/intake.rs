//! What is to be sent: given once, or a line at a time on standard input.

use std::io::{BufRead, IsTerminal, Read};
use std::os::unix::ffi::OsStrExt;
use std::thread;

use serde_json::json;
use tokio::sync::mpsc::{Receiver, channel};
use tooz::MAX_PAYLOAD_BYTES;

use crate::command::args::Data;
use crate::command::failure::Failure;
use crate::command::output::Output;

/// The payloads, one after the other.
pub(super) struct Intake {
    given: Option<Vec<u8>>,
    lines: Option<Receiver<Result<Vec<u8>, Failure>>>,
}

impl Intake {
    pub(super) fn of(data: &Data) -> Self {
        match &data.data {
            Some(given) => Self { given: Some(given.as_bytes().to_vec()), lines: None },
            None => Self { given: None, lines: Some(listen()) },
        }
    }

    /// Tells a person at a terminal what is waited for.
    pub(super) fn prompt(&self, out: Output, what: &str) {
        if self.lines.is_some() && std::io::stdin().is_terminal() {
            let note = json!({ "note": "reading lines" });
            out.note(format_args!("each line is {what}; Ctrl-D ends"), &note);
        }
    }

    /// The next payload; `None` after the last. May be dropped and asked again.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(lines) = self.lines.as_mut() {
            return lines.recv().await.transpose();
        }
        Ok(self.given.take())
    }
}

/// A thread of its own: a read that blocks must not keep the process from ending. One line ahead at most.
fn listen() -> Receiver<Result<Vec<u8>, Failure>> {
    let (lines, heard) = channel(1);
    thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        for number in 1.. {
            let line = match read_line(&mut input, number) {
                Ok(None) => return,
                Ok(Some(line)) => Ok(line),
                Err(failure) => Err(failure),
            };
            let was_last = line.is_err();
            if lines.blocking_send(line).is_err() || was_last {
                return;
            }
        }
    });
    heard
}

/// One line without its end, never more of it than a payload may have; `None` at the end of the input.
fn read_line(input: &mut impl BufRead, number: u64) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let most = u64::try_from(MAX_PAYLOAD_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = input.take(most).read_until(b'\n', &mut line);
    read.map_err(|error| Failure::system("read standard input", &error))?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(last) => {
            line.push(last);
            if line.len() > MAX_PAYLOAD_BYTES {
                let what = format!("has more than {MAX_PAYLOAD_BYTES} bytes (1 MiB)");
                return Err(Failure::input(number, what));
            }
            Ok(Some(line))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::exit::Exit;

    #[test]
    fn lines_are_payloads_also_empty_ones_and_one_without_an_end() {
        let mut input = b"one\n\ntwo\xff".as_slice();
        let mut lines = vec![];
        while let Some(line) = read_line(&mut input, 1).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, [b"one".to_vec(), vec![], b"two\xff".to_vec()]);
    }

    #[test]
    fn a_line_beyond_a_payload_is_refused() {
        let most = [vec![b'x'; MAX_PAYLOAD_BYTES], vec![b'\n']].concat();
        assert_eq!(
            read_line(&mut most.as_slice(), 1).unwrap().map(|line| line.len()),
            Some(MAX_PAYLOAD_BYTES)
        );
        let more = vec![b'x'; MAX_PAYLOAD_BYTES + 1];
        let first = read_line(&mut more.as_slice(), 1).unwrap_err();
        assert!(first.message.contains("1 MiB") && first.exit == Exit::Usage, "{first:?}");
        let later = read_line(&mut more.as_slice(), 7).unwrap_err();
        assert!(later.message.contains("line 7 of") && later.exit == Exit::Input, "{later:?}");
    }
}
