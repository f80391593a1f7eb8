//! Steps and waits of topics.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::timeout;
use tooz_core::backend::{Batch, Limit, Mark, Publication, Retention, TopicProfile, TopicSteps};
use tooz_core::{Channel, Error, ErrorKind, Offset, Result};

use crate::bell::Bells;
use crate::channel::ChannelKeys;
use crate::fetch::fetch;
use crate::guess::{Guesses, UNDER_WAY};
use crate::publish::publish;
use crate::session::Session;
use crate::trim::trim;

/// What they are for.
pub(crate) const ADVICE: &str = "for control traffic, not for bulk: ZooKeeper's servers hold all that is retained in memory, each of them";

/// Topics of one session.
pub(crate) struct Topics {
    session: Arc<Session>,
    guesses: Guesses,
    bells: Bells,
}

impl Topics {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, guesses: Guesses::default(), bells: Bells::default() }
    }

    fn keys(&self, channel: &Channel) -> ChannelKeys {
        ChannelKeys::of(&self.session.keys, channel)
    }
}

#[async_trait]
impl TopicSteps for Topics {
    async fn publish(&self, publication: &Publication) -> Result<Offset> {
        if publication.body.len() > TopicProfile::FULL_BODY {
            let (bytes, most) = (publication.body.len(), TopicProfile::FULL_BODY);
            let text = format!("the message has {bytes} bytes: a topic on zookeeper carries at most {most}");
            return Err(Error::new(ErrorKind::InvalidValue, text));
        }
        let guess = self.guesses.of(&publication.channel);
        // Never closed. Waiting for it is no part of an attempt: nothing was sent.
        let Ok(_slot) = timeout(self.session.timeout, guess.slots.acquire()).await else {
            let text =
                format!("{} messages of this session are under way in {}", UNDER_WAY, publication.channel);
            return Err(Error::new(ErrorKind::Unavailable, text));
        };
        self.session.step("publish", publish(&self.session, &guess, publication)).await
    }

    async fn fetch(&self, channel: &Channel, after: Option<Offset>, limit: Limit) -> Result<Batch> {
        let (guess, keys) = (self.guesses.of(channel), self.keys(channel));
        self.session.step("fetch", fetch(&self.session, &guess, &keys, after, limit)).await
    }

    async fn trim(&self, channel: &Channel, retention: Retention) -> Result<u64> {
        let (guess, keys) = (self.guesses.of(channel), self.keys(channel));
        self.session.step("trim", trim(&self.session, &guess, &keys, retention)).await
    }

    async fn stirred(&self, channel: &Channel, mark: Mark) {
        self.bells.stirred_since(&self.session, channel, mark).await;
    }
}
