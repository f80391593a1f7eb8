//! Publishing: what is appended at a channel's gate, and who waits there.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use tokio::runtime::Handle;
use tokio::sync::Mutex as TaskMutex;
use tooz_core::backend::Publication;
use tooz_core::{Error, ErrorKind, Incarnation, Offset, Result};

use crate::error::failed;
use crate::folder::Folder;
use crate::groups::GATE;
use crate::known::Known;
use crate::log;
use crate::record::wall_us;
use crate::segment::{Access, Segment};
use crate::session::Session;
use crate::short::ShortLock;

/// Whoever appends for a session.
#[derive(Clone)]
pub(crate) struct Publisher {
    session: Arc<Session>,
    sync: bool,
    /// The one that opened the session.
    runtime: Option<Handle>,
}

impl Publisher {
    pub(crate) fn new(session: Arc<Session>, sync: bool) -> Self {
        Self { session, sync, runtime: Handle::try_current().ok() }
    }

    /// Appends at once where nobody is in the way. Otherwise a task waits and appends: the caller may stand still for
    /// as long as it likes, and the others of this session are behind it.
    pub(crate) async fn publish(
        &self,
        folder: Folder,
        known: Arc<TaskMutex<Known>>,
        publication: &Publication,
    ) -> Result<Offset> {
        let mut turn = Box::pin(known.lock_owned());
        // Takes the place in the queue, so that the order is that of the calls.
        let mut place = poll_fn(|context| Poll::Ready(turn.as_mut().poll(context))).await;
        if let Poll::Ready(known) = &mut place
            && let Some(_gate) = ShortLock::at_once(&folder, GATE)?
        {
            return self.append(&folder, known, publication);
        }
        let (own, publication) = (self.clone(), publication.clone());
        let turn = async move {
            let mut known = match place {
                Poll::Ready(known) => known,
                Poll::Pending => turn.await,
            };
            let _gate = own.enter(&folder).await?;
            own.append(&folder, &mut known, &publication)
        };
        match &self.runtime {
            Some(runtime) => runtime.spawn(turn).await.unwrap_or_else(|_| Err(ended())),
            None => turn.await,
        }
    }

    /// Enters a channel's gate, making it first where it is missing.
    pub(crate) async fn enter(&self, folder: &Folder) -> Result<ShortLock> {
        for _ in 0..8 {
            if let Some(gate) = self.session.patience.enter(folder, GATE).await? {
                return Ok(gate);
            }
            folder.file_or_create(GATE)?;
        }
        Err(failed("lock", &folder.path_of(GATE), rustix::io::Errno::NOENT))
    }

    /// Appends at the gate, unless the id is known.
    fn append(&self, folder: &Folder, known: &mut Known, publication: &Publication) -> Result<Offset> {
        let id = publication.id;
        let newest = log::newest(folder, Access::Append)?;
        let incarnation = newest.as_ref().map_or(Incarnation::from(id), |it| it.segment.header.incarnation);
        let (mut segment, mut count, mut last) = match newest {
            Some(newest) => {
                known.catch_up(folder, &newest.state())?;
                if let Some(number) = known.number(id) {
                    if self.sync {
                        log::settle(folder, &newest.state(), number)?;
                    }
                    return Ok(log::offset(incarnation, number, Some(id)));
                }
                (newest.segment, newest.count, newest.entry)
            }
            None => (Segment::create(folder, incarnation, 1)?, 0, None),
        };
        if segment.is_full(count, last.as_ref()) {
            let first = segment.header.first.saturating_add(count);
            segment = Segment::create(folder, incarnation, first)?;
            (count, last) = (0, None);
        }
        if self.sync && count == 0 {
            // A name is no safer than the folder it stands in.
            folder.sync()?;
            self.session.root.topics.sync()?;
        }
        let entry = segment.append((count, last.as_ref()), publication, wall_us(), self.sync)?;
        known.add(incarnation, entry.number, id);
        Ok(log::offset(incarnation, entry.number, Some(id)))
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "the runtime that opened the session has ended").effect_unknown()
}
