//! One message out, and upkeep of its log now and then.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::{Publication, Retention};
use crate::channel::Channel;
use crate::engine::Lane;
use crate::error::{Error, ErrorKind, Result};
use crate::offset::Offset;
use crate::session::{Session, topics};
use crate::shared::Core;

/// A message to be published.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) channel: Channel,
    /// With core's own envelope, if any.
    pub(crate) body: Bytes,
    pub(crate) retention: Retention,
}

/// Publishes, trying again under the same id until the call's time is up.
pub(crate) async fn publish(core: &Core, lane: Lane, outgoing: Outgoing) -> Result<Offset> {
    let Outgoing { channel, body, retention } = outgoing;
    check_size(core, body.len())?;
    let sender = core.settings().member.clone();
    let publication = Publication { id: core.chance().message_id(), channel: channel.clone(), sender, body };
    let publication = Arc::new(publication);
    let offset = core
        .step(lane, "publish", |session: Arc<Session>| {
            let publication = Arc::clone(&publication);
            Box::pin(async move { topics(&*session.backend)?.publish(&publication).await })
        })
        .await?;
    if core.topic_upkeep().is_due(&channel, retention, core.now()) {
        trim(core, lane, channel, retention).await;
    }
    Ok(offset)
}

/// One attempt: what could not be let go of now is let go of later.
async fn trim(core: &Core, lane: Lane, channel: Channel, retention: Retention) {
    let Some(session) = core.current_session() else { return };
    let step_of = Arc::clone(&session);
    let step = Box::pin(async move { topics(&*step_of.backend)?.trim(&channel, retention).await });
    if let Err(failure) = core.attempt(lane, "trim", step).await {
        session.heed(&failure);
        tracing::debug!(%failure, "cannot trim; that is tried again when it is due again");
    }
}

/// Refuses what the store does not carry, before anything is sent.
fn check_size(core: &Core, bytes: usize) -> Result<()> {
    let Some(profile) = core.profile().topics else {
        let text = format!("the {} store has no topics: use one that has", core.profile().store);
        return Err(Error::new(ErrorKind::Unsupported, text));
    };
    if bytes <= profile.largest_body {
        return Ok(());
    }
    let (store, most) = (core.profile().store, profile.largest_body);
    let text = format!("the message has {bytes} bytes, and {store} carries at most {most}");
    Err(Error::new(ErrorKind::InvalidValue, text))
}
