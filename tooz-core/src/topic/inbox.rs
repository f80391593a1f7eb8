//! Letters to a member of a group.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;

use super::{Delivery, Envelope, Kind, Outgoing, Subscription, checked, publish};
use crate::backend::Retention;
use crate::channel::Channel;
use crate::engine::Lane;
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::offset::Offset;
use crate::shared::Core;

/// What comes into an inbox.
#[derive(Debug)]
pub enum Mail {
    /// A letter.
    Letter(Letter),
    /// So many letters were lost: they stood too long, or cannot be read by this version.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// The store has lost the inbox; see [`Delivery::Reset`].
    Reset,
}

/// One letter to this member.
pub struct Letter {
    /// Who sent it.
    pub sender: Name,
    /// What it says.
    pub payload: Bytes,
    /// Where it stands in the inbox: read on after it with [`From::After`](super::From::After).
    pub offset: Offset,
    request: Option<[u8; 16]>,
    group: Name,
    core: Arc<Core>,
    lane: Lane,
}

impl Letter {
    /// Whether the sender waits for an answer.
    pub fn wants_reply(&self) -> bool {
        self.request.is_some()
    }

    /// Answers a request. The answer finds the sender only while it waits.
    ///
    /// # Errors
    /// `InvalidValue` if the letter is no request or the payload is too large; `Unavailable` if the store
    /// stays silent.
    ///
    /// # Cancel safety
    /// The reply may or may not be sent when the future is dropped.
    ///
    /// # Round trips
    /// One; see [`Topic::publish`](super::Topic::publish).
    pub async fn reply(&self, payload: impl Into<Bytes>) -> Result<()> {
        self.reply_on(self.lane, payload.into()).await
    }

    pub(crate) async fn reply_on(&self, lane: Lane, payload: Bytes) -> Result<()> {
        let deed = format!("reply to \"{}\"", self.sender);
        let Some(id) = self.request else {
            let text = "the letter asks for no reply: send a letter of your own";
            return Err(Error::new(ErrorKind::InvalidValue, text).while_doing(deed));
        };
        let channel = Channel::Replies { group: self.group.clone(), member: self.sender.clone() };
        let sealed = |payload| Envelope { kind: Kind::Reply(id), payload }.seal();
        let answer = async {
            let body = sealed(checked(payload)?);
            publish(&self.core, lane, Outgoing { channel, body, retention: Retention::default() }).await
        };
        answer.await.map(drop).map_err(|e| e.while_doing(deed))
    }
}

/// Shows how much was sent, not what.
impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Letter")
            .field("sender", &self.sender)
            .field("offset", &self.offset)
            .field("bytes", &self.payload.len())
            .field("wants_reply", &self.wants_reply())
            .finish_non_exhaustive()
    }
}

/// The letters sent to this member of a group, in one order. Made by
/// [`Group::inbox`](crate::Group::inbox); works like a [`Subscription`].
pub struct Inbox {
    letters: Subscription,
    group: Name,
}

impl Inbox {
    pub(crate) fn new(letters: Subscription, group: Name) -> Self {
        Self { letters, group }
    }

    /// The next letter.
    ///
    /// # Errors
    /// As for [`Subscription::next`].
    ///
    /// # Cancel safety
    /// May be dropped and called again; nothing is lost and nothing is given twice.
    pub async fn next(&mut self) -> Result<Mail> {
        poll_fn(|cx| self.letters.poll(cx)).await.map(|delivery| self.read(delivery))
    }

    fn read(&self, delivery: Delivery) -> Mail {
        let message = match delivery {
            Delivery::Message(message) => message,
            Delivery::Lagged { missed } => return Mail::Lagged { missed },
            Delivery::Reset => return Mail::Reset,
        };
        let (request, payload) = match Envelope::open(&message.payload) {
            Some(Envelope { kind: Kind::Letter, payload }) => (None, payload),
            Some(Envelope { kind: Kind::Request(id), payload }) => (Some(id), payload),
            // Foreign, newer than we are, or a reply, which has no business here.
            Some(Envelope { kind: Kind::Reply(_), .. }) | None => return Mail::Lagged { missed: 1 },
        };
        Mail::Letter(Letter {
            sender: message.sender,
            payload,
            offset: message.offset,
            request,
            group: self.group.clone(),
            core: Arc::clone(self.letters.core()),
            lane: self.letters.lane(),
        })
    }
}

impl Stream for Inbox {
    type Item = Result<Mail>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.letters).poll_next(cx));
        Poll::Ready(next.map(|delivery| delivery.map(|delivery| self.read(delivery))))
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox({:?})", self.letters)
    }
}
