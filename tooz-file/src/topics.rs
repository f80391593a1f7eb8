//! Topics: a folder each, a log of segments in it, appended to at a gate, read without one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex as TaskMutex;
use tooz_core::backend::{Batch, Limit, Mark, Publication, Retention, TopicProfile, TopicSteps};
use tooz_core::{Channel, Error, ErrorKind, Offset, Result};

use crate::error::deaf;
use crate::folder::Folder;
use crate::keys::channel_folder;
use crate::known::Known;
use crate::log;
use crate::publish::Publisher;
use crate::record::wall_us;
use crate::segment::{Access, INDEX, data_name, index_name, read_data_name};
use crate::session::Session;
use crate::watch::{Interest, Watch};

/// So many channels' ids are kept at hand; those of others are read again when needed.
const AT_HAND: usize = 64;

/// What a wait listens to.
enum Subject {
    /// The channel's folder.
    Channel,
    /// The folder in which it will appear.
    Coming,
}

/// The topics of one session.
pub(crate) struct Topics {
    session: Arc<Session>,
    publisher: Publisher,
    known: Mutex<HashMap<Channel, Arc<TaskMutex<Known>>>>,
}

impl Topics {
    pub(crate) fn new(session: Arc<Session>, sync: bool) -> Self {
        let publisher = Publisher::new(Arc::clone(&session), sync);
        Self { session, publisher, known: Mutex::default() }
    }

    fn find(&self, channel: &Channel) -> Result<Option<Folder>> {
        self.session.root.topics.sub(&channel_folder(channel))
    }

    /// The ids of a channel; its lock makes the tasks of this session wait for each other here, which costs
    /// less than meeting at the gate, and serves them in order.
    fn known(&self, channel: &Channel) -> Arc<TaskMutex<Known>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= AT_HAND && !known.contains_key(channel) {
            // Whoever uses one now keeps its own until it is done; two are as good as two sessions.
            known.clear();
        }
        Arc::clone(known.entry(channel.clone()).or_default())
    }

    /// Waits until a look may show something else than the one that made the mark.
    async fn stirred_since(&self, channel: &Channel, mark: Mark) {
        loop {
            let heard = self.attend(channel).and_then(|watch| Ok((watch, self.mark(channel)?)));
            match heard {
                Ok((_, now)) if now != mark => return,
                // What is heard of the channel itself is a message nearly always: the fetch will see.
                Ok((Some((watch, Subject::Channel)), _)) => return watch.rung().await,
                Ok((Some((watch, Subject::Coming)), _)) => watch.rung().await,
                // Its place in the file system changes this moment: look again.
                Ok((None, _)) => self.session.patience.breathe().await,
                // Deaf for now: let the caller look, in a while.
                Err(_) => return self.session.patience.while_deaf().await,
            }
        }
    }

    fn mark(&self, channel: &Channel) -> Result<Mark> {
        let Some(folder) = self.find(channel)? else { return Ok(Mark::default()) };
        let newest = log::newest(&folder, Access::Read)?;
        let state = newest.map(|newest| newest.state()).filter(|state| state.last > 0);
        Ok(state.map_or(Mark::default(), |state| state.mark()))
    }

    /// Listens to the channel's folder, or for its coming; `None` if it comes or goes right now.
    fn attend(&self, channel: &Channel) -> Result<Option<(Watch, Subject)>> {
        let topics = &self.session.root.topics;
        let name = channel_folder(channel);
        if let Some(watch) = self.listen(&topics.path_of(&name), Interest::Writings(INDEX))? {
            return Ok(Some((watch, Subject::Channel)));
        }
        let watch = self.listen(topics.path(), Interest::Entry(name.clone()))?;
        let is_missing = topics.identity_of(&name)?.is_none();
        Ok(watch.filter(|_| is_missing).map(|watch| (watch, Subject::Coming)))
    }

    fn listen(&self, path: &std::path::Path, interest: Interest) -> Result<Option<Watch>> {
        match self.session.ear().listen(path, interest) {
            Ok(watch) => Ok(Some(watch)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(deaf(path, error)),
        }
    }
}

#[async_trait]
impl TopicSteps for Topics {
    async fn publish(&self, publication: &Publication) -> Result<Offset> {
        self.session.check()?;
        if publication.body.len() > TopicProfile::FULL_BODY {
            let (bytes, most) = (publication.body.len(), TopicProfile::FULL_BODY);
            let text = format!("the message has {bytes} bytes: a file topic carries at most {most}");
            return Err(Error::new(ErrorKind::InvalidValue, text));
        }
        let folder = self.session.root.topics.sub_or_make(&channel_folder(&publication.channel))?;
        let known = self.known(&publication.channel);
        self.publisher.publish(folder, known, publication).await
    }

    async fn fetch(&self, channel: &Channel, after: Option<Offset>, limit: Limit) -> Result<Batch> {
        self.session.check()?;
        match self.find(channel)? {
            Some(folder) => log::fetch(&folder, after, limit),
            None => Ok(Batch { anew: after.is_some(), ..Batch::default() }),
        }
    }

    async fn trim(&self, channel: &Channel, retention: Retention) -> Result<u64> {
        self.session.check()?;
        let Some(folder) = self.find(channel)? else { return Ok(0) };
        // Most of the time there is nothing to do, and nobody needs to wait.
        if beyond(&folder, retention)?.is_none() {
            return Ok(0);
        }
        let _gate = self.publisher.enter(&folder).await?;
        let Some((state, head)) = beyond(&folder, retention)? else { return Ok(0) };
        log::set_head(&folder, head)?;
        // The one that has the first message stays, or is to have it: the newest knows the count.
        let kept = state.segments.iter().copied().filter(|first| *first <= head).max().unwrap_or(0);
        for first in state.segments.into_iter().filter(|first| *first < kept) {
            folder.remove(&index_name(first))?;
        }
        // Those as well whose index went when somebody trimmed who was killed.
        for first in folder.list(read_data_name)?.into_iter().filter(|first| *first < kept) {
            match folder.remove(&data_name(first)) {
                // Planted by somebody: it stalls nobody.
                Err(error) if error.kind() == ErrorKind::Corrupt => {}
                removed => drop(removed?),
            }
        }
        Ok(head - state.head)
    }

    async fn stirred(&self, channel: &Channel, mark: Mark) {
        tokio::select! {
            () = self.stirred_since(channel, mark) => {}
            _ = self.session.ended() => {}
        }
    }
}

/// How the log stands and which message is the first to be retained, if those before it are still there.
fn beyond(folder: &Folder, retention: Retention) -> Result<Option<(log::State, u64)>> {
    let Some(state) = log::state(folder)?.filter(|state| state.last > 0) else { return Ok(None) };
    let mut head = state.head.max((state.last + 1).saturating_sub(retention.count));
    let now = Duration::from_micros(wall_us());
    log::entries(folder, &state, head, |entry| {
        let is_old = now.saturating_sub(Duration::from_micros(entry.written_us)) > retention.age;
        if is_old {
            head = entry.number + 1;
        }
        is_old
    })?;
    Ok((head > state.head).then_some((state, head)))
}
