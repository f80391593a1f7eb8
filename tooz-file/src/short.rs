//! Short locks: held for a few system calls, awaited without blocking a thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tooz_core::{Error, ErrorKind, Mode, Result};

use crate::error::{deaf, failed};
use crate::flock;
use crate::folder::Folder;
use crate::our_file::OurFile;
use crate::watch::{Ear, Interest};

/// A short lock, held while this lives.
#[derive(Debug)]
pub(crate) struct ShortLock(OurFile);

impl ShortLock {
    /// Locks the file of this name, if it is there and nobody has it.
    pub(crate) fn at_once(folder: &Folder, name: &str) -> Result<Option<Self>> {
        let Some(file) = folder.file(name)? else { return Ok(None) };
        let fault = |error: std::io::Error| failed("lock", &folder.path_of(name), error);
        if !flock::try_lock(&file, Mode::Exclusive).map_err(fault)? {
            return Ok(None);
        }
        // Whoever locked an unlinked file has locked nothing.
        Ok(folder.shows(name, &file)?.then(|| Self(file)))
    }
}

impl std::ops::Deref for ShortLock {
    type Target = OurFile;

    fn deref(&self) -> &OurFile {
        &self.0
    }
}

impl Drop for ShortLock {
    fn drop(&mut self) {
        // Closing announces it; a child forked in this moment must not keep it meanwhile. Never dropped in such a
        // child: no await lies between taking and dropping it, so only a thread that the child does not have could.
        let _ = flock::unlock(&self.0);
    }
}

/// Between two looks where listening fails, for want of watches or descriptors.
const DEAF: Duration = Duration::from_millis(250);

/// Before the first look that follows no news; each later one takes twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(5);

/// How long an owner may take, and who tells when it is done.
#[derive(Clone)]
pub(crate) struct Patience {
    pub(crate) ear: Arc<Ear>,
    pub(crate) timeout: Duration,
}

impl Patience {
    /// Waits where listening fails.
    pub(crate) async fn while_deaf(&self) {
        self.ear.alarm(DEAF).rung().await;
    }

    /// Waits for what is under way to be over.
    pub(crate) async fn breathe(&self) {
        self.ear.alarm(Duration::from_millis(1)).rung().await;
    }

    /// Locks the file of this name; `None` if there is none.
    ///
    /// # Errors
    /// `Unavailable` if its owner does not let go in time: it may be stopped.
    pub(crate) async fn enter(&self, folder: &Folder, name: &str) -> Result<Option<ShortLock>> {
        let path = folder.path_of(name);
        let fault = |error: std::io::Error| failed("lock", &path, error);
        let (mut since, mut pause, mut alarm) = (None, FIRST_LOOK, None);
        loop {
            let Some(file) = folder.file(name)? else { return Ok(None) };
            while !flock::try_lock(&file, Mode::Exclusive).map_err(fault)? {
                let watch = match self.ear.listen(&path, Interest::Gate) {
                    Ok(watch) => watch,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(deaf(&path, error)),
                };
                // Again, now that no release can be missed.
                if flock::try_lock(&file, Mode::Exclusive).map_err(fault)? {
                    break;
                }
                let left = self.timeout.saturating_sub(since.get_or_insert_with(Instant::now).elapsed());
                if left.is_zero() {
                    let owner = flock::owner(&file).unwrap_or_else(|| "its owner".into());
                    let text = format!("{path:?} stays locked by {owner}, which may be stopped");
                    return Err(Error::new(ErrorKind::Unavailable, text));
                }
                let due = alarm.get_or_insert_with(|| self.ear.alarm(pause.min(left))).rung();
                tokio::select! {
                    biased;
                    () = watch.rung() => {}
                    // Unlocking is no news, and closing is none while a forked child has a copy.
                    () = due => (pause, alarm) = (pause.saturating_mul(2), None),
                }
                if !folder.shows(name, &file)? {
                    break;
                }
            }
            // Whoever locked an unlinked file has locked nothing.
            if folder.shows(name, &file)? {
                return Ok(Some(ShortLock(file)));
            }
        }
    }
}
