//! How a channel stands: one look, sent at once, and what it means.

use std::future::Future;

use tooz_core::{Error, ErrorKind, Incarnation, Offset, Result};
use zookeeper_client::{Client, Error as Fault, Stat};

use crate::channel::{Bucket, ChannelKeys};
use crate::entry::Head;
use crate::error::{failed, unread};
use crate::look::found;

/// Looks of one look: each further one means that a bucket was closed and removed meanwhile.
const LOOKS: usize = 5;

/// A channel that somebody published to, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The bucket of the newest message.
    pub(crate) bucket: Bucket,
    /// How many were made in it.
    pub(crate) made: u64,
    /// Whether no more will be.
    pub(crate) is_closed: bool,
    /// The transaction of the newest.
    zxid: i64,
    /// How often the count was written.
    pub(crate) count_version: i32,
    /// The transaction that wrote it last.
    pub(crate) changed: i64,
    pub(crate) head: Head,
    pub(crate) head_version: i32,
}

impl Standing {
    /// What these nodes tell.
    fn of(bucket: Bucket, count: &Stat, stat: &Stat, head: &(Vec<u8>, Stat)) -> Self {
        Self {
            bucket,
            made: made(stat),
            is_closed: stat.version != 0,
            zxid: stat.pzxid,
            count_version: count.version,
            changed: count.mzxid,
            head: Head::decode(&head.0, bucket.incarnation),
            head_version: head.1.version,
        }
    }

    pub(crate) fn incarnation(&self) -> Incarnation {
        self.bucket.incarnation
    }

    /// The number of the next message.
    pub(crate) fn next(&self) -> u64 {
        self.bucket.number(self.made)
    }

    /// The newest message; `None` before the first.
    pub(crate) fn last(&self) -> Option<Offset> {
        let number = self.next().saturating_sub(1);
        (number > 0).then(|| Offset::new(self.incarnation(), number, place(self.zxid)))
    }
}

/// A transaction, as offsets and marks note it.
pub(crate) fn place(zxid: i64) -> u64 {
    u64::try_from(zxid).unwrap_or(0)
}

/// How many nodes were ever made in a directory. The server counts all changes to it: whatever was made and is not
/// there any more was also removed.
pub(crate) fn made(directory: &Stat) -> u64 {
    let made = (i64::from(directory.cversion) + i64::from(directory.num_children)) / 2;
    u64::try_from(made).unwrap_or(0)
}

/// Looks how the channel stands; `None` where there is none. Sends its requests at once, before it is polled;
/// `hint` is the bucket that may be the newest.
pub(crate) fn look<'a>(
    client: &'a Client,
    keys: &'a ChannelKeys,
    hint: Option<Bucket>,
) -> impl Future<Output = Result<Option<Standing>>> + Send + 'a {
    // What was acknowledged through another server is to be seen.
    let sync = client.sync(&keys.count());
    let mut ask = Ask::send(client, keys, hint);
    async move {
        sync.await.map_err(|fault| unread("catch up with the other servers", fault))?;
        for _ in 0..LOOKS {
            match ask.read(client, keys).await? {
                Answer::None => return Ok(None),
                Answer::Stands(standing) => return Ok(Some(standing)),
                Answer::Elsewhere(bucket) => ask = Ask::send(client, keys, Some(bucket)),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the channel's buckets change all the time"))
    }
}

type Read = std::pin::Pin<Box<dyn Future<Output = Result<(Vec<u8>, Stat), Fault>> + Send>>;
type Exists = std::pin::Pin<Box<dyn Future<Output = Result<Option<Stat>, Fault>> + Send>>;

/// The requests of a look, under way.
struct Ask {
    count: Read,
    head: Read,
    bucket: Option<(Bucket, Exists)>,
}

enum Answer {
    None,
    Stands(Standing),
    /// The newest bucket is another one.
    Elsewhere(Bucket),
}

impl Ask {
    /// The count first: it is the mark, and must not be newer than the rest.
    fn send(client: &Client, keys: &ChannelKeys, hint: Option<Bucket>) -> Self {
        Self {
            count: Box::pin(client.get_data(&keys.count())),
            head: Box::pin(client.get_data(&keys.head())),
            bucket: hint.map(|bucket| {
                let exists = client.check_stat(&keys.bucket(bucket));
                (bucket, Box::pin(exists) as Exists)
            }),
        }
    }

    async fn read(self, client: &Client, keys: &ChannelKeys) -> Result<Answer> {
        let Some((name, count)) = found(self.count.await)? else { return Ok(Answer::None) };
        let bucket = std::str::from_utf8(&name).ok().and_then(Bucket::parse).ok_or_else(damaged)?;
        let head = found(self.head.await)?.ok_or_else(damaged)?;
        let unread = |fault| unread("look at a channel", fault);
        let stat = match self.bucket {
            Some((hint, look)) if hint == bucket => look.await.map_err(unread)?,
            // Asked after the count, so that it shows no less.
            _ => client.check_stat(&keys.bucket(bucket)).await.map_err(unread)?,
        };
        Ok(match stat {
            Some(stat) => Answer::Stands(Standing::of(bucket, &count, &stat, &head)),
            None => Answer::Elsewhere(bucket),
        })
    }
}

/// Makes sure that the connected server is no longer behind the others: by a write that changes nothing.
pub(crate) async fn catch_up(client: &Client, root: &str) -> Result<()> {
    let mut writer = client.new_multi_writer();
    writer.add_check_version(root, -1).map_err(|fault| failed("catch up", fault))?;
    writer.commit().await.map_err(|fault| failed("catch up", fault.into()))?;
    Ok(())
}

/// Something of the channel was removed or written over.
pub(crate) fn damaged() -> Error {
    Error::new(ErrorKind::Corrupt, "the channel's nodes are not what they were: see docs/wire")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(cversion: i32, num_children: i32) -> Stat {
        Stat {
            czxid: 1,
            mzxid: 2,
            pzxid: 9,
            ctime: 0,
            mtime: 0,
            version: 0,
            cversion,
            aversion: 0,
            ephemeral_owner: 0,
            data_length: 0,
            num_children,
        }
    }

    #[test]
    fn what_was_made_is_counted_whatever_was_removed() {
        assert_eq!(made(&stat(0, 0)), 0);
        assert_eq!(made(&stat(5, 5)), 5);
        assert_eq!(made(&stat(7, 3)), 5, "five made, two removed");
        assert_eq!(made(&stat(10, 0)), 5);
    }

    #[test]
    fn the_newest_message_is_the_last_made_in_the_newest_bucket() {
        let bucket = |first| Bucket { first, incarnation: Incarnation::from_bytes([1; 16]) };
        let head = (Vec::new(), stat(0, 0));
        let standing = |first, made| Standing::of(bucket(first), &stat(0, 0), &stat(made, made), &head);
        assert_eq!(standing(1, 0).last(), None);
        let last = standing(257, 3).last().unwrap();
        assert_eq!((last.number(), last.place()), (259, 9));
        assert_eq!(standing(257, 3).next(), 260);
    }
}
