//! Messages within a group: to everybody, to one member, and back.

use std::time::Duration;

use bytes::Bytes;
use tracing::Instrument;

use super::Group;
use crate::backend::Retention;
use crate::channel::Channel;
use crate::error::Result;
use crate::name::Name;
use crate::observe;
use crate::offset::Offset;
use crate::topic::{self, Envelope, From, Inbox, Kind, Outgoing, Subscription};

/// Messages. They need no membership and no existing group: a group's name is an address, and what is sent
/// to a member that is not there waits for it as long as messages are retained (10,000 of one hour).
impl Group {
    /// Tells everybody who [reads the group's messages](Self::messages).
    ///
    /// # Errors
    /// As for [`Topic::publish`](crate::Topic::publish).
    ///
    /// # Cancel safety
    /// The message may or may not be published when the future is dropped.
    ///
    /// # Round trips
    /// One; see [`Topic::publish`](crate::Topic::publish).
    pub async fn broadcast(&self, payload: impl Into<Bytes>) -> Result<Offset> {
        let channel = Channel::Group(self.checked_name()?);
        let sent = async { self.post(channel, topic::checked(payload.into())?).await };
        sent.await.map_err(|e| self.failed("broadcast in", e))
    }

    /// Reads what is broadcast in the group. Works like [`Topic::subscribe`](crate::Topic::subscribe).
    ///
    /// # Errors
    /// As there.
    pub async fn messages(&self, from: From) -> Result<Subscription> {
        let channel = Channel::Group(self.checked_name()?);
        self.read(channel, from).await.map_err(|e| self.failed("read messages of", e))
    }

    /// Sends a letter to one member.
    ///
    /// # Errors
    /// `InvalidName` for a member that cannot be; otherwise as for
    /// [`Topic::publish`](crate::Topic::publish). That the member is not there is no error: it may come.
    ///
    /// # Cancel safety
    /// The letter may or may not be sent when the future is dropped.
    ///
    /// # Round trips
    /// One; see [`Topic::publish`](crate::Topic::publish).
    ///
    /// ```
    /// # async fn run() -> tooz_core::Result<()> {
    /// # let coord = tooz_core::Registry::embedded().builder("memory://docs-send").member("w1").connect().await?;
    /// use tooz_core::{From, Mail};
    ///
    /// let group = coord.group("workers");
    /// group.send("w1", "job 7 is yours").await?;
    /// let mut inbox = group.inbox_from(From::Beginning).await?;
    /// if let Mail::Letter(letter) = inbox.next().await? {
    ///     assert_eq!(letter.sender.as_str(), "w1");
    /// }
    /// # coord.close().await
    /// # }
    /// # pollster::block_on(run()).unwrap();
    /// ```
    pub async fn send(&self, member: impl AsRef<str>, payload: impl Into<Bytes>) -> Result<Offset> {
        let sent = async {
            let channel = Channel::Inbox { group: self.checked_name()?, member: Name::new(member)? };
            let payload = topic::checked(payload.into())?;
            self.post(channel, Envelope { kind: Kind::Letter, payload }.seal()).await
        };
        sent.await.map_err(|e| self.failed("send to a member of", e))
    }

    /// The letters sent to this coordinator's member from now on.
    ///
    /// # Errors
    /// As for [`Topic::subscribe`](crate::Topic::subscribe).
    pub async fn inbox(&self) -> Result<Inbox> {
        self.inbox_from(From::Now).await
    }

    /// The letters sent to this coordinator's member from some place on: with [`From::Beginning`] also what
    /// came while nobody was there.
    ///
    /// # Errors
    /// As for [`Topic::subscribe`](crate::Topic::subscribe).
    pub async fn inbox_from(&self, from: From) -> Result<Inbox> {
        let group = self.checked_name()?;
        let channel = Channel::Inbox { group: group.clone(), member: self.coord.member().clone() };
        let letters = self.read(channel, from).await.map_err(|e| self.failed("open the inbox in", e))?;
        Ok(Inbox::new(letters, group))
    }

    /// Sends a request to one member and waits for its [reply](crate::Letter::reply) for at most `limit`;
    /// `None` if none came in time.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    ///
    /// # Cancel safety
    /// The request may or may not be sent when the future is dropped; its reply is then not waited for.
    ///
    /// # Round trips
    /// Three until the request is sent and the reply seen.
    pub async fn request(
        &self,
        member: impl AsRef<str>,
        payload: impl Into<Bytes>,
        limit: Duration,
    ) -> Result<Option<Bytes>> {
        let asked = async {
            let (group, member) = (self.checked_name()?, Name::new(member)?);
            topic::request(&self.coord, group, member, payload.into(), limit).await
        };
        asked.await.map_err(|e| self.failed("ask a member of", e))
    }

    async fn post(&self, channel: Channel, body: Bytes) -> Result<Offset> {
        let span = observe::call("publish", &channel);
        let outgoing = Outgoing { channel, body, retention: Retention::default() };
        topic::publish(self.coord.core(), self.coord.lane(), outgoing).instrument(span).await
    }

    async fn read(&self, channel: Channel, from: From) -> Result<Subscription> {
        let span = observe::call("subscribe", &channel);
        Subscription::open(self.coord.core(), self.coord.lane(), channel, from).instrument(span).await
    }
}
