//! Topics: a stream for each channel of messages, and beside it what its count and its ids are.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tooz_core::backend::{Batch, Limit, Mark, Publication, Retention, TopicProfile, TopicSteps};
use tooz_core::{Channel, Error, ErrorKind, Offset, Result};

use crate::keys::ChannelKeys;
use crate::line::Call;
use crate::message::{self, Walk, place_text};
use crate::reply;
use crate::scripts::{FETCH, PUBLISH, TRIM};
use crate::session::{Session, millis};

/// How long a channel is known after its last message is no longer retained.
const KEPT: Duration = Duration::from_secs(25 * 3600);

/// How long an id is known at least.
const LINGER: Duration = Duration::from_secs(5 * 60);

/// After so many further messages an id need not be known so long.
const MOST_LATER: u64 = 65_536;

/// No retention is longer.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// So many scripts look on for one fetch that finds only what others wrote, 65,536 entries in all.
const WALKS: usize = 32;

/// The topics of one session.
pub(crate) struct Topics {
    session: Arc<Session>,
}

impl Topics {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    /// One script, and further ones only where others left more than one may look at.
    async fn walk(
        &self,
        channel: &Channel,
        keys: &ChannelKeys,
        after: Option<Offset>,
        limit: Limit,
    ) -> Result<Batch> {
        let [life, number, place] = match after {
            Some(after) => {
                [after.incarnation().to_string(), after.number().to_string(), place_text(after.place())]
            }
            None => [const { String::new() }; 3],
        };
        let limits = [limit.messages, limit.bytes, TopicProfile::FULL_BODY].map(|limit| limit.to_string());
        let asked: Vec<String> = [life, number, place].into_iter().chain(limits).collect();
        let mut earlier = [const { String::new() }; 2];
        for _ in 0..WALKS {
            let args = asked.iter().chain(&earlier).map(|arg| arg.clone().into_bytes()).collect();
            let answer = self.session.line.run(Call { script: &FETCH, keys: keys.to_read(), args }).await?;
            let Walk { batch, odd, reached } =
                message::read(&answer, after.is_some()).ok_or_else(|| reply::odd("fetch", &answer))?;
            if odd > 0 {
                tracing::debug!(%channel, odd, "entries that are no messages were left out");
            }
            earlier = match (reached, batch.last) {
                (Some(reached), Some(last)) => [reached, last.incarnation().to_string()],
                _ => return Ok(batch),
            };
        }
        let [reached, _] = earlier;
        let log = keys.log.escape_ascii();
        let text = format!(
            "from {reached} on back there are too many entries in the stream {log} that are no messages: \
             remove them (XTRIM, XDEL)"
        );
        Err(Error::new(ErrorKind::Corrupt, text))
    }
}

#[async_trait]
impl TopicSteps for Topics {
    async fn publish(&self, publication: &Publication) -> Result<Offset> {
        self.session.check()?;
        let Publication { id, channel, sender, body } = publication;
        if body.len() > TopicProfile::FULL_BODY {
            let (bytes, most) = (body.len(), TopicProfile::FULL_BODY);
            let text = format!("the message has {bytes} bytes: a redis topic carries at most {most}");
            return Err(Error::new(ErrorKind::InvalidValue, text));
        }
        let keys = self.session.keys.channel_of(channel);
        let args = vec![
            id.to_string().into_bytes(),
            sender.as_str().as_bytes().to_vec(),
            body.to_vec(),
            keys.log.clone(),
            millis(KEPT),
        ];
        let answer = self.session.line.run(Call { script: &PUBLISH, keys: keys.to_write(), args }).await?;
        let offset = reply::list(&answer).and_then(|items| match items {
            [life, number, place] => message::offset(life, number, place),
            _ => None,
        });
        offset.ok_or_else(|| reply::odd("publish", &answer))
    }

    async fn fetch(&self, channel: &Channel, after: Option<Offset>, limit: Limit) -> Result<Batch> {
        self.session.check()?;
        let keys = self.session.keys.channel_of(channel);
        let mark = self.session.ear.follow(&keys.log).await?;
        let batch = self.walk(channel, &keys, after, limit).await?;
        Ok(Batch { mark, revisit: self.session.glance(), ..batch })
    }

    async fn trim(&self, channel: &Channel, retention: Retention) -> Result<u64> {
        self.session.check()?;
        let keys = self.session.keys.channel_of(channel);
        let args = vec![
            retention.count.min(i64::MAX.unsigned_abs()).to_string().into_bytes(),
            // A message of this very millisecond is not old.
            millis(retention.age.min(LONGEST)),
            millis(KEPT),
            millis(LINGER),
            MOST_LATER.to_string().into_bytes(),
        ];
        let answer = self.session.line.run(Call { script: &TRIM, keys: keys.to_write(), args }).await?;
        reply::count(&answer).ok_or_else(|| reply::odd("trim", &answer))
    }

    async fn stirred(&self, channel: &Channel, mark: Mark) {
        let log = self.session.keys.channel_of(channel).log;
        self.session.ear.stirred(&log, Some(mark)).await;
    }
}
