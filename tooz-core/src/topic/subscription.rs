//! Reading a topic.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::feed::{FIRST_BITE, Feed};
use super::progress::{Cursor, Delivery};
use crate::backend::Limit;
use crate::channel::Channel;
use crate::engine::Lane;
use crate::error::{ErrorKind, Result};
use crate::offset::Offset;
use crate::shared::Core;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first message published after subscribing.
    Now,
    /// With the oldest message that is retained.
    Beginning,
    /// With the message after this one. What is no longer retained is reported as
    /// [`Delivery::Lagged`]; an offset that the topic as it is now never had, as [`Delivery::Reset`].
    After(Offset),
}

/// Reads a topic: every message once, in order, or an explicit word about what is missing. A `Stream` of
/// what [`next`](Self::next) gives; it ends with the coordinator.
///
/// # Behavior
/// It resumes by itself after a lost session. While nobody reads it costs the store nothing and holds at most
/// 2 MiB here; who reads too slowly for the retention finds [`Delivery::Lagged`].
///
/// # On drop
/// Nothing of a subscription stands in the store. To go on later, keep the
/// [`offset`](crate::Message::offset) of the message that was dealt with last.
pub struct Subscription {
    feed: Feed,
    is_over: bool,
}

impl Subscription {
    pub(crate) async fn open(core: &Arc<Core>, lane: Lane, channel: Channel, from: From) -> Result<Self> {
        let feed = match from {
            From::Now => {
                let at_end = |batch: &crate::backend::Batch| Cursor::at_end(batch.last);
                Feed::open(core, lane, channel, at_end, (None, Limit::NONE)).await?
            }
            From::Beginning => {
                Feed::open(core, lane, channel, |_| Cursor::Oldest, (None, FIRST_BITE)).await?
            }
            From::After(offset) => {
                let begin = move |_: &crate::backend::Batch| Cursor::After(offset);
                Feed::open(core, lane, channel, begin, (Some(offset), FIRST_BITE)).await?
            }
        };
        Ok(Self { feed, is_over: false })
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        self.feed.core()
    }

    pub(super) fn lane(&self) -> Lane {
        self.feed.lane()
    }

    /// The next message, or what is missing before it.
    ///
    /// # Errors
    /// `Closed` when the coordinator has ended; what the store refuses for good (`Denied`, `Corrupt`), after
    /// which it may be asked again. A store that is silent is waited for.
    ///
    /// # Cancel safety
    /// May be dropped and called again; nothing is lost and nothing is given twice.
    ///
    /// # Round trips
    /// None while there is something left of the last one; else one for up to 512 messages or 1 MiB.
    pub async fn next(&mut self) -> Result<Delivery> {
        poll_fn(|cx| self.poll(cx)).await
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery>> {
        let next = self.feed.poll_next(cx);
        next.map_err(|e| e.while_doing(format_args!("read {}", self.feed.channel())))
    }
}

impl Stream for Subscription {
    type Item = Result<Delivery>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.poll(cx));
        if next.as_ref().is_err_and(|e| e.kind() == ErrorKind::Closed) {
            self.is_over = true;
            return Poll::Ready(None);
        }
        Poll::Ready(Some(next))
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({:?})", self.feed)
    }
}
