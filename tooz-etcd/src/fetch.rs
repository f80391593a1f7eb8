//! Fetching: what follows an offset, by revision.

use std::collections::HashMap;

use bytes::Bytes;
use etcd_client::Txn;
use tooz_core::backend::{Batch, Limit, Mark};
use tooz_core::{Error, ErrorKind, Message, Offset, Result};

use crate::channel::{BUCKET, ChannelKeys, bucket_of, first_of, revision_of};
use crate::error::is_too_large;
use crate::publish::Guess;
use crate::session::Session;
use crate::standing::{Record, Standing, found, messages, numbered, reached, records};
use crate::sweep::{self, Swept};
use crate::txn::{self, get, revision};

/// Looks of one fetch: the first nearly always finds what it looks for.
const LOOKS: usize = 64;
/// Keys that a further look reads at least.
const AGAIN: usize = 1_024;

/// Bodies of one request, so that its answer fits whatever its messages say of their length.
const BODIES: usize = sweep::VALUES;
const BODY_BYTES: usize = 8 << 20;

/// What a look asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    /// What follows this message, which is looked at too, to see that it is the one it was.
    After(Offset),
    /// What is retained from this place on: the number and the least revision of the first.
    From(u64, i64),
}

/// What a look found out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// These follow; whether there may be more of them.
    Follow(Vec<(u64, Record)>, bool),
    /// Look there.
    Look(Aim),
    /// Nothing of what was read is a message that follows, and more was not read: those of this number and this
    /// revision on have to be found among others' keys.
    Crowded(u64, i64),
    /// The offset is none of this channel.
    Alien,
}

impl Aim {
    /// The first bucket to read, and from which revision on.
    fn begin(self) -> (u64, i64) {
        match self {
            Self::After(offset) => (bucket_of(offset.number()), revision_of(offset.place())),
            Self::From(number, revision) => (bucket_of(number), revision),
        }
    }

    /// From the head on.
    fn head(standing: &Standing) -> Self {
        Self::From(standing.head.number, standing.head.revision)
    }

    /// What can be said before the messages are looked at.
    fn judge(self, standing: &Standing) -> Option<Verdict> {
        let (last, head) = (standing.last, standing.head);
        match self {
            Self::After(offset) => {
                let is_newest = offset.number() == last.number();
                if offset.incarnation() != standing.incarnation
                    || offset.number() == 0
                    || offset.number() > last.number()
                    || (is_newest && offset.place() != last.place())
                {
                    return Some(Verdict::Alien);
                }
                if is_newest {
                    return Some(Verdict::Follow(Vec::new(), false));
                }
                // It is no longer retained: all that can be seen of it is that it was before.
                (offset.number() < head.number).then(|| {
                    let was_before = revision_of(offset.place()) < head.revision;
                    if was_before { Verdict::Look(Self::head(standing)) } else { Verdict::Alien }
                })
            }
            Self::From(number, revision) => {
                // First: what was guessed may be of a channel that was forgotten or restored, and counts from less again.
                let is_retained = number >= head.number && revision >= head.revision;
                let follows_last = number == last.number().saturating_add(1) || number == head.number;
                if !is_retained || (number > last.number() && !follows_last) {
                    return Some(Verdict::Look(Self::head(standing)));
                }
                (number > last.number()).then_some(Verdict::Follow(Vec::new(), false))
            }
        }
    }

    /// What these messages mean, out of buckets before `end`. Of those there may be more after the revision in `cut`.
    fn read(self, records: Vec<Record>, standing: &Standing, end: u64, cut: Option<i64>) -> Verdict {
        let (first, records) = match self {
            Self::From(number, _) => (number, records),
            Self::After(offset) => {
                let mut records = records.into_iter();
                if records.next().is_none_or(|record| record.place() != offset.place()) {
                    return Verdict::Alien;
                }
                (offset.number() + 1, records.collect())
            }
        };
        let numbered = numbered(records, first, standing);
        let more = cut.is_some() || first_of(end) <= standing.last.number();
        if !numbered.is_empty() || !more {
            return Verdict::Follow(numbered, more);
        }
        // Nothing to read so far, but what comes after it may be.
        match cut {
            Some(reached) => Verdict::Crowded(first, reached.saturating_add(1)),
            None => Verdict::Look(Self::From(first_of(end), standing.head.revision)),
        }
    }
}

/// What follows `after`.
pub(crate) async fn fetch(
    session: &Session,
    guess: &Guess,
    keys: &ChannelKeys,
    after: Option<Offset>,
    limit: Limit,
) -> Result<Batch> {
    let mut batch = Batch { anew: after.is_some(), ..Batch::default() };
    let guessed = guess.head().map_or(Aim::From(1, 0), |head| Aim::From(head.number, head.revision));
    let mut aim = after.map_or(guessed, Aim::After);
    for look in 0..LOOKS {
        let most = if look == 0 { limit.messages } else { limit.messages.max(AGAIN) };
        let Some((standing, verdict)) = looked(session, keys, aim, most).await? else {
            guess.saw(None);
            return Ok(batch);
        };
        guess.saw(Some(&standing));
        if look == 0 {
            batch.mark = Mark(u64::try_from(standing.revision).unwrap_or(0));
            (batch.last, batch.anew) = (Some(standing.last), false);
        }
        let verdict = match verdict {
            Verdict::Crowded(first, since) => {
                found_among(session, guess, keys, &standing, (first, since)).await?
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::Crowded(..) => return Err(crowded()),
            Verdict::Alien => {
                batch.anew = true;
                aim = Aim::head(&standing);
            }
            Verdict::Look(next) => aim = next,
            Verdict::Follow(records, more) => {
                let found = records.len();
                let chosen = fitting(records, limit);
                let more = more || chosen.len() < found;
                let last = chosen.last().map(|(number, record)| (*number, record.revision));
                batch.messages = read(session, keys, &standing, chosen).await?;
                match last {
                    // All that were chosen went while they were read, or cannot be read: on with those after them.
                    Some((number, revision)) if more && batch.messages.is_empty() => {
                        aim = Aim::From(number + 1, revision.saturating_add(1));
                    }
                    _ => return Ok(batch),
                }
            }
        }
        if limit.messages == 0 {
            return Ok(batch);
        }
    }
    // An empty batch would say that nothing follows.
    Err(crowded())
}

/// What follows among others' keys. `Crowded` as before where it was not found so far: the next fetch goes on.
async fn found_among(
    session: &Session,
    guess: &Guess,
    keys: &ChannelKeys,
    standing: &Standing,
    (first, since): (u64, i64),
) -> Result<Verdict> {
    let sweep = guess.sweep(keys, standing, first, since);
    let last = standing.last.number();
    Ok(match sweep.run(session, keys, last).await? {
        Swept::Nothing => Verdict::Follow(Vec::new(), false),
        Swept::Bucket(bucket, records) => {
            let numbered = numbered(records, first, standing);
            let next = first_of(bucket.saturating_add(1));
            match (numbered.is_empty(), next <= last) {
                (true, true) => Verdict::Look(Aim::From(next, standing.head.revision)),
                (_, more) => Verdict::Follow(numbered, more),
            }
        }
        Swept::SoFar(sweep) => {
            guess.go_on(sweep);
            Verdict::Crowded(first, since)
        }
    })
}

fn crowded() -> Error {
    let text = "so much that is no message stands in the channel that none was found yet";
    Error::new(ErrorKind::Unavailable, text)
}

/// One look.
async fn looked(
    session: &Session,
    keys: &ChannelKeys,
    aim: Aim,
    most: usize,
) -> Result<Option<(Standing, Verdict)>> {
    let (begin, since) = aim.begin();
    let most = most.min(64 * usize::try_from(BUCKET).unwrap_or(usize::MAX));
    let spread = (most as u64).div_ceil(BUCKET).saturating_add(1);
    let end = begin.saturating_add(spread);
    let (answers, most) = if most == 0 {
        let answer = session.line.txn(Txn::new().and_then(Standing::gets(keys))).await?;
        session.note(revision(&answer));
        (answer.op_responses(), 0)
    } else {
        // One more for the message that others are to follow.
        sweep::look(session, keys, begin..end, since, most + 1).await?
    };
    let Some(standing) = Standing::read(&answers) else { return Ok(None) };
    if let Some(verdict) = aim.judge(&standing) {
        return Ok(Some((standing, verdict)));
    }
    if most == 0 {
        return Ok(Some((standing, Verdict::Follow(Vec::new(), false))));
    }
    let cut = (found(answers.get(3)) >= most).then(|| reached(answers.get(3)));
    let mut records = records(keys, answers.get(3));
    records.retain(|record| record.revision >= standing.begun);
    Ok(Some((standing, aim.read(records, &standing, end, cut))))
}

/// All messages of one bucket from a revision on, whatever stands between them.
pub(crate) async fn in_bucket(
    session: &Session,
    keys: &ChannelKeys,
    bucket: u64,
    since: i64,
) -> Result<Vec<Record>> {
    let look = messages(keys, bucket..bucket.saturating_add(1), since, AGAIN);
    match session.line.txn(Txn::new().and_then([look])).await {
        Err(error) if is_too_large(&error) => {}
        answer => {
            let answer = answer?;
            session.note(revision(&answer));
            let answers = answer.op_responses();
            if found(answers.first()) < AGAIN {
                return Ok(records(keys, answers.first()));
            }
        }
    }
    let named = sweep::named(session, keys, bucket).await?;
    let mut records = sweep::values(session, keys, &named).await?;
    records.retain(|record| record.revision >= since);
    Ok(records)
}

/// Those that were chosen, with their bodies.
async fn read(
    session: &Session,
    keys: &ChannelKeys,
    standing: &Standing,
    chosen: Vec<(u64, Record)>,
) -> Result<Vec<Message>> {
    let bodies = apart(session, keys, &chosen).await?;
    let message = |(number, record): (u64, Record)| {
        let entry = &record.entry;
        let body = if entry.is_apart() { bodies.get(&number) } else { entry.inline() };
        Some(Message {
            offset: Offset::new(standing.incarnation, number, record.place()),
            id: record.id,
            sender: entry.sender()?,
            payload: body.filter(|body| entry.fits(body))?.clone(),
            published_at: entry.published_at(),
        })
    };
    Ok(chosen.into_iter().filter_map(message).collect())
}

/// Those that fit; the first always does. An empty one counts as one byte, so that it lets no large one follow.
fn fitting(mut records: Vec<(u64, Record)>, limit: Limit) -> Vec<(u64, Record)> {
    let mut bytes = 0_usize;
    let fits = |(_, record): &&(u64, Record)| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(record.entry.bytes().max(1));
        is_first || bytes <= limit.bytes
    };
    let count = records.iter().take(limit.messages).take_while(fits).count();
    records.truncate(count);
    records
}

/// The bodies that stand beside their messages, by number.
async fn apart(
    session: &Session,
    keys: &ChannelKeys,
    chosen: &[(u64, Record)],
) -> Result<HashMap<u64, Bytes>> {
    let mut wanted = Vec::new();
    for (number, record) in chosen {
        if record.entry.is_apart() {
            wanted.push((*number, keys.body(record.bucket, record.id), record.entry.bytes()));
        }
    }
    let mut bodies = HashMap::new();
    let mut rest = wanted.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fits = |(_, _, size): &&(u64, String, usize)| {
            let is_first = bytes == 0;
            bytes = bytes.saturating_add(*size);
            is_first || bytes <= BODY_BYTES
        };
        let count = rest.iter().take(BODIES).take_while(fits).count();
        let (some, others) = rest.split_at(count.max(1));
        rest = others;
        let gets: Vec<_> = some.iter().map(|(_, key, _)| get(key.as_str())).collect();
        let answer = session.line.txn(Txn::new().and_then(gets)).await?;
        session.note(revision(&answer));
        for ((number, ..), body) in some.iter().zip(answer.op_responses()) {
            bodies.extend(txn::first(Some(&body)).map(|seen| (*number, seen.value)));
        }
    }
    Ok(bodies)
}

#[cfg(test)]
mod tests {
    use tooz_core::{Incarnation, MessageId};

    use super::*;
    use crate::channel::place;
    use crate::entry::{Entry, Head};

    const ID: [u8; 16] = [9; 16];

    fn offset(number: u64, revision: i64) -> Offset {
        Offset::new(Incarnation::from_bytes([1; 16]), number, place(revision, MessageId::from_bytes(ID)))
    }

    /// Ten messages, of which six are let go of; each has its number times ten for a revision.
    fn standing() -> Standing {
        Standing {
            incarnation: Incarnation::from_bytes([1; 16]),
            last: offset(10, 100),
            revision: 100,
            begun: 10,
            head: Head { number: 7, revision: 70, freed: 0 },
            head_written: 1,
        }
    }

    fn record(number: u64, id: [u8; 16]) -> Record {
        let revision = i64::try_from(number * 10).unwrap();
        Record { revision, bucket: 0, id: MessageId::from_bytes(id), entry: Entry::blank() }
    }

    #[test]
    fn an_offset_is_alien_unless_its_place_and_number_fit() {
        let alien = |offset| Aim::After(offset).judge(&standing()) == Some(Verdict::Alien);
        assert!(alien(offset(10, 99)) && alien(offset(11, 110)) && alien(offset(0, 0)));
        assert!(alien(offset(3, 80)), "let go of, and of a revision that is retained");
        assert!(alien(Offset::new(Incarnation::from_bytes([2; 16]), 8, offset(8, 80).place())));
        assert!(!alien(offset(10, 100)) && !alien(offset(3, 30)) && !alien(offset(8, 80)));
    }

    /// A store restored from a copy gives numbers and revisions again, but not ids.
    #[test]
    fn an_offset_of_a_message_that_is_another_one_now_is_alien() {
        let read = |id| Aim::After(offset(8, 80)).read(vec![record(8, id)], &standing(), 1, None);
        assert_eq!(read([8; 16]), Verdict::Alien);
        assert_ne!(read(ID), Verdict::Alien);
    }

    /// A head is remembered by whoever read the channel before it was forgotten or restored.
    #[test]
    fn whoever_remembers_another_channels_head_is_led_to_this_ones() {
        let begun_anew = Standing { begun: 900, last: offset(3, 920), head: Head::start(900), ..standing() };
        let head = Some(Verdict::Look(Aim::From(1, 900)));
        assert_eq!(Aim::From(5_000, 800).judge(&begun_anew), head, "forgotten");
        assert_eq!(
            Aim::From(5_000, 5_000).judge(&begun_anew),
            head,
            "restored: the revisions are behind, too"
        );
        let nothing = Some(Verdict::Follow(Vec::new(), false));
        assert_eq!(Aim::From(4, 921).judge(&begun_anew), nothing, "all of it was read");
        let all_gone = Standing { head: Head { number: 11, revision: 101, freed: 0 }, ..standing() };
        assert_eq!(Aim::From(11, 101).judge(&all_gone), nothing);
        let damaged = Standing { head: Head { number: 99, revision: 101, freed: 0 }, ..standing() };
        assert_eq!(
            Aim::From(99, 101).judge(&damaged),
            nothing,
            "led to where it stands, it would go on for ever"
        );
    }

    #[test]
    fn whoever_stands_before_the_head_is_led_to_it() {
        let head = Some(Verdict::Look(Aim::From(7, 70)));
        assert_eq!(Aim::After(offset(3, 30)).judge(&standing()), head);
        assert_eq!(Aim::From(1, 0).judge(&standing()), head);
        assert_eq!(Aim::From(7, 70).judge(&standing()), None);
    }
}
