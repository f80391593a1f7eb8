//! Steps and waits of topics.

use async_trait::async_trait;

use super::backend::MemoryBackend;
use super::state::Subject;
use crate::backend::{Batch, Limit, Mark, Publication, Retention, TopicProfile, TopicSteps};
use crate::channel::Channel;
use crate::error::{Error, ErrorKind, Result};
use crate::offset::Offset;

#[async_trait]
impl TopicSteps for MemoryBackend {
    async fn publish(&self, publication: &Publication) -> Result<Offset> {
        if publication.body.len() > TopicProfile::FULL_BODY {
            let text = format!(
                "a body of {} bytes: memory carries at most {}",
                publication.body.len(),
                TopicProfile::FULL_BODY
            );
            return Err(Error::new(ErrorKind::InvalidValue, text));
        }
        self.tell(|state, now| state.publish(now, publication))
    }

    async fn fetch(&self, channel: &Channel, after: Option<Offset>, limit: Limit) -> Result<Batch> {
        self.tell(|state, now| state.fetch(now, channel, after, limit))
    }

    async fn trim(&self, channel: &Channel, retention: Retention) -> Result<u64> {
        self.tell(|state, now| state.trim(now, channel, retention))
    }

    async fn stirred(&self, channel: &Channel, mark: Mark) {
        let subject = Subject::Channel(channel.clone());
        self.until(subject, |state| (state.channel_mark(channel) != mark).then_some(())).await;
    }
}
