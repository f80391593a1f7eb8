//! A channel's folder: its segments, and where what is retained begins.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;

use tooz_core::backend::{Batch, Limit, Mark};
use tooz_core::{Incarnation, Message, MessageId, Name, Offset, Result};

use crate::entry::{Entry, decode_number, encode_number};
use crate::error::failed;
use crate::folder::Folder;
use crate::record::wall_time;
use crate::segment::{Access, Segment, read_index_name};

/// The file that says which message is the first that is retained.
const HEAD: &str = "head";

/// How often a look is repeated that met a trim or a new segment in the making.
const LOOKS: usize = 8;

/// How a log stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) incarnation: Incarnation,
    /// The number of the newest message, if its segment has any.
    pub(crate) last: u64,
    /// The id of that message.
    last_id: Option<MessageId>,
    /// The first numbers of the segments, ascending.
    pub(crate) segments: Vec<u64>,
    /// The number of the first message that is retained.
    pub(crate) head: u64,
}

impl State {
    /// The newest message; the log of a channel that never had one is none.
    pub(crate) fn last_offset(&self) -> Option<Offset> {
        (self.last > 0).then(|| offset(self.incarnation, self.last, self.last_id))
    }

    /// The first number of each segment, and that of the next.
    fn spans(&self) -> impl Iterator<Item = (u64, u64)> {
        let ends = self.segments.iter().skip(1).copied().chain([u64::MAX]);
        self.segments.iter().copied().zip(ends)
    }

    pub(crate) fn mark(&self) -> Mark {
        let mut digest = DefaultHasher::new();
        (self.incarnation.as_bytes(), self.last).hash(&mut digest);
        Mark(digest.finish())
    }
}

/// The offset of a message. Its place is half its id, by which a message is known to be the one it was.
pub(crate) fn offset(incarnation: Incarnation, number: u64, id: Option<MessageId>) -> Offset {
    Offset::new(incarnation, number, id.map_or(0, place_of))
}

fn place_of(id: MessageId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The newest segment, open.
pub(crate) struct Newest<'a> {
    pub(crate) segment: Segment<'a>,
    /// How many messages it has.
    pub(crate) count: u64,
    /// The last of them.
    pub(crate) entry: Option<Entry>,
    /// The first numbers of all segments, ascending.
    segments: Vec<u64>,
}

impl Newest<'_> {
    /// How the log stands, if everything is retained.
    pub(crate) fn state(&self) -> State {
        let last = self.segment.header.first.saturating_add(self.count).saturating_sub(1);
        State {
            incarnation: self.segment.header.incarnation,
            last,
            last_id: self.entry.map(|entry| entry.id),
            segments: self.segments.clone(),
            head: 1,
        }
    }
}

/// Opens the newest segment; `None` where nothing was ever published.
pub(crate) fn newest(folder: &Folder, access: Access) -> Result<Option<Newest<'_>>> {
    for _ in 0..LOOKS {
        let mut segments = folder.list(read_index_name)?;
        let is_empty = segments.is_empty();
        segments.sort_unstable();
        // The newest that is one: whoever began a newer one may be about to finish it, or dead.
        while let Some(first) = segments.last().copied() {
            if let Some(segment) = Segment::open(folder, first, access)? {
                let (count, entry) = segment.count()?;
                return Ok(Some(Newest { segment, count, entry, segments }));
            }
            segments.pop();
        }
        if is_empty {
            break;
        }
    }
    Ok(None)
}

/// How the log stands; `None` where nothing was ever published.
pub(crate) fn state(folder: &Folder) -> Result<Option<State>> {
    let Some(newest) = newest(folder, Access::Read)? else { return Ok(None) };
    let mut state = newest.state();
    if state.last_id.is_none() {
        state.last_id = id_of(folder, &state.segments, state.last)?;
    }
    // Without one, or with one that is damaged, everything is retained.
    state.head = head(folder)?.clamp(1, state.last.saturating_add(1));
    Ok(Some(state))
}

/// The first number of the segment that a message is in.
fn first_of(segments: &[u64], number: u64) -> Option<u64> {
    segments.iter().rev().find(|first| **first <= number).copied()
}

/// The id of a message that is not in the newest segment.
fn id_of(folder: &Folder, segments: &[u64], number: u64) -> Result<Option<MessageId>> {
    let Some(first) = first_of(segments, number) else { return Ok(None) };
    let Some(segment) = Segment::open(folder, first, Access::Read)? else { return Ok(None) };
    Ok(segment.entry(number - first)?.map(|entry| entry.id))
}

/// Waits until a message is on the disk that was appended before, by somebody who may not have seen to that. Only
/// ever called at the gate.
pub(crate) fn settle(folder: &Folder, state: &State, number: u64) -> Result<()> {
    let Some(first) = first_of(&state.segments, number) else { return Ok(()) };
    // One that was let go of has nothing to be kept.
    let Some(segment) = Segment::open(folder, first, Access::Append)? else { return Ok(()) };
    segment.settle(number - first)
}

fn head(folder: &Folder) -> Result<u64> {
    let Some(file) = folder.look(HEAD)? else { return Ok(1) };
    for _ in 0..LOOKS {
        let mut bytes = [0; 12];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(1),
            Err(error) => return Err(failed("read", &folder.path_of(HEAD), error)),
        }
        // It may be written right now.
        if let Some(head) = decode_number(&bytes) {
            return Ok(head);
        }
    }
    Ok(1)
}

/// Says which message is the first that is retained. Only ever called at the gate.
pub(crate) fn set_head(folder: &Folder, head: u64) -> Result<()> {
    let written = folder.file_or_create(HEAD)?.write_all_at(&encode_number(head), 0);
    written.map_err(|error| failed("write", &folder.path_of(HEAD), error))
}

/// The readable entries from the message `from` on, until `take` says that it is enough.
pub(crate) fn entries(
    folder: &Folder,
    state: &State,
    from: u64,
    mut take: impl FnMut(Entry) -> bool,
) -> Result<()> {
    let mut goes_on = true;
    for (first, next) in state.spans() {
        if next <= from || first > state.last || !goes_on {
            continue;
        }
        // One that was let go of meanwhile has nothing that is retained.
        let Some(segment) = Segment::open(folder, first, Access::Read)? else { continue };
        if segment.header.incarnation != state.incarnation {
            continue;
        }
        let (begin, end) = (from.max(first) - first, state.last.saturating_add(1).min(next) - first);
        segment.each(begin, end, |entry| {
            goes_on = take(entry);
            goes_on
        })?;
    }
    Ok(())
}

/// What follows `after`. Changes nothing and waits for nobody.
pub(crate) fn fetch(folder: &Folder, after: Option<Offset>, limit: Limit) -> Result<Batch> {
    let nothing = Batch { anew: after.is_some(), ..Batch::default() };
    let Some(state) = state(folder)? else { return Ok(nothing) };
    let Some(last) = state.last_offset() else { return Ok(nothing) };
    let known = match after {
        Some(after) => is_ours(folder, &state, after)?.then_some(after),
        None => None,
    };
    let from = known.map_or(1, |after| after.number() + 1).max(state.head);
    let mut batch = Batch {
        mark: state.mark(),
        last: Some(last),
        anew: after.is_some() && known.is_none(),
        ..Batch::default()
    };
    let mut room = Room { limit, bytes: 0 };
    for (first, next) in state.spans() {
        if next <= from || first > state.last || !room.is_left(batch.messages.len()) {
            continue;
        }
        // One that was let go of meanwhile has nothing that is retained.
        let Some(segment) = Segment::open(folder, first, Access::Read)? else { continue };
        if segment.header.incarnation != state.incarnation {
            continue;
        }
        let (mut at, end) = (from.max(first), state.last.saturating_add(1).min(next));
        while at < end && room.is_left(batch.messages.len()) {
            let mut chosen = Vec::new();
            let mut reached = end;
            segment.each(at - first, end - first, |entry| {
                let fits = room.take(batch.messages.len() + chosen.len(), &entry);
                if fits {
                    chosen.push(entry);
                } else {
                    reached = entry.number;
                }
                fits
            })?;
            batch.messages.extend(read(&segment, &chosen)?);
            at = reached;
            if batch.messages.is_empty() {
                // Nothing of it can be read: what follows may have its room. The first entry always fits, so that
                // each round comes further, at most to the end of what is retained.
                room = Room { limit, bytes: 0 };
            }
        }
    }
    Ok(batch)
}

/// What a batch has room for.
struct Room {
    limit: Limit,
    /// So many are taken, an empty message counting as one, so that it does not let a large one follow.
    bytes: usize,
}

impl Room {
    fn is_left(&self, messages: usize) -> bool {
        messages < self.limit.messages && (self.bytes == 0 || self.bytes < self.limit.bytes)
    }

    /// Whether there is room for one more after so many; the first always fits.
    fn take(&mut self, messages: usize, entry: &Entry) -> bool {
        let size = usize::try_from(entry.length - u32::from(entry.sender)).unwrap_or(usize::MAX);
        let fits = messages < self.limit.messages
            && (self.bytes == 0 || self.bytes.saturating_add(size) <= self.limit.bytes);
        if fits {
            self.bytes = self.bytes.saturating_add(size.max(1));
        } else {
            // A small one after it would leave a gap.
            self.limit.messages = 0;
        }
        fits
    }
}

/// The messages of these entries; what cannot be read is left out.
fn read(segment: &Segment<'_>, entries: &[Entry]) -> Result<Vec<Message>> {
    let message = |(entry, data): (&Entry, Option<(bytes::Bytes, bytes::Bytes)>)| {
        let (sender, payload) = data?;
        Some(Message {
            offset: offset(segment.header.incarnation, entry.number, Some(entry.id)),
            id: entry.id,
            sender: Name::new(std::str::from_utf8(&sender).ok()?).ok()?,
            payload,
            published_at: Some(wall_time(entry.written_us)),
        })
    };
    let mut messages = Vec::with_capacity(entries.len());
    // Where an entry could not be read, the data of the next do not follow.
    for run in entries.chunk_by(|one, other| one.end() == other.position) {
        messages.extend(run.iter().zip(segment.data(run)?).filter_map(message));
    }
    Ok(messages)
}

/// Whether the offset is one of this log as it is, as far as that can be seen.
fn is_ours(folder: &Folder, state: &State, after: Offset) -> Result<bool> {
    if after.incarnation() != state.incarnation || after.number() > state.last || after.number() == 0 {
        return Ok(false);
    }
    let id = match after.number() == state.last {
        true => state.last_id,
        false => id_of(folder, &state.segments, after.number())?,
    };
    // One that is not there any more cannot be compared.
    Ok(id.is_none_or(|id| place_of(id) == after.place()))
}
