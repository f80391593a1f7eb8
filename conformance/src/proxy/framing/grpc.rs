//! gRPC: calls on the streams of HTTP/2.

use super::{Kind, Next, Way, number};

/// What a client begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length, type, flags and stream of a frame.
const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;

pub(super) fn next(bytes: &[u8], way: Way, first: bool) -> Next {
    if first && way == Way::Up {
        if bytes.starts_with(PREFACE) {
            return Next::Whole { length: PREFACE.len(), kind: Kind::Noise, command: None, stream: None };
        }
        return if PREFACE.starts_with(bytes) { Next::Part } else { Next::Foreign };
    }
    let (Some(head), Some(stream)) = (bytes.first_chunk::<HEAD>(), number(bytes, 5)) else {
        return Next::Part;
    };
    let [a, b, c, kind, flags, ..] = *head;
    let length = HEAD + usize::from(a) * 65_536 + usize::from(b) * 256 + usize::from(c);
    if bytes.len() < length {
        return Next::Part;
    }
    // A call is whole when its sender has no more to say: the client after its message, the server after what
    // follows its own.
    let ends = matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0;
    let kind = if ends { Kind::Call } else { Kind::Noise };
    Next::Whole { length, kind, command: None, stream: Some(stream).filter(|stream| *stream > 0) }
}
