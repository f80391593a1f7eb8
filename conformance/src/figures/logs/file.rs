//! A file: a write at its end, and inotify.

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tokio::sync::{Mutex, mpsc};

use super::{BareLog, Outcome, PAUSE};

/// A file that is written, and one that a thread listens to.
pub(super) struct Log {
    log: File,
    written: File,
    heard: Mutex<mpsc::UnboundedReceiver<Instant>>,
}

impl Log {
    /// Below the directory of the store, in files of their own.
    pub(super) fn open(directory: &str) -> Outcome<Self> {
        let directory = Path::new(directory);
        let open = |name| File::options().create(true).append(true).open(directory.join(name));
        let (log, written) = (open("figures.log")?, open("figures.heard")?);
        let events = inotify::init(CreateFlags::CLOEXEC)?;
        inotify::add_watch(&events, directory.join("figures.heard"), WatchFlags::MODIFY)?;
        let (tell, heard) = mpsc::unbounded_channel();
        // Ends with whoever hears it, or with the program.
        std::thread::Builder::new().name("figures-ear".to_owned()).spawn(move || {
            let mut room = [MaybeUninit::uninit(); 4096];
            let mut reader = Reader::new(&events, &mut room);
            while reader.next().is_ok() && tell.send(Instant::now()).is_ok() {}
        })?;
        Ok(Self { log, written, heard: Mutex::new(heard) })
    }
}

#[async_trait]
impl BareLog for Log {
    fn append_name(&self) -> &'static str {
        "write at the end of a file"
    }

    async fn append(&self, body: &[u8]) -> Outcome<()> {
        Ok((&self.log).write_all(body)?)
    }

    fn heard_name(&self) -> &'static str {
        "write to inotify"
    }

    async fn heard(&self) -> Outcome<Duration> {
        let mut heard = self.heard.lock().await;
        tokio::time::sleep(PAUSE).await;
        let begun = Instant::now();
        (&self.written).write_all(b"x")?;
        let at = heard.recv().await.ok_or("the ear has ended")?;
        Ok(at - begun)
    }
}
