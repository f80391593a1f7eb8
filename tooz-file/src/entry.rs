//! What stands in the index of a topic's segment. Pure; written by us, read as if by an enemy.

use tooz_core::{Incarnation, MessageId};

/// The size of the header and of every entry.
pub(crate) const SIZE: usize = 64;

const MAGIC: &[u8; 16] = b"tooz-file log 1\n";

/// A block whose last four bytes are the CRC-32 of the others.
type Block = [u8; SIZE];

/// The first block of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The channel's life: the same in all its segments.
    pub(crate) incarnation: Incarnation,
    /// The number of the first message in it.
    pub(crate) first: u64,
}

/// One message that was published, by the very fact that this stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: MessageId,
    pub(crate) number: u64,
    /// By the wall clock, in microseconds.
    pub(crate) written_us: u64,
    /// Where its data begin.
    pub(crate) position: u64,
    /// How long they are: the sender's name and the body.
    pub(crate) length: u32,
    /// How long the sender's name is.
    pub(crate) sender: u16,
    /// The CRC-32 of the data.
    pub(crate) check: u32,
}

impl Header {
    pub(crate) fn encode(&self) -> Block {
        let mut out = Writer::default();
        out.put(MAGIC);
        out.put(self.incarnation.as_bytes());
        out.put(&self.first.to_le_bytes());
        out.sealed()
    }

    pub(crate) fn decode(block: &Block) -> Option<Self> {
        let mut rest = checked(block)?;
        if take::<16>(&mut rest)? != *MAGIC {
            return None;
        }
        let incarnation = Incarnation::from_bytes(take(&mut rest)?);
        Some(Self { incarnation, first: u64::from_le_bytes(take(&mut rest)?) })
    }
}

impl Entry {
    pub(crate) fn encode(&self) -> Block {
        let mut out = Writer::default();
        out.put(self.id.as_bytes());
        out.put(&self.number.to_le_bytes());
        out.put(&self.written_us.to_le_bytes());
        out.put(&self.position.to_le_bytes());
        out.put(&self.length.to_le_bytes());
        out.put(&self.sender.to_le_bytes());
        out.put(&[0; 2]);
        out.put(&self.check.to_le_bytes());
        out.sealed()
    }

    pub(crate) fn decode(block: &Block) -> Option<Self> {
        let mut rest = checked(block)?;
        let id = MessageId::from_bytes(take(&mut rest)?);
        let (number, written_us, position) =
            (u64::from_le_bytes(take(&mut rest)?), u64::from_le_bytes(take(&mut rest)?), take(&mut rest)?);
        let (position, length) = (u64::from_le_bytes(position), u32::from_le_bytes(take(&mut rest)?));
        let sender = u16::from_le_bytes(take(&mut rest)?);
        let _reserved: [u8; 2] = take(&mut rest)?;
        let check = u32::from_le_bytes(take(&mut rest)?);
        Some(Self { id, number, written_us, position, length, sender, check })
            .filter(|entry| u32::from(entry.sender) <= entry.length)
    }

    /// Where its data end.
    pub(crate) fn end(&self) -> u64 {
        self.position.saturating_add(u64::from(self.length))
    }
}

/// A number that stands alone in a file, and its check: 12 bytes.
pub(crate) fn encode_number(number: u64) -> [u8; 12] {
    let mut out = [0; 12];
    let bytes = number.to_le_bytes();
    let check = crc32fast::hash(&bytes).to_le_bytes();
    out.iter_mut().zip(bytes.into_iter().chain(check)).for_each(|(to, from)| *to = from);
    out
}

/// What [`encode_number`] wrote.
pub(crate) fn decode_number(bytes: &[u8; 12]) -> Option<u64> {
    let mut rest = bytes.as_slice();
    let number: [u8; 8] = take(&mut rest)?;
    let is_whole = u32::from_le_bytes(take(&mut rest)?) == crc32fast::hash(&number);
    is_whole.then_some(u64::from_le_bytes(number))
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn sealed(mut self) -> Block {
        self.0.resize(SIZE - 4, 0);
        let check = crc32fast::hash(&self.0).to_le_bytes();
        self.put(&check);
        let mut block = [0; SIZE];
        block.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        block
    }
}

/// The same content with the check that belongs to it.
#[cfg(feature = "hostile")]
pub(crate) fn rechecked(block: &Block) -> Block {
    let content = block.split_last_chunk::<4>().map_or(block.as_slice(), |(content, _)| content);
    Writer(content.to_vec()).sealed()
}

fn checked(block: &Block) -> Option<&[u8]> {
    let (content, check) = block.split_last_chunk::<4>()?;
    (u32::from_le_bytes(*check) == crc32fast::hash(content)).then_some(content)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            id: MessageId::random(),
            number: 7,
            written_us: u64::MAX,
            position: 1 << 40,
            length: 300,
            sender: 255,
            check: 42,
        }
    }

    #[test]
    fn blocks_are_read_back_and_any_changed_byte_is_noticed() {
        let header = Header { incarnation: Incarnation::from(MessageId::random()), first: 9 };
        assert_eq!(Header::decode(&header.encode()), Some(header));
        let entry = entry();
        assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        for at in 0..SIZE {
            let (mut one, mut other) = (header.encode(), entry.encode());
            one[at] ^= 1;
            other[at] ^= 1;
            assert_eq!((Header::decode(&one), Entry::decode(&other)), (None, None), "byte {at}");
        }
        assert_eq!(Entry::decode(&[0; SIZE]), None);
    }

    #[test]
    fn a_sender_longer_than_all_there_is_is_refused() {
        assert_eq!(Entry::decode(&Entry { length: 254, ..entry() }.encode()), None);
    }

    #[test]
    fn a_number_is_read_back_whole_or_not_at_all() {
        assert_eq!(decode_number(&encode_number(5)), Some(5));
        let mut torn = encode_number(5);
        torn[0] = 6;
        assert_eq!((decode_number(&torn), decode_number(&[0; 12])), (None, None));
    }
}
