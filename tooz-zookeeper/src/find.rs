//! Finding a message that is known by its id.

use tooz_core::{MessageId, Offset, Result};
use zookeeper_client::Client;

use crate::channel::{Bucket, ChannelKeys};
use crate::error::unread;
use crate::look::found;
use crate::standing::{damaged, made, place};

/// Messages looked at in one trip.
const CHUNK: u64 = 128;

/// The offset of the message with this id; `None` if the id is not known any more.
///
/// A message has the transaction of its id. A message that is asked about is nearly always one of the last.
pub(crate) async fn find(client: &Client, keys: &ChannelKeys, id: MessageId) -> Result<Option<Offset>> {
    let Some((name, stat)) = found(client.get_data(&keys.id(id)).await)? else { return Ok(None) };
    let bucket = std::str::from_utf8(&name).ok().and_then(Bucket::parse).ok_or_else(damaged)?;
    let unread = |fault| unread("look for a message", fault);
    let offset = |number| Offset::new(bucket.incarnation, number, place(stat.czxid));
    let directory = client.check_stat(&keys.bucket(bucket)).await.map_err(unread)?;
    let mut end = bucket.number(directory.as_ref().map_or(0, made));
    if directory.is_some_and(|directory| directory.pzxid == stat.czxid) {
        return Ok(Some(offset(end.saturating_sub(1))));
    }
    while end > bucket.first {
        let begin = end.saturating_sub(CHUNK).max(bucket.first);
        let looks: Vec<_> =
            (begin..end).map(|number| (number, client.check_stat(&keys.message(bucket, number)))).collect();
        for (number, look) in looks {
            if look.await.map_err(unread)?.is_some_and(|message| message.czxid == stat.czxid) {
                return Ok(Some(offset(number)));
            }
        }
        end = begin;
    }
    // While an id is known its message stands, unless somebody else removes it.
    Ok(Some(offset(bucket.first)))
}
