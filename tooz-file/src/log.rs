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

/// How the log stands; `None` where nothing was ever published.
pub(crate) fn state(folder: &Folder) -> Result<Option<State>> {
    for _ in 0..LOOKS {
        let mut segments = folder.again()?.list(read_index_name)?;
        segments.sort_unstable();
        // The newest that is one: whoever began a newer one may be about to finish it, or dead.
        while let Some(newest) = segments.last().copied() {
            let Some(segment) = Segment::open(folder, newest, Access::Read)? else {
                segments.pop();
                continue;
            };
            let count = segment.count()?;
            let last_entry = if count > 0 { segment.entry(count - 1)? } else { None };
            let last = newest.saturating_add(count).saturating_sub(1);
            let last_id = match last_entry {
                Some(entry) => Some(entry.id),
                None => id_of(folder, &segments, last)?,
            };
            let incarnation = segment.header.incarnation;
            // Without one, or with one that is damaged, everything is retained.
            let head = head(folder)?.clamp(1, last.saturating_add(1));
            return Ok(Some(State { incarnation, last, last_id, segments, head }));
        }
        if folder.again()?.list(read_index_name)?.is_empty() {
            return Ok(None);
        }
    }
    Ok(None)
}

/// The id of a message that is not in the newest segment.
fn id_of(folder: &Folder, segments: &[u64], number: u64) -> Result<Option<MessageId>> {
    let Some(first) = segments.iter().rev().find(|first| **first <= number).copied() else { return Ok(None) };
    let Some(segment) = Segment::open(folder, first, Access::Read)? else { return Ok(None) };
    Ok(segment.entry(number - first)?.map(|entry| entry.id))
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

/// The readable entries from the message `from` to `to`, until `take` says that it is enough.
pub(crate) fn entries(
    folder: &Folder,
    state: &State,
    (from, to): (u64, u64),
    mut take: impl FnMut(&Segment<'_>, Entry) -> bool,
) -> Result<()> {
    let ends = state.segments.iter().skip(1).copied().chain([u64::MAX]);
    let mut goes_on = true;
    for (first, next) in state.segments.iter().copied().zip(ends) {
        if next <= from || first > to || !goes_on {
            continue;
        }
        // One that was let go of meanwhile has nothing that is retained.
        let Some(segment) = Segment::open(folder, first, Access::Read)? else { continue };
        if segment.header.incarnation != state.incarnation {
            continue;
        }
        let (begin, end) = (from.max(first) - first, to.saturating_add(1).min(next) - first);
        segment.each(begin, end, |entry| {
            goes_on = take(&segment, entry);
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
    if limit.messages == 0 {
        return Ok(batch);
    }
    let mut from = from;
    while from <= state.last {
        let (chosen, next) = choose(folder, &state, from, limit, &batch)?;
        let Some(first) = chosen.first().map(|entry| entry.number) else { break };
        batch.messages.extend(read(folder, &state, first, &chosen)?);
        let Some(next) = next else { break };
        from = next;
    }
    Ok(batch)
}

/// The next entries of one segment that there is room for, and where to go on after them, if there is more
/// room.
fn choose(
    folder: &Folder,
    state: &State,
    from: u64,
    limit: Limit,
    batch: &Batch,
) -> Result<(Vec<Entry>, Option<u64>)> {
    let mut chosen: Vec<Entry> = Vec::new();
    let (mut messages, mut bytes) = (batch.messages.len(), 0_usize);
    bytes += batch.messages.iter().map(|message| message.payload.len().max(1)).sum::<usize>();
    let (mut is_full, mut segment_of) = (false, None);
    entries(folder, state, (from, state.last), |segment, entry| {
        let size = usize::try_from(entry.length).unwrap_or(usize::MAX) - usize::from(entry.sender);
        is_full = messages >= limit.messages || (bytes > 0 && bytes.saturating_add(size) > limit.bytes);
        // Data of two segments are two reads.
        let is_same = *segment_of.get_or_insert(segment.header.first) == segment.header.first;
        let follows = chosen.last().is_none_or(|last: &Entry| last.end() == entry.position);
        if is_full || !is_same || !follows {
            return false;
        }
        (messages, bytes) = (messages + 1, bytes.saturating_add(size.max(1)));
        chosen.push(entry);
        true
    })?;
    let next = chosen.last().map(|last| last.number + 1).filter(|_| !is_full);
    Ok((chosen, next))
}

/// The messages of these entries, which are of one segment; what cannot be read is left out.
fn read(folder: &Folder, state: &State, first: u64, entries: &[Entry]) -> Result<Vec<Message>> {
    let Some(begin) = state.segments.iter().rev().find(|begin| **begin <= first).copied() else {
        return Ok(Vec::new());
    };
    let Some(segment) = Segment::open(folder, begin, Access::Read)? else { return Ok(Vec::new()) };
    let data = segment.data(entries)?;
    let message = |(entry, data): (&Entry, Option<(bytes::Bytes, bytes::Bytes)>)| {
        let (sender, payload) = data?;
        Some(Message {
            offset: offset(state.incarnation, entry.number, Some(entry.id)),
            id: entry.id,
            sender: Name::new(std::str::from_utf8(&sender).ok()?).ok()?,
            payload,
            published_at: Some(wall_time(entry.written_us)),
        })
    };
    Ok(entries.iter().zip(data).filter_map(message).collect())
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
