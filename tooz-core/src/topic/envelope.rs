//! What stands before the payload of a letter between members. Pure.
//!
//! `version (1 byte, 1) · kind (1 byte: 0 letter, 1 request, 2 reply) · request id (16 bytes, zero for a
//! letter) · payload`. A letter of a version we do not know is not guessed at.

use bytes::{BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;
const HEAD: usize = 18;

/// A letter without its sender, which the channel tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) kind: Kind,
    pub(crate) payload: Bytes,
}

/// What a letter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be read.
    Letter,
    /// To be answered.
    Request([u8; 16]),
    /// The answer.
    Reply([u8; 16]),
}

impl Envelope {
    pub(crate) fn seal(&self) -> Bytes {
        let (kind, id) = match self.kind {
            Kind::Letter => (0, [0; 16]),
            Kind::Request(id) => (1, id),
            Kind::Reply(id) => (2, id),
        };
        let mut sealed = BytesMut::with_capacity(HEAD + self.payload.len());
        sealed.put_u8(VERSION);
        sealed.put_u8(kind);
        sealed.put_slice(&id);
        sealed.put_slice(&self.payload);
        sealed.freeze()
    }

    /// `None` for what is no letter of ours.
    pub(crate) fn open(sealed: &Bytes) -> Option<Self> {
        let (head, _) = sealed.split_first_chunk::<HEAD>()?;
        let [version, kind, id @ ..] = *head;
        let kind = match (version, kind) {
            (VERSION, 0) => Kind::Letter,
            (VERSION, 1) => Kind::Request(id),
            (VERSION, 2) => Kind::Reply(id),
            _ => return None,
        };
        Some(Self { kind, payload: sealed.slice(HEAD..) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_open_to_what_was_sealed() {
        for kind in [Kind::Letter, Kind::Request([7; 16]), Kind::Reply([9; 16])] {
            for payload in [Bytes::new(), Bytes::from_static(b"hello")] {
                let envelope = Envelope { kind, payload };
                assert_eq!(Envelope::open(&envelope.seal()), Some(envelope));
            }
        }
    }

    #[test]
    fn foreign_bytes_and_newer_versions_are_no_letters() {
        let mut newer = Envelope { kind: Kind::Letter, payload: Bytes::new() }.seal().to_vec();
        newer[0] = 2;
        let mut odd = Envelope { kind: Kind::Letter, payload: Bytes::new() }.seal().to_vec();
        odd[1] = 3;
        for bytes in [vec![], vec![1], vec![1; 17], newer, odd] {
            assert_eq!(Envelope::open(&bytes.into()), None);
        }
    }
}
