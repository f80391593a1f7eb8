//! Steps and waits of topics.

use std::sync::Arc;

use async_trait::async_trait;
use tooz_core::backend::{Batch, Limit, Mark, Publication, Retention, TopicProfile, TopicSteps};
use tooz_core::{Channel, Error, ErrorKind, Offset, Result};

use crate::channel::ChannelKeys;
use crate::publish::{Guesses, publish};
use crate::session::Session;
use crate::watch::Subject;
use crate::{fetch, trim};

/// Topics of one session.
pub(crate) struct Topics {
    session: Arc<Session>,
    guesses: Guesses,
}

impl Topics {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, guesses: Guesses::default() }
    }
}

#[async_trait]
impl TopicSteps for Topics {
    async fn publish(&self, publication: &Publication) -> Result<Offset> {
        self.session.check()?;
        if publication.body.len() > TopicProfile::FULL_BODY {
            let (bytes, most) = (publication.body.len(), TopicProfile::FULL_BODY);
            let text = format!("the message has {bytes} bytes: an etcd topic carries at most {most}");
            return Err(Error::new(ErrorKind::InvalidValue, text));
        }
        publish(&self.session, &self.guesses.of(&publication.channel), publication).await
    }

    async fn fetch(&self, channel: &Channel, after: Option<Offset>, limit: Limit) -> Result<Batch> {
        self.session.check()?;
        let guess = self.guesses.of(channel);
        fetch::fetch(&self.session, &guess, &ChannelKeys::of(channel), after, limit).await
    }

    async fn trim(&self, channel: &Channel, retention: Retention) -> Result<u64> {
        self.session.check()?;
        let guess = self.guesses.of(channel);
        trim::trim(&self.session, &guess, &ChannelKeys::of(channel), retention).await
    }

    /// Every publish puts the count: one event for all subscribers of this session.
    async fn stirred(&self, channel: &Channel, mark: Mark) {
        if self.session.check().is_err() {
            return;
        }
        let count = ChannelKeys::of(channel).count();
        let mark = i64::try_from(mark.0).unwrap_or(i64::MAX);
        let subject = Subject { keys: vec![count.clone()], prefixes: Vec::new(), queue: None };
        let Ok(view) = self.session.ear.view(subject, 0).await else { return };
        view.until(|state| {
            let news = match state.get(&count) {
                // What was seen may be ahead of what was heard.
                Some(seen) => seen.modified > mark,
                None => mark > 0 && state.horizon() > mark,
            };
            (news || state.is_dead()).then_some(())
        })
        .await;
    }
}
