//! Fetching: what follows an offset, by number.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use tooz_core::backend::{Batch, Limit, Mark};
use tooz_core::{Error, ErrorKind, Message, Offset, Result};
use zookeeper_client::{Client, Error as Fault, Stat};

use crate::channel::{Bucket, ChannelKeys};
use crate::entry::at;
use crate::error::unread;
use crate::guess::{Guess, Seen};
use crate::log::{CHUNK, Log, Record, Spot, records};
use crate::session::Session;
use crate::standing::{Standing, catch_up, look, place};

/// Trips of one fetch that bring nothing to read: more means that it is other people's nodes all over.
const LOOKS: usize = 64;

type Read = Pin<Box<dyn Future<Output = Result<(Vec<u8>, Stat), Fault>> + Send>>;
type Exists = Pin<Box<dyn Future<Output = Result<Option<Stat>, Fault>> + Send>>;

/// What follows `after`.
pub(crate) async fn fetch(
    session: &Session,
    guess: &Guess,
    keys: &ChannelKeys,
    after: Option<Offset>,
    limit: Limit,
) -> Result<Batch> {
    let client = session.client()?;
    let mut is_sure = after.is_none();
    loop {
        let seen = guess.seen();
        let looking = look(&client, keys, seen.map(|seen| seen.bucket));
        let ahead = seen.and_then(|seen| Ahead::send(&client, keys, seen, after, limit));
        let standing = looking.await?;
        let Some((standing, last)) = standing.and_then(|it| Some((it, it.last()?))) else {
            if is_sure {
                let mark = Mark(standing.map_or(0, |standing| place(standing.changed)));
                return Ok(Batch { mark, anew: after.is_some(), ..Batch::default() });
            }
            is_sure = true;
            catch_up(&client, session.keys.own()).await?;
            continue;
        };
        guess.saw(&standing);
        // What was asked of another bucket than the newest may be asked of the wrong one.
        let ahead = ahead.filter(|ahead| ahead.bucket == standing.bucket);
        let mut reading = Reading { client: &client, keys, log: Log::new(&client, keys, standing), ahead };
        let anew = match after {
            Some(after) => reading.is_alien(&standing, last, after).await?,
            None => false,
        };
        if anew && !is_sure {
            // Or this server is behind, and has not heard of it yet.
            is_sure = true;
            catch_up(&client, session.keys.own()).await?;
            continue;
        }
        let begin = after.filter(|_| !anew).map_or(0, |after| after.number().saturating_add(1));
        let messages = reading.messages(begin.max(standing.head.number)..standing.next(), limit).await?;
        let mark = Mark(place(standing.changed));
        return Ok(Batch { mark, last: Some(last), anew, messages, revisit: None });
    }
}

/// Requests for what is likely to be wanted, sent together with the look.
struct Ahead {
    bucket: Bucket,
    numbers: Range<u64>,
    reads: Vec<(u64, Read)>,
    /// The message to go on after.
    own: Option<(u64, Exists)>,
}

impl Ahead {
    fn send(
        client: &Client,
        keys: &ChannelKeys,
        seen: Seen,
        after: Option<Offset>,
        limit: Limit,
    ) -> Option<Self> {
        let bucket = seen.bucket;
        let after = after.filter(|after| after.incarnation() == bucket.incarnation);
        let begin = after.map_or(0, |after| after.number().saturating_add(1)).max(seen.head);
        if begin < bucket.first || limit.messages == 0 {
            return None;
        }
        let most = CHUNK.min(u64::try_from(limit.messages).unwrap_or(u64::MAX));
        // One more than is known of: somebody was woken by it.
        let end = seen.next.max(begin.saturating_add(1)).min(begin.saturating_add(most));
        let read = |number| (number, Box::pin(client.get_data(&keys.message(bucket, number))) as Read);
        let own = after.map(Offset::number).filter(|number| *number >= bucket.first);
        let own =
            own.map(|number| (number, Box::pin(client.check_stat(&keys.message(bucket, number))) as Exists));
        Some(Self { bucket, numbers: begin..end, reads: (begin..end).map(read).collect(), own })
    }
}

/// One fetch.
struct Reading<'a> {
    client: &'a Client,
    keys: &'a ChannelKeys,
    log: Log<'a>,
    ahead: Option<Ahead>,
}

impl Reading<'_> {
    /// Whether this is no offset of the channel as it is now, as far as that can be seen.
    async fn is_alien(&mut self, standing: &Standing, last: Offset, after: Offset) -> Result<bool> {
        let number = after.number();
        if after.incarnation() != standing.incarnation() || number == 0 || number > last.number() {
            return Ok(true);
        }
        if number == last.number() && after.place() == last.place() {
            return Ok(false);
        }
        let own = self.ahead.as_mut().and_then(|ahead| ahead.own.take_if(|(known, _)| *known == number));
        let look = match own {
            Some((_, look)) => look,
            None => match self.log.spot(number).await? {
                Spot::In(bucket, _) => {
                    Box::pin(self.client.check_stat(&self.keys.message(bucket, number))) as Exists
                }
                Spot::Before(_) => return Ok(false),
            },
        };
        let stat = look.await.map_err(|fault| unread("look at a message", fault))?;
        // One that is gone cannot be told from the one it was.
        Ok(stat.is_some_and(|stat| place(stat.czxid) != after.place()))
    }

    /// The messages of these numbers that fit; the first always does.
    async fn messages(&mut self, numbers: Range<u64>, limit: Limit) -> Result<Vec<Message>> {
        let (mut messages, mut bytes, mut looks) = (Vec::new(), 0_usize, 0);
        let mut begin = numbers.start;
        while begin < numbers.end && messages.len() < limit.messages {
            if messages.is_empty() && looks == LOOKS {
                // An empty batch would say that nothing follows.
                let text = "so much that is no message stands in the channel that none was found";
                return Err(Error::new(ErrorKind::Unavailable, text));
            }
            looks += 1;
            let most = u64::try_from(limit.messages - messages.len()).unwrap_or(u64::MAX).min(CHUNK);
            let (records, end) = self.some(begin..numbers.end, most).await?;
            for record in records {
                if messages.len() == limit.messages {
                    return Ok(messages);
                }
                // An empty one counts as one byte, so that it lets no large one follow.
                let sum = bytes.saturating_add(record.entry.bytes.max(1));
                if !messages.is_empty() && sum > limit.bytes {
                    return Ok(messages);
                }
                let Some(payload) = self.log.body(&record).await? else { continue };
                bytes = sum;
                messages.push(Message {
                    offset: record.offset(),
                    id: record.entry.id,
                    sender: record.entry.sender,
                    payload,
                    published_at: at(record.stat.ctime),
                });
            }
            begin = end;
        }
        Ok(messages)
    }

    /// The messages of the first of these numbers, and where to go on.
    async fn some(&mut self, numbers: Range<u64>, most: u64) -> Result<(Vec<Record>, u64)> {
        let begin = numbers.start;
        if let Some(ahead) = self.ahead.take_if(|ahead| ahead.numbers.start == begin) {
            let (mut records, _) = records(ahead.bucket, ahead.reads).await?;
            // What came after the look is for the next.
            records.retain(|record| record.number < numbers.end);
            return Ok((records, ahead.numbers.end));
        }
        let (bucket, there) = match self.log.spot(begin).await? {
            Spot::In(bucket, there) => (bucket, there),
            Spot::Before(next) => return Ok((Vec::new(), next)),
        };
        let end = begin.saturating_add(most).min(there.end).min(numbers.end);
        let (records, found) = self.log.read(bucket, begin..end).await?;
        if found == 0 && end < there.end {
            // Somebody removed them, or they never were any.
            let next = self.log.next_in(bucket, end).await?;
            return Ok((records, next.map_or(there.end, |next| next.min(there.end))));
        }
        Ok((records, end))
    }
}
