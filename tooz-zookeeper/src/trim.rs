//! Letting go: the head moves by one write, and buckets are removed once nobody asks for their ids.

use std::time::Duration;

use tooz_core::Result;
use tooz_core::backend::Retention;
use zookeeper_client::{Client, Error as Fault};

use crate::channel::{Bucket, ChannelKeys};
use crate::entry::Head;
use crate::error::{failed, unread};
use crate::guess::Guess;
use crate::log::{CHUNK, Log, Record, Spot};
use crate::remove::remove;
use crate::session::Session;
use crate::standing::{Standing, look};

/// Attempts of one trim: each further one means that somebody else trims too.
const ATTEMPTS: usize = 4;

/// Trips of one trim that read messages; the next goes on where it ended.
const ROUNDS: usize = 256;

/// Buckets that one trim removes.
const REMOVED: usize = 32;

/// Ids are known for so long after their message was let go of, up to twice as long …
const KNOWN_FOR: Duration = Duration::from_secs(600);

/// … or until so many more messages were.
const KNOWN: u64 = 16_384;

/// Lets go of what is beyond the retention and tells how many messages those were.
pub(crate) async fn trim(
    session: &Session,
    guess: &Guess,
    keys: &ChannelKeys,
    retention: Retention,
) -> Result<u64> {
    let client = session.client()?;
    for _ in 0..ATTEMPTS {
        let hint = guess.seen().map(|seen| seen.bucket);
        let Some(standing) = look(&client, keys, hint).await? else { return Ok(0) };
        guess.saw(&standing);
        let work = Work { client: &client, keys, standing };
        // A write that changes nothing, to learn the time by the server's clock.
        let Some((now, version)) = work.write(standing.head, standing.head_version).await? else { continue };
        let mut log = Log::new(&client, keys, standing);
        let (number, bodies) = work.advance(&mut log, retention, now).await?;
        let before = standing.head;
        let freed = work.free(&mut log, before.forgettable(now)).await?;
        let head = Head { number, freed, ..before }.at(now);
        let is_news = number != before.number || freed != before.freed || head.stood != before.stood;
        if is_news && work.write(head, version).await?.is_none() {
            continue;
        }
        work.drop_bodies(&bodies).await?;
        return Ok(number - before.number);
    }
    Ok(0)
}

impl Head {
    /// Everything before this number was let go of long ago, or much was after it.
    fn forgettable(&self, now_ms: i64) -> u64 {
        let is_long_ago = is_older(self.stood_ms, now_ms, KNOWN_FOR);
        let stood = if is_long_ago { self.stood } else { self.freed };
        stood.max(self.number.saturating_sub(KNOWN))
    }

    /// Where it stands now, noted from time to time.
    fn at(self, now_ms: i64) -> Self {
        match is_older(self.stood_ms, now_ms, KNOWN_FOR) && self.stood != self.number {
            true => Self { stood: self.number, stood_ms: now_ms, ..self },
            false => self,
        }
    }
}

fn is_older(then_ms: i64, now_ms: i64, age: Duration) -> bool {
    u128::try_from(now_ms.saturating_sub(then_ms)).unwrap_or(0) > age.as_millis()
}

/// One trim.
struct Work<'a> {
    client: &'a Client,
    keys: &'a ChannelKeys,
    standing: Standing,
}

impl Work<'_> {
    /// Writes the head, unless somebody else did; tells the server's time and the version it has now.
    async fn write(&self, head: Head, version: i32) -> Result<Option<(i64, i32)>> {
        let text = head.encode(self.standing.incarnation());
        match self.client.set_data(&self.keys.head(), text.as_bytes(), Some(version)).await {
            Ok(stat) => Ok(Some((stat.mtime, stat.version))),
            Err(Fault::BadVersion | Fault::NoNode) => Ok(None),
            Err(fault) => Err(failed("move the head", fault)),
        }
    }

    /// How far the head moves, and what it passes that has a body beside.
    async fn advance(&self, log: &mut Log<'_>, retention: Retention, now: i64) -> Result<(u64, Vec<Record>)> {
        let next = self.standing.next();
        let target = next.saturating_sub(retention.count);
        let mut number = self.standing.head.number;
        let mut bodies = Vec::new();
        let with_bodies = if number < target { self.with_bodies().await? } else { Vec::new() };
        for _ in 0..ROUNDS {
            if number >= next {
                break;
            }
            let (bucket, there) = match log.spot(number).await? {
                Spot::In(bucket, there) => (bucket, there),
                Spot::Before(later) => {
                    number = later;
                    continue;
                }
            };
            if number < target && !with_bodies.contains(&bucket) {
                number = target.min(there.end);
                continue;
            }
            let end = number.saturating_add(CHUNK).min(there.end);
            let (records, _) = log.read(bucket, number..end).await?;
            for record in records {
                if record.number >= target && !is_older(record.stat.ctime, now, retention.age) {
                    return Ok((record.number, bodies));
                }
                if record.entry.parts() > 0 {
                    bodies.push(record);
                }
            }
            number = end;
        }
        Ok((number, bodies))
    }

    /// The buckets that have large bodies.
    async fn with_bodies(&self) -> Result<Vec<Bucket>> {
        match self.client.list_children(&self.keys.bodies()).await {
            Ok(names) => Ok(names.iter().filter_map(|name| Bucket::parse(name)).collect()),
            Err(Fault::NoNode) => Ok(Vec::new()),
            Err(fault) => Err(unread("list the large bodies", fault)),
        }
    }

    /// Removes buckets that end before this number, oldest first, and tells where the first one left begins.
    async fn free(&self, log: &mut Log<'_>, forgettable: u64) -> Result<u64> {
        let mut freed = self.standing.head.freed;
        if forgettable <= freed {
            return Ok(freed);
        }
        let buckets = log.buckets().await?;
        let ended = buckets.iter().zip(buckets.iter().skip(1));
        let ended = ended.filter(|(bucket, next)| bucket.first >= freed && next.first <= forgettable);
        let ended: Vec<_> = ended.take(REMOVED).map(|(bucket, next)| (*bucket, next.first)).collect();
        for (bucket, end) in ended {
            remove(self.client, self.keys, bucket).await?;
            freed = end;
        }
        Ok(freed)
    }

    /// Removes large bodies that nobody will read any more.
    async fn drop_bodies(&self, passed: &[Record]) -> Result<()> {
        for some in passed.chunks(usize::try_from(CHUNK).unwrap_or(usize::MAX)) {
            let path = |record: &Record, part| self.keys.part(record.bucket, record.entry.id, part);
            let parts = some.iter().flat_map(|record| {
                (0..record.entry.parts()).map(move |part| self.client.delete(&path(record, part), None))
            });
            for deletion in parts.collect::<Vec<_>>() {
                match deletion.await {
                    Ok(()) | Err(Fault::NoNode | Fault::NotEmpty) => {}
                    Err(fault) => return Err(failed("remove a body", fault)),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    #[test]
    fn what_was_let_go_of_is_forgotten_some_minutes_later_and_not_before() {
        let now = 1_000_000_000;
        let head = Head { number: 900, ..Head::START }.at(now);
        assert_eq!((head.stood, head.stood_ms), (900, now));
        let moved = Head { number: 2_000, ..head };
        assert_eq!(moved.forgettable(now + 9 * MINUTE), 1);
        assert_eq!(moved.at(now + 9 * MINUTE), moved);
        assert_eq!(moved.forgettable(now + 11 * MINUTE), 900);
        assert_eq!(moved.at(now + 11 * MINUTE).stood, 2_000);
    }

    #[test]
    fn of_very_many_ids_the_oldest_are_forgotten_at_once() {
        let head = Head { number: KNOWN + 500, stood_ms: 7, ..Head::START };
        assert_eq!(head.forgettable(8), 500);
    }

    #[test]
    fn a_clock_that_goes_back_makes_nothing_old() {
        assert!(!is_older(MINUTE, 0, Duration::ZERO));
        assert!(is_older(0, MINUTE, Duration::from_secs(59)));
    }
}
