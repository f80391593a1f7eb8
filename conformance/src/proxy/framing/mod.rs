//! Where one request or answer ends and the next begins: pure.

mod grpc;
mod redis;
#[cfg(test)]
mod tests;
mod zookeeper;

use super::Way;

/// What a proxy knows of what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing: what arrives in one piece is one request or answer.
    Bytes,
    /// Redis' protocol, either version. A command is a request.
    Redis,
    /// ZooKeeper's protocol. Pings are not counted; events are pushes.
    Zookeeper,
    /// gRPC as etcd speaks it. A call that ends is a request; what passes on streams that stay open (watches,
    /// beats) is not counted.
    Grpc,
}

/// What a frame is to whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A request that is answered, or its answer.
    Call,
    /// A request that is not answered, or what the server says unasked.
    Note,
    /// The protocol's own affair.
    Noise,
}

/// One request, answer or push, or part of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) kind: Kind,
    /// What is asked for, in a request of a protocol that says so.
    pub(super) command: Option<String>,
    /// What a request and its answer have in common, where answers come in any order.
    pub(super) stream: Option<u32>,
}

/// What the bytes begin with.
enum Next {
    /// A frame of so many bytes.
    Whole { length: usize, kind: Kind, command: Option<String>, stream: Option<u32> },
    /// The beginning of one.
    Part,
    /// Not this protocol.
    Foreign,
}

/// Splits one direction of one connection.
#[derive(Debug)]
pub(super) struct Splitter {
    protocol: Protocol,
    way: Way,
    /// Whether nothing has passed yet.
    first: bool,
    rest: Vec<u8>,
}

impl Splitter {
    pub(super) fn new(protocol: Protocol, way: Way) -> Self {
        Self { protocol, way, first: true, rest: Vec::new() }
    }

    /// Takes what arrived and gives every frame that is whole now. What turns out not to be of the protocol
    /// is passed as it comes from then on.
    pub(super) fn split(&mut self, arrived: &[u8]) -> Vec<Frame> {
        self.rest.extend_from_slice(arrived);
        let mut frames = Vec::new();
        let mut from = 0;
        while let Some(rest) = self.rest.get(from..).filter(|rest| !rest.is_empty()) {
            let next = match self.protocol {
                Protocol::Bytes => {
                    Next::Whole { length: rest.len(), kind: Kind::Call, command: None, stream: None }
                }
                Protocol::Redis => redis::next(rest),
                Protocol::Zookeeper => zookeeper::next(rest, self.way, self.first),
                Protocol::Grpc => grpc::next(rest, self.way, self.first),
            };
            match next {
                Next::Whole { length, kind, command, stream } => {
                    let bytes = rest.iter().take(length).copied().collect();
                    frames.push(Frame { bytes, kind, command, stream });
                    from += length;
                    self.first = false;
                }
                Next::Part => break,
                Next::Foreign => self.protocol = Protocol::Bytes,
            }
        }
        self.rest.drain(..from);
        frames
    }
}

/// The number that four bytes spell, the largest first.
fn number(bytes: &[u8], from: usize) -> Option<u32> {
    let four = bytes.get(from..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*four))
}
