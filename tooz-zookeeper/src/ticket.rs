//! A waiter's note on its place. Pure.

use bytes::Bytes;
use tooz_core::FencingToken;

/// Its own node, the one it waits for, and the token it will have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) node: String,
    pub(crate) predecessor: String,
    pub(crate) token: FencingToken,
    /// Whether the one it waits for was the first of all: when that goes, nobody is before it.
    pub(crate) leads: bool,
}

impl Ticket {
    /// As core keeps it. No node's name has a slash.
    pub(crate) fn write(&self) -> Bytes {
        Bytes::from(format!("{}/{}/{}/{}", self.token, u8::from(self.leads), self.node, self.predecessor))
    }

    /// Reads it back.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.splitn(4, '/');
        let token = FencingToken::new(parts.next()?.parse().ok()?);
        let leads = match parts.next()? {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        Some(Self { token, leads, node: parts.next()?.to_owned(), predecessor: parts.next()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_reads_back_and_anything_else_does_not() {
        for leads in [false, true] {
            let ticket = Ticket {
                node: "a__lock__0000000001".into(),
                predecessor: "é".into(),
                token: FencingToken::new(7),
                leads,
            };
            assert_eq!(Ticket::read(&ticket.write()), Some(ticket));
        }
        for bytes in [b"".as_slice(), b"7", b"7/1/a", b"7/2/a/b", b"x/0/a/b", b"\xff/0/a/b"] {
            assert_eq!(Ticket::read(bytes), None);
        }
    }
}
