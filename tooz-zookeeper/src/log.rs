//! Reading a channel's messages by their numbers.

use std::future::Future;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tooz_core::{Offset, Result};
use zookeeper_client::{Client, Error as Fault, Stat};

use crate::channel::{Bucket, ChannelKeys, place_of};
use crate::entry::Entry;
use crate::error::unread;
use crate::look::found;
use crate::standing::{Standing, place};

/// Messages read in one trip.
pub(crate) const CHUNK: u64 = 128;

/// A channel's buckets as far as they are known.
pub(crate) struct Log<'a> {
    client: &'a Client,
    keys: &'a ChannelKeys,
    standing: Standing,
    /// Sorted; `None` before they are asked for.
    buckets: Option<Vec<Bucket>>,
}

/// A message as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) bucket: Bucket,
    pub(crate) number: u64,
    pub(crate) entry: Entry,
    pub(crate) stat: Stat,
}

impl Record {
    pub(crate) fn offset(&self) -> Offset {
        Offset::new(self.bucket.incarnation, self.number, place(self.stat.czxid))
    }
}

/// Where a number is to be looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// In this bucket, which has these numbers.
    In(Bucket, Range<u64>),
    /// Nowhere; what is after it begins with this number.
    Before(u64),
}

impl<'a> Log<'a> {
    pub(crate) fn new(client: &'a Client, keys: &'a ChannelKeys, standing: Standing) -> Self {
        Self { client, keys, standing, buckets: None }
    }

    /// All buckets of this incarnation, oldest first; what others put among them is left out.
    pub(crate) async fn buckets(&mut self) -> Result<&[Bucket]> {
        if self.buckets.is_none() {
            let names = match self.client.list_children(&self.keys.buckets()).await {
                Ok(names) => names,
                Err(Fault::NoNode) => Vec::new(),
                Err(fault) => return Err(unread("list the buckets", fault)),
            };
            let mut buckets: Vec<_> = names.iter().filter_map(|name| Bucket::parse(name)).collect();
            let newest = self.standing.bucket;
            buckets.retain(|it| it.incarnation == newest.incarnation && it.first <= newest.first);
            buckets.sort_by_key(|bucket| bucket.first);
            self.buckets = Some(buckets);
        }
        Ok(self.buckets.as_deref().unwrap_or_default())
    }

    /// Where the message of this number is, if it is anywhere.
    pub(crate) async fn spot(&mut self, number: u64) -> Result<Spot> {
        let (newest, next) = (self.standing.bucket, self.standing.next());
        if number >= newest.first {
            return Ok(Spot::In(newest, newest.first..next));
        }
        let buckets = self.buckets().await?;
        let after = buckets.partition_point(|bucket| bucket.first <= number);
        let end = buckets.get(after).map_or(newest.first, |bucket| bucket.first);
        Ok(match after.checked_sub(1).and_then(|at| buckets.get(at)) {
            Some(bucket) => Spot::In(*bucket, bucket.first..end),
            None => Spot::Before(end),
        })
    }

    /// The messages of these numbers; what others wrote there is left out. Tells too how many nodes stood there.
    pub(crate) async fn read(&self, bucket: Bucket, numbers: Range<u64>) -> Result<(Vec<Record>, usize)> {
        let reads: Vec<_> = numbers
            .map(|number| (number, self.client.get_data(&self.keys.message(bucket, number))))
            .collect();
        records(bucket, reads).await
    }

    /// The next number at which a node stands in the bucket.
    pub(crate) async fn next_in(&self, bucket: Bucket, number: u64) -> Result<Option<u64>> {
        let names = match self.client.list_children(&self.keys.bucket(bucket)).await {
            Ok(names) => names,
            Err(Fault::NoNode) => return Ok(None),
            Err(fault) => return Err(unread("list a bucket", fault)),
        };
        let numbers = names.iter().filter_map(|name| Some(bucket.number(place_of(name)?)));
        Ok(numbers.filter(|there| *there >= number).min())
    }

    /// The message's body; `None` if it is not what the message says.
    pub(crate) async fn body(&self, record: &Record) -> Result<Option<Bytes>> {
        let entry = &record.entry;
        if let Some(body) = &entry.body {
            return Ok(Some(body.clone()));
        }
        let path = |part| self.keys.part(record.bucket, entry.id, part);
        let parts: Vec<_> = (0..entry.parts()).map(|part| self.client.get_data(&path(part))).collect();
        let mut body = BytesMut::with_capacity(entry.bytes);
        for part in parts {
            let Some((part, _)) = found(part.await)? else { return Ok(None) };
            body.extend_from_slice(&part);
        }
        Ok((body.len() == entry.bytes).then(|| body.freeze()))
    }
}

/// What these reads bring.
pub(crate) async fn records(
    bucket: Bucket,
    reads: Vec<(u64, impl Future<Output = Result<(Vec<u8>, Stat), Fault>> + Send)>,
) -> Result<(Vec<Record>, usize)> {
    let (mut records, mut there) = (Vec::new(), 0);
    for (number, read) in reads {
        let Some((data, stat)) = found(read.await)? else { continue };
        there += 1;
        let entry = Entry::decode(&data);
        records.extend(entry.map(|entry| Record { bucket, number, entry, stat }));
    }
    Ok((records, there))
}
