//! One segment of a channel's log: an index, and the data it points into.
//!
//! Data are written first, then the entry that makes them a message. Whatever follows the last whole entry,
//! in either file, was left by somebody who died in between: nobody reads it, and the next one to append cuts
//! it off.

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use tooz_core::backend::Publication;
use tooz_core::{Error, ErrorKind, Incarnation, Result};

use crate::entry::{Entry, Header, SIZE};
use crate::error::failed;
use crate::folder::Folder;
use crate::our_file::OurFile;

/// What an index is called, before the number of its first message; for those who listen.
pub(crate) const INDEX: &[&str] = &["x-"];

/// More messages than this have no place in one segment.
pub(crate) const MOST_ENTRIES: u64 = 4096;

/// Nor has a message that begins after so many bytes.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// Entries are read so many at a time.
const BLOCK: u64 = 512;

/// An open index.
pub(crate) struct Segment<'a> {
    folder: &'a Folder,
    index: OurFile,
    pub(crate) header: Header,
}

/// Whether the log is read or written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Append,
}

/// `x-` and the number of the first message in 20 digits.
pub(crate) fn index_name(first: u64) -> String {
    format!("x-{first:020}")
}

/// `d-` and the same.
pub(crate) fn data_name(first: u64) -> String {
    format!("d-{first:020}")
}

/// The number in an index's name. Only what [`index_name`] writes is ours.
pub(crate) fn read_index_name(name: &str) -> Option<u64> {
    let first = name.strip_prefix("x-")?.parse().ok()?;
    (index_name(first) == name).then_some(first)
}

/// The same for the data of a segment.
pub(crate) fn read_data_name(name: &str) -> Option<u64> {
    let first = name.strip_prefix("d-")?.parse().ok()?;
    (data_name(first) == name).then_some(first)
}

impl<'a> Segment<'a> {
    /// Opens a segment; `None` if it is gone, or if whoever began it died before it was one.
    pub(crate) fn open(folder: &'a Folder, first: u64, access: Access) -> Result<Option<Self>> {
        let name = index_name(first);
        let index = match access {
            Access::Read => folder.look(&name)?,
            Access::Append => folder.file(&name)?,
        };
        let Some(index) = index else { return Ok(None) };
        let mut block = [0; SIZE];
        if read_up_to(folder, &name, &index, &mut block, 0)? < SIZE {
            return Ok(None);
        }
        let header = Header::decode(&block).filter(|header| header.first == first);
        Ok(header.map(|header| Self { folder, index, header }))
    }

    /// Begins a segment. Whatever stands under its names was left by somebody who died.
    pub(crate) fn create(folder: &'a Folder, incarnation: Incarnation, first: u64) -> Result<Self> {
        let header = Header { incarnation, first };
        for name in [data_name(first), index_name(first)] {
            folder.remove(&name)?;
        }
        folder.create(&data_name(first))?;
        let name = index_name(first);
        let index = folder.create(&name)?;
        let written = index.write_all_at(&header.encode(), 0);
        written.map_err(|error| failed("write", &folder.path_of(&name), error))?;
        Ok(Self { folder, index, header })
    }

    /// How many messages there are, and the last of them. An entry at the end that the power took is none.
    pub(crate) fn count(&self) -> Result<(u64, Option<Entry>)> {
        let mut count = self.blocks()?.saturating_sub(1);
        while count > 0 {
            if let Some(last) = self.entry(count - 1)? {
                return Ok((count, Some(last)));
            }
            count -= 1;
        }
        Ok((0, None))
    }

    fn blocks(&self) -> Result<u64> {
        let length = self.index.metadata().map_err(|error| self.fault("look at", error))?.len();
        Ok((length / SIZE as u64).min(MOST_ENTRIES + 1))
    }

    /// The entry of the message `at`, counted from zero.
    pub(crate) fn entry(&self, at: u64) -> Result<Option<Entry>> {
        Ok(self.entries(at, 1)?.into_iter().next().flatten())
    }

    /// So many entries, in order; `None` for one that cannot be read.
    fn entries(&self, at: u64, count: u64) -> Result<Vec<Option<Entry>>> {
        let size = usize::try_from(count.min(BLOCK)).unwrap_or(0) * SIZE;
        let mut bytes = vec![0; size];
        let name = index_name(self.header.first);
        let filled = read_up_to(self.folder, &name, &self.index, &mut bytes, place_of(at))?;
        bytes.truncate(filled);
        // A segment may begin where numbers end.
        let number_of = |nth: u64| self.header.first.saturating_add(at).saturating_add(nth);
        let (blocks, _) = bytes.as_chunks::<SIZE>();
        let decode = |(block, nth)| Entry::decode(block).filter(|entry| entry.number == number_of(nth));
        Ok(blocks.iter().zip(0..).map(decode).collect())
    }

    /// Calls `take` with each readable entry from the message `at` up to, not including, `end`, until it
    /// says that it is enough.
    pub(crate) fn each(&self, at: u64, end: u64, mut take: impl FnMut(Entry) -> bool) -> Result<()> {
        let mut at = at;
        while at < end {
            let entries = self.entries(at, end - at)?;
            if entries.is_empty() {
                return Ok(());
            }
            at += entries.len() as u64;
            if !entries.into_iter().flatten().all(&mut take) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the next message belongs into a new segment.
    pub(crate) fn is_full(&self, count: u64, last: Option<&Entry>) -> bool {
        count >= MOST_ENTRIES || last.is_some_and(|last| last.end() >= MOST_BYTES)
    }

    /// Appends a message after the first `count`, of which `last` is the last. There only when all is written;
    /// with `sync` only when it is on the disk.
    pub(crate) fn append(
        &self,
        (count, last): (u64, Option<&Entry>),
        publication: &Publication,
        written_us: u64,
        sync: bool,
    ) -> Result<Entry> {
        let name = data_name(self.header.first);
        let fault = |error| failed("write", &self.folder.path_of(&name), error);
        let sender = publication.sender.as_str().as_bytes();
        let data = [sender, &publication.body].concat();
        let position = last.map_or(0, Entry::end);
        let file = self.folder.file_or_create(&name)?;
        if file.metadata().map_err(fault)?.len() > position {
            file.set_len(position).map_err(fault)?;
        }
        file.write_all_at(&data, position).map_err(fault)?;
        if sync {
            file.sync_data().map_err(fault)?;
        }

        let too_long = |_| Error::new(ErrorKind::InvalidValue, "the message is too long for a segment");
        let entry = Entry {
            id: publication.id,
            number: self.header.first.saturating_add(count),
            written_us,
            position,
            length: u32::try_from(data.len()).map_err(too_long)?,
            sender: u16::try_from(sender.len()).map_err(too_long)?,
            check: crc32fast::hash(&data),
        };
        let fault = |error| self.fault("write", error).effect_unknown();
        if self.index.metadata().map_err(fault)?.len() > place_of(count) {
            self.index.set_len(place_of(count)).map_err(fault)?;
        }
        self.index.write_all_at(&entry.encode(), place_of(count)).map_err(fault)?;
        if sync {
            self.index.sync_data().map_err(fault)?;
        }
        Ok(entry)
    }

    /// Waits until the entry of the message `at`, which is there, is on the disk. Its data went before.
    pub(crate) fn settle(&self, at: u64) -> Result<()> {
        let fault = |error| self.fault("write", error).effect_unknown();
        let mut block = [0; SIZE];
        self.index.read_exact_at(&mut block, place_of(at)).map_err(fault)?;
        // Written anew: after a sync that failed, the kernel takes what it could not write for written.
        self.index.write_all_at(&block, place_of(at)).map_err(fault)?;
        self.index.sync_data().map_err(fault)
    }

    /// The data of these entries: sender and body, `None` where they are not what was written. They follow
    /// each other, so that one read brings them all.
    pub(crate) fn data(&self, entries: &[Entry]) -> Result<Vec<Option<(Bytes, Bytes)>>> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Vec::new()) };
        let name = data_name(self.header.first);
        let Some(file) = self.folder.look(&name)? else { return Ok(vec![None; entries.len()]) };
        let sum: u64 = entries.iter().map(|entry| u64::from(entry.length)).sum();
        if first.position.checked_add(sum) != Some(last.end()) {
            // Not as we write it: nothing is guessed, and nothing large is read.
            return Ok(vec![None; entries.len()]);
        }
        let mut bytes = vec![0; usize::try_from(sum).unwrap_or(0)];
        let filled = read_up_to(self.folder, &name, &file, &mut bytes, first.position)?;
        bytes.truncate(filled);
        let mut rest = bytes.as_slice();
        let split = |entry: &Entry| {
            let (data, after) = rest.split_at_checked(usize::try_from(entry.length).ok()?)?;
            rest = after;
            if crc32fast::hash(data) != entry.check {
                return None;
            }
            let (sender, body) = data.split_at_checked(usize::from(entry.sender))?;
            // Copied, so that one message that is kept does not keep all that were read with it.
            Some((Bytes::copy_from_slice(sender), Bytes::copy_from_slice(body)))
        };
        Ok(entries.iter().map(split).collect())
    }

    fn fault(&self, deed: &str, error: std::io::Error) -> Error {
        failed(deed, &self.folder.path_of(&index_name(self.header.first)), error)
    }
}

/// Where the entry of the message `at` stands.
fn place_of(at: u64) -> u64 {
    (SIZE as u64).saturating_mul(at.saturating_add(1))
}

/// Fills the buffer as far as the file goes.
fn read_up_to(folder: &Folder, name: &str, file: &OurFile, buffer: &mut [u8], at: u64) -> Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("read", &folder.path_of(name), error)),
        }
    }
    Ok(filled)
}
