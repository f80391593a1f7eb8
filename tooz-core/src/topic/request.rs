//! Asking a member and waiting for the answer.

use std::time::Duration;

use bytes::Bytes;

use super::{Delivery, Envelope, From, Kind, Outgoing, Subscription, checked, publish};
use crate::backend::Retention;
use crate::channel::Channel;
use crate::coordinator::Coordinator;
use crate::error::Result;
use crate::name::Name;

/// Listens for replies, sends the request, and waits for the reply that names it.
pub(crate) async fn request(
    coord: &Coordinator,
    group: Name,
    to: Name,
    payload: Bytes,
    limit: Duration,
) -> Result<Option<Bytes>> {
    let (core, lane) = (coord.core(), coord.lane());
    let id = *core.chance().message_id().as_bytes();
    let body = Envelope { kind: Kind::Request(id), payload: checked(payload)? }.seal();
    let time_is_up = core.sleep(limit);
    let replied = async {
        let replies = Channel::Replies { group: group.clone(), member: coord.member().clone() };
        let mut replies = Subscription::open(core, lane, replies, From::Now).await?;
        let channel = Channel::Inbox { group, member: to };
        publish(core, lane, Outgoing { channel, body, retention: Retention::default() }).await?;
        loop {
            // A reply that is lost with the store, or overtaken by ten thousand others, never comes: the
            // limit ends that wait too.
            if let Delivery::Message(message) = replies.next().await?
                && let Some(Envelope { kind: Kind::Reply(of), payload }) = Envelope::open(&message.payload)
                && of == id
            {
                return Ok(payload);
            }
        }
    };
    tokio::select! {
        biased;
        reply = replied => reply.map(Some),
        () = time_is_up => Ok(None),
    }
}
