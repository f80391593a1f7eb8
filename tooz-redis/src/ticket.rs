//! The note on a place in a queue that core hands back with it.

use bytes::Bytes;
use tooz_core::Moment;

/// Which place, when it was asked for, and whether a stranger has to be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The place's number in the store.
    pub(crate) ticket: u64,
    /// Before the request that the store took the place's time to live from.
    pub(crate) asked: Moment,
    /// Whether the claim is the first in the queue of a seat that a stranger holds.
    pub(crate) foreign: bool,
}

impl Ticket {
    pub(crate) fn encode(self) -> Bytes {
        let mut bytes = Vec::with_capacity(17);
        bytes.extend_from_slice(&self.ticket.to_be_bytes());
        bytes.extend_from_slice(&self.asked.as_nanos().to_be_bytes());
        bytes.push(u8::from(self.foreign));
        bytes.into()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (ticket, rest) = bytes.split_first_chunk()?;
        let (asked, rest) = rest.split_first_chunk()?;
        let [foreign] = rest else { return None };
        let asked = Moment::from_nanos(u64::from_be_bytes(*asked));
        Some(Self { ticket: u64::from_be_bytes(*ticket), asked, foreign: *foreign == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_reads_back_and_nothing_else_is_one() {
        let ticket = Ticket { ticket: 7, asked: Moment::from_nanos(u64::MAX), foreign: true };
        assert_eq!(Ticket::decode(&ticket.encode()), Some(ticket));
        assert_eq!(Ticket::decode(b""), None);
        assert_eq!(Ticket::decode(&[0; 18]), None);
    }
}
