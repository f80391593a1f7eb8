//! The ear of this process, and one listener's hold on it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::watch;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::inotify::Inotify;
use super::interest::Interest;
use super::poll::Poll;
use super::table::{Hearing, Table};

/// Hears what happens to files.
pub(crate) struct Ear {
    source: Source,
    /// The process it was started in: a fork has its memory and its descriptors, but not its thread.
    process: u32,
}

/// Where news come from.
enum Source {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Inotify(Inotify),
    Poll(Poll),
}

static TOLD: Mutex<Weak<Ear>> = Mutex::new(Weak::new());
static POLLING: Mutex<Weak<Ear>> = Mutex::new(Weak::new());

impl Ear {
    /// The process's ear that is told by the kernel; where there is no such thing, the one that polls.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(crate) fn told() -> io::Result<Arc<Self>> {
        Self::shared(&TOLD, || Inotify::start().map(Source::Inotify))
    }

    /// The process's ear that is told by the kernel; where there is no such thing, the one that polls.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(crate) fn told() -> io::Result<Arc<Self>> {
        Self::shared(&TOLD, || Poll::start().map(Source::Poll))
    }

    /// The process's ear that rings everyone again and again.
    pub(crate) fn polling() -> io::Result<Arc<Self>> {
        Self::shared(&POLLING, || Poll::start().map(Source::Poll))
    }

    fn shared(
        place: &Mutex<Weak<Self>>,
        start: impl FnOnce() -> io::Result<Source>,
    ) -> io::Result<Arc<Self>> {
        let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ear) = place.upgrade() {
            if ear.is_ours() {
                return Ok(ear);
            }
            // Never dropped here: what it has is shared with the parent.
            std::mem::forget(ear);
        }
        let ear = Arc::new(Self { source: start()?, process: std::process::id() });
        *place = Arc::downgrade(&ear);
        Ok(ear)
    }

    /// Whether it was started in this process.
    fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }

    /// Whether it is told rather than looking.
    pub(crate) fn is_told(&self) -> bool {
        match self.source {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::Inotify(_) => true,
            Source::Poll(_) => false,
        }
    }

    /// Listens from now on: check after this, so that nothing falls in between. Never follows a link.
    pub(crate) fn listen(self: &Arc<Self>, path: &Path, interest: Interest) -> io::Result<Watch> {
        let (subject, id, hearing) = match &self.source {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::Inotify(inotify) => inotify.listen(path, interest)?,
            Source::Poll(poll) => poll.listen(path, interest)?,
        };
        Ok(Watch { ear: Arc::clone(self), subject: Some(subject), id, hearing })
    }

    /// A watch that rings once, after a time.
    pub(crate) fn alarm(self: &Arc<Self>, after: Duration) -> Watch {
        let at = Instant::now() + after;
        let (id, hearing) = self.table().add_alarm(at);
        match &self.source {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::Inotify(inotify) => inotify.rouse(),
            Source::Poll(poll) => poll.rouse(),
        }
        Watch { ear: Arc::clone(self), subject: None, id, hearing }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        match &self.source {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Source::Inotify(inotify) => inotify.table(),
            Source::Poll(poll) => poll.table(),
        }
    }

    fn forget(&self, subject: Option<i32>, id: u64) {
        // In a forked child it would make the parent deaf.
        if !self.is_ours() {
            return;
        }
        let mut table = self.table();
        let Some(subject) = subject else { return table.forget_alarm(id) };
        if table.forget(subject, id) {
            match &self.source {
                // Under the table's lock, so that nobody can have begun to listen to the same file meanwhile.
                #[cfg(any(target_os = "linux", target_os = "android"))]
                Source::Inotify(inotify) => inotify.forget(subject),
                Source::Poll(_) => {}
            }
        }
    }
}

/// Listens while it lives.
pub(crate) struct Watch {
    ear: Arc<Ear>,
    subject: Option<i32>,
    id: u64,
    hearing: Hearing,
}

impl Watch {
    /// Waits until there was news since the watch began, or was last settled.
    pub(crate) fn rung(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut hearing = self.hearing.clone();
        async move { heard(&mut hearing).await }
    }

    /// Whether there was news since.
    pub(crate) fn has_rung(&self) -> bool {
        // An error says that the ear forgot the subject, which is news too.
        self.hearing.has_changed().unwrap_or(true)
    }

    /// What was heard so far is dealt with: only later news count. Call it before looking.
    pub(crate) fn settle(&mut self) {
        self.hearing.mark_unchanged();
    }

    /// As if the kernel, or somebody who shares the ear's descriptors, had ended it.
    #[cfg(test)]
    pub(crate) fn cut(&self) {
        self.ear.forget(self.subject, self.id);
    }

    /// A hearing of one's own on the same subject.
    pub(crate) fn hearing(&self) -> watch::Receiver<()> {
        self.hearing.clone()
    }
}

/// Waits for news. A subject that is gone is news too, for ever.
pub(crate) async fn heard(hearing: &mut watch::Receiver<()>) {
    // An error says that the ear forgot the subject: whoever waits should look again.
    let _ = hearing.changed().await;
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ear.forget(self.subject, self.id);
    }
}
