//! Where one request or answer ends and the next begins: pure.

use crate::servers::resp::{Decoded, Value, decode};

/// What a proxy knows of what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing: what arrives in one piece is one request or answer.
    Bytes,
    /// Redis' protocol, either version.
    Redis,
}

/// One request, answer or push.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    /// The command's name, if it is a request of a known protocol.
    pub(super) command: Option<String>,
    /// Whether an answer belongs to it (a request), or it is one (from the server).
    pub(super) answered: bool,
}

/// Splits one direction of one connection.
#[derive(Debug)]
pub(super) struct Splitter {
    protocol: Protocol,
    rest: Vec<u8>,
}

impl Splitter {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { protocol, rest: Vec::new() }
    }

    /// Takes what arrived and gives every frame that is whole now. What turns out not to be of the protocol
    /// is passed as it comes from then on.
    pub(super) fn split(&mut self, arrived: &[u8]) -> Vec<Frame> {
        self.rest.extend_from_slice(arrived);
        let mut frames = Vec::new();
        let mut from = 0;
        while self.protocol == Protocol::Redis {
            let Some(rest) = self.rest.get(from..).filter(|rest| !rest.is_empty()) else { break };
            match decode(rest) {
                Decoded::Whole(value, length, push) => {
                    let bytes = rest.iter().take(length).copied().collect();
                    from += length;
                    let command = command(&value);
                    frames.push(Frame { bytes, answered: !push && !is_about_channels(&value), command });
                }
                Decoded::Part => break,
                Decoded::Foreign => self.protocol = Protocol::Bytes,
            }
        }
        self.rest.drain(..from);
        if self.protocol == Protocol::Bytes && !self.rest.is_empty() {
            frames.push(Frame { bytes: std::mem::take(&mut self.rest), command: None, answered: true });
        }
        frames
    }
}

fn command(value: &Value) -> Option<String> {
    match value.list().first()? {
        Value::Text(name) => Some(String::from_utf8_lossy(name).to_ascii_uppercase()),
        _ => None,
    }
}

/// Subscribing is answered by pushes, and in the old version by what merely looks like an answer.
fn is_about_channels(value: &Value) -> bool {
    const KINDS: &[&str] = &["SUBSCRIBE", "UNSUBSCRIBE", "MESSAGE"];
    let Some(word) = command(value) else { return false };
    let stem = word.strip_prefix(['P', 'S']).filter(|stem| KINDS.contains(stem)).unwrap_or(&word);
    KINDS.contains(&stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(splitter: &mut Splitter, arrived: &str) -> Vec<(String, bool)> {
        let frames = splitter.split(arrived.as_bytes());
        frames.into_iter().map(|frame| (String::from_utf8(frame.bytes).unwrap(), frame.answered)).collect()
    }

    #[test]
    fn commands_are_split_wherever_the_network_split_them() {
        let text = "*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n";
        let whole = split(&mut Splitter::new(Protocol::Redis), text);
        assert_eq!(whole.iter().map(|(_, answered)| *answered).collect::<Vec<_>>(), [true, true, false]);

        let mut splitter = Splitter::new(Protocol::Redis);
        let pieces: Vec<_> =
            text.split_inclusive('\n').flat_map(|piece| split(&mut splitter, piece)).collect();
        assert_eq!(pieces, whole);
    }

    #[test]
    fn pushes_are_no_answers() {
        let text = "+OK\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n*0\r\n_\r\n";
        let frames = split(&mut Splitter::new(Protocol::Redis), text);
        assert_eq!(
            frames.iter().map(|(_, answered)| *answered).collect::<Vec<_>>(),
            [true, false, false, true, true]
        );
    }

    #[test]
    fn what_is_not_of_the_protocol_passes_unchanged() {
        let mut splitter = Splitter::new(Protocol::Redis);
        assert_eq!(split(&mut splitter, "GET / HTTP/1.1\r\n"), [("GET / HTTP/1.1\r\n".to_owned(), true)]);
        assert_eq!(split(&mut splitter, "*1\r\n"), [("*1\r\n".to_owned(), true)]);
    }
}
