//! The kernel tells: one inotify instance, read by one thread that otherwise sleeps.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::interest::{About, Interest, News};
use super::table::{Bell, Hearing, Table};

/// Of files: closings by a writer (a mere look is noise), changes, and the end.
const FILE_NEWS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DONT_FOLLOW);

/// Of folders: entries that come and go, closings of entries by a writer, and the end.
const FOLDER_NEWS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DONT_FOLLOW)
    .union(WatchFlags::ONLYDIR);

/// Of folders: entries that come and go or are written to, and the end. That they are closed is no news then.
const WRITING_NEWS: WatchFlags = FOLDER_NEWS.difference(WatchFlags::CLOSE_WRITE).union(WatchFlags::MODIFY);

/// Of folders that only have to stay: their end. What comes and goes in them wakes nobody.
const STAY_NEWS: WatchFlags = WatchFlags::DELETE_SELF
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::DONT_FOLLOW)
    .union(WatchFlags::ONLYDIR);

pub(super) struct Inotify {
    shared: Arc<Shared>,
}

struct Shared {
    events: OwnedFd,
    rouser: OwnedFd,
    table: Mutex<Table>,
    ended: AtomicBool,
}

impl Inotify {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            events: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            rouser: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            table: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let ear = Arc::clone(&shared);
        std::thread::Builder::new().name("tooz-file-ear".into()).spawn(move || ear.hear())?;
        Ok(Self { shared })
    }

    pub(super) fn listen(&self, path: &Path, interest: Interest) -> io::Result<(i32, u64, Hearing)> {
        let flags = match interest.about() {
            About::File => FILE_NEWS,
            About::Folder => STAY_NEWS,
            About::Entries => FOLDER_NEWS,
            About::Writings => WRITING_NEWS,
        };
        // Added to what others listen for there. Events of the new watch wait for the lock, and so for its listener.
        let mut table = self.table();
        let subject = inotify::add_watch(&self.shared.events, path, flags | WatchFlags::MASK_ADD)?;
        let (id, hearing) = table.add(subject, interest);
        Ok((subject, id, hearing))
    }

    pub(super) fn forget(&self, subject: i32) {
        // Fails when the file is gone already, and its watch with it.
        let _ = inotify::remove_watch(&self.shared.events, subject);
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.shared.table()
    }

    pub(super) fn rouse(&self) {
        // Fails only when the counter is full, and then the thread is roused already.
        let _ = rustix::io::write(&self.shared.rouser, &1_u64.to_ne_bytes());
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.rouse();
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: sleeps until there are events, an alarm is due, or it is roused.
    fn hear(&self) {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        loop {
            let until = self.table().next_alarm();
            let timeout = until.map(|at| at.saturating_duration_since(Instant::now()));
            let timeout = timeout.and_then(|span| Timespec::try_from(span).ok());
            let mut sources =
                [PollFd::new(&self.events, PollFlags::IN), PollFd::new(&self.rouser, PollFlags::IN)];
            // An interrupted sleep is an early look, nothing worse.
            let _ = rustix::event::poll(&mut sources, timeout.as_ref());
            let roused = sources.get(1).is_some_and(|source| !source.revents().is_empty());
            if self.ended.load(Ordering::Acquire) {
                return;
            }
            if roused {
                let _ = rustix::io::read(&self.rouser, &mut [0; 8]);
            }
            let mut bells = self.read(&mut buffer);
            if until.is_some() {
                bells.extend(self.table().due(Instant::now()));
            }
            // Outside the lock: a waker may drop a watch.
            for bell in bells {
                bell.send_replace(());
            }
        }
    }

    fn read(&self, buffer: &mut [MaybeUninit<u8>]) -> Vec<Bell> {
        let mut bells = Vec::new();
        let mut reader = Reader::new(&self.events, buffer);
        // One buffer at a time, so that a flood cannot keep the bells from ringing.
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().and_then(|name| name.to_str().ok());
                    self.take(event.wd(), event.events(), name, &mut bells);
                }
                Err(Errno::INTR) => continue,
                Err(_) => return bells,
            }
            if reader.is_buffer_empty() {
                return bells;
            }
        }
    }

    fn take(&self, subject: i32, events: ReadFlags, name: Option<&str>, bells: &mut Vec<Bell>) {
        let mut table = self.table();
        if events.contains(ReadFlags::QUEUE_OVERFLOW) {
            bells.extend(table.everyone());
        } else if events.contains(ReadFlags::IGNORED) {
            bells.extend(table.end(subject));
        } else if let Some(name) = name {
            let is_written = events.contains(ReadFlags::MODIFY);
            let news = if is_written { News::EntryWritten(name) } else { News::Entry(name) };
            bells.extend(table.hearers(subject, news));
        } else {
            let news = [
                (ReadFlags::CLOSE_WRITE, News::Closed),
                (ReadFlags::MODIFY, News::Written),
                (ReadFlags::ATTRIB, News::Changed),
                (ReadFlags::MOVE_SELF, News::Moved),
                (ReadFlags::DELETE_SELF, News::Gone),
                (ReadFlags::UNMOUNT, News::Gone),
            ];
            for (_, news) in news.into_iter().filter(|(flag, _)| events.contains(*flag)) {
                bells.extend(table.hearers(subject, news));
            }
        }
    }
}
