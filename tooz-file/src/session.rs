//! One session: its folder, its life, its end.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tooz_core::backend::Opening;
use tooz_core::{Cause, Error, ErrorKind, Mode, Name, Result, SessionId};

use crate::config::Config;
use crate::draft::Draft;
use crate::error::{deaf, failed};
use crate::flock;
use crate::folder::Folder;
use crate::our_file::OurFile;
use crate::record::{LONGEST_BODY, Record, wall_us};
use crate::root::Root;
use crate::short::Patience;
use crate::spares::{Slip, Spares};
use crate::watch::{Ear, Interest, Watch, heard};

/// The file that is locked as long as the session lives.
const ALIVE: &str = "alive";

/// How many folders of dead sessions one opening looks through.
const SWEPT: usize = 256;

/// An open session.
pub(crate) struct Session {
    pub(crate) root: Root,
    pub(crate) id: SessionId,
    /// The process that opened it.
    process: u32,
    pub(crate) patience: Patience,
    own: Folder,
    alive: OurFile,
    drafts: AtomicU64,
    spares: Spares,
    end: watch::Sender<Option<Cause>>,
    /// Ring when the session's own file, or the whole root, is taken away.
    signs: [Watch; 2],
}

impl Session {
    /// Opens one, and sweeps up what dead ones left.
    pub(crate) fn open(config: &Config, opening: &Opening) -> Result<Self> {
        let root = Root::open(config)?;
        let ear = if config.polling || root.network.is_some() { Ear::polling() } else { Ear::told() };
        let ear = ear.map_err(|error| ear_failed(&root, error))?;
        let (own, alive) = settle(&root, opening.session)?;
        let signs = signs(&ear, &root, &own)?;
        let session = Self {
            id: opening.session,
            process: std::process::id(),
            patience: Patience { ear, timeout: opening.timeout },
            drafts: AtomicU64::new(0),
            spares: Spares::default(),
            end: watch::Sender::new(None),
            root,
            own,
            alive,
            signs,
        };
        session.sweep()?;
        Ok(session)
    }

    /// The ear.
    pub(crate) fn ear(&self) -> &Arc<Ear> {
        &self.patience.ear
    }

    /// Refuses a step after the end.
    pub(crate) fn check(&self) -> Result<()> {
        match *self.end.borrow() {
            None => Ok(()),
            Some(Cause::Closed) => Err(Error::new(ErrorKind::Closed, "the session is closed")),
            Some(_) => {
                Err(Error::new(ErrorKind::SessionLost, format!("root {:?} is gone", self.root.folder.path())))
            }
        }
    }

    /// Waits for the end.
    pub(crate) async fn ended(&self) -> Cause {
        let mut end = self.end.subscribe();
        let mut hearings = self.signs.each_ref().map(Watch::hearing);
        let mut _renewed;
        loop {
            if let Some(cause) = *end.borrow_and_update() {
                return cause;
            }
            // Whatever was heard, the verdict is what stands there now.
            if !self.stands() {
                self.end(Cause::SessionEnded);
                continue;
            }
            // Forgotten by the ear, it would ring for ever.
            if hearings.iter().any(|hearing| hearing.has_changed().is_err()) {
                match signs(self.ear(), &self.root, &self.own) {
                    Ok(signs) => {
                        hearings = signs.each_ref().map(Watch::hearing);
                        _renewed = signs;
                    }
                    Err(_) => tokio::select! {
                        _ = end.changed() => {}
                        () = self.patience.while_deaf() => {}
                    },
                }
                continue;
            }
            let [own, root] = &mut hearings;
            tokio::select! {
                _ = end.changed() => {}
                () = heard(own) => {}
                () = heard(root) => {}
            }
        }
    }

    /// Whether the session's file is still where the root's path leads.
    fn stands(&self) -> bool {
        let path = self.own.path_of(ALIVE);
        let there = Folder::open(self.own.path()).and_then(|folder| match folder {
            Some(folder) => folder.shows(ALIVE, &self.alive),
            None => Ok(false),
        });
        // Anything but a clear answer is no proof of an end.
        there.unwrap_or_else(|error| error.kind() != ErrorKind::Unavailable || path.exists())
    }

    /// Ends the session: waits end, steps are refused.
    pub(crate) fn end(&self, cause: Cause) {
        self.end.send_if_modified(|end| {
            let first = end.is_none();
            *end = end.or(Some(cause));
            first
        });
    }

    /// Removes the session's folder.
    pub(crate) fn clear(&self) -> Result<()> {
        self.spares.close();
        self.root.sessions.remove_folder(&self.id.to_string()).map(drop)
    }

    /// Writes a record of this session's to a file that is locked, but not yet where others look.
    pub(crate) fn draft(&self, member: &Name, body: &Bytes, written_us: u64) -> Result<Draft<'_>> {
        if body.len() > LONGEST_BODY {
            let text = format!("value has {} bytes: at most {LONGEST_BODY} are allowed", body.len());
            return Err(Error::new(ErrorKind::InvalidValue, text));
        }
        let record = Record {
            member: member.clone(),
            session: self.id,
            process: self.process,
            written_us,
            body: body.clone(),
        };
        let name = format!("draft-{}", self.drafts.fetch_add(1, Ordering::Relaxed));
        let file = self.own.create(&name)?;
        Draft::write(&self.own, name, file, &record.encode())
    }

    /// A draft for a grant that was not waited for: one that was used before, where there is one.
    pub(crate) fn paper(&self, member: &Name, body: &Bytes) -> Result<Draft<'_>> {
        if body.is_empty()
            && let Some(spare) = self.spares.take(member)
        {
            return Ok(Draft::spare(&self.own, spare));
        }
        self.draft(member, body, wall_us())
    }

    /// Takes a holder's record out of sight, to use it again; hands it back if it is to be removed instead.
    pub(crate) fn take_back(&self, folder: &Folder, name: &str, slip: Slip) -> Option<Slip> {
        let spare = || format!("spare-{}", self.drafts.fetch_add(1, Ordering::Relaxed));
        self.spares.keep(slip, spare, |spare| folder.rename(name, &self.own, spare))
    }

    /// Makes a folder with these files in it, at once or not at all; `false` if the name is taken.
    pub(crate) fn build(&self, parent: &Folder, name: &str, files: &[(&str, &[u8])]) -> Result<bool> {
        let site = format!("site-{}", self.drafts.fetch_add(1, Ordering::Relaxed));
        self.own.make(&site)?;
        let placed = self.own.sub_or_make(&site).and_then(|folder| {
            for (name, content) in files {
                let written = folder.create(name)?.write_all_at(content, 0);
                written.map_err(|error| failed("write", &folder.path_of(name), error))?;
            }
            self.own.place(&site, parent, name)
        });
        if !matches!(placed, Ok(true)) {
            // The error that matters is the one above; a later session sweeps what stays.
            let _ = self.own.remove_folder(&site);
        }
        placed
    }

    /// Takes a folder out of sight at once, then apart.
    pub(crate) fn demolish(&self, parent: &Folder, name: &str) -> Result<bool> {
        let site = format!("site-{}", self.drafts.fetch_add(1, Ordering::Relaxed));
        if !parent.rename(name, &self.own, &site)? {
            return Ok(false);
        }
        // Out of sight is what counts; a later session sweeps what stays.
        let _ = self.own.remove_folder(&site);
        Ok(true)
    }

    fn sweep(&self) -> Result<()> {
        let names = self.root.sessions.names()?;
        // Where there are more than one opening looks at, each begins somewhere else.
        let skipped = usize::from(self.id.to_string().as_bytes().first().copied().unwrap_or_default());
        let start = if names.len() > SWEPT { skipped * names.len() / 256 } else { 0 };
        for name in names.iter().cycle().skip(start).take(names.len().min(SWEPT)) {
            // What cannot be swept now is left to a later session.
            let _ = match SessionId::parse(name) {
                Some(id) if id == self.id => Ok(()),
                Some(_) => sweep_one(&self.root, name),
                None => sweep_unborn(&self.root, name),
            };
        }
        Ok(())
    }
}

/// Listens to what tells of a session's end.
fn signs(ear: &Arc<Ear>, root: &Root, own: &Folder) -> Result<[Watch; 2]> {
    let listen =
        |path: &std::path::Path, interest| ear.listen(path, interest).map_err(|error| deaf(path, error));
    Ok([listen(&own.path_of(ALIVE), Interest::Keep)?, listen(root.folder.path(), Interest::Stay)?])
}

fn ear_failed(root: &Root, error: std::io::Error) -> Error {
    let failed = failed("listen with inotify to", root.folder.path(), error);
    if failed.kind() != ErrorKind::Exhausted {
        return failed;
    }
    let text = "every instance this user may have is taken (sysctl fs.inotify.max_user_instances); ?polling=true \
                does without";
    Error::new(ErrorKind::Exhausted, text).while_doing(failed)
}

/// Makes the session's folder, out of the sweepers' sight until its file is there and locked.
fn settle(root: &Root, id: SessionId) -> Result<(Folder, OurFile)> {
    let name = id.to_string();
    let unborn = format!("{UNBORN}{name}");
    for _ in 0..16 {
        let alive = match root.sessions.sub_or_make(&unborn)?.file_or_create(ALIVE) {
            Ok(alive) => alive,
            // Taken for one that was never finished, and swept away.
            Err(error) if error.kind() == ErrorKind::Unavailable => continue,
            Err(error) => return Err(error),
        };
        let locked = flock::try_lock(&alive, Mode::Exclusive)
            .map_err(|error| failed("lock", &root.sessions.path_of(&unborn), error))?;
        if !locked || !root.sessions.rename(&unborn, &root.sessions, &name)? {
            continue;
        }
        if let Some(own) = root.sessions.sub(&name)?
            && own.shows(ALIVE, &alive)?
        {
            return Ok((own, alive));
        }
    }
    let text =
        format!("folder {:?} of the new session is in use or cannot be kept", root.sessions.path_of(&name));
    Err(Error::new(ErrorKind::Unavailable, text))
}

/// What the name of a folder begins with while its session is being made.
const UNBORN: char = '.';

/// How old a folder must be to be taken for one whose maker was killed half-way: making one takes moments.
const ABANDONED: Duration = Duration::from_secs(60);

/// Removes a dead session's folder, holding its lock so that it cannot come to life meanwhile.
fn sweep_one(root: &Root, name: &str) -> Result<()> {
    let Some(folder) = root.sessions.sub(name)? else { return Ok(()) };
    let Some(alive) = folder.look(ALIVE)? else {
        // Just being removed.
        return root.sessions.remove_empty(name);
    };
    // Shared is enough to keep a living one out, and all that NFS grants on a descriptor that only reads.
    if flock::try_lock(&alive, Mode::Shared).map_err(|error| failed("lock", folder.path(), error))? {
        root.sessions.remove_folder(name)?;
    }
    Ok(())
}

/// Removes what a maker left that was killed half-way.
fn sweep_unborn(root: &Root, name: &str) -> Result<()> {
    let ours = name.strip_prefix(UNBORN).and_then(SessionId::parse).is_some();
    if ours && root.sessions.age_of(name)?.is_some_and(|age| age > ABANDONED) {
        root.sessions.remove_folder(name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Wake};

    use tooz_core::{BootClock, Endpoint};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_session_that_the_ear_forgot_listens_again() {
        let root = tempfile::tempdir().unwrap();
        let endpoint = Endpoint::parse(&format!("file://{}", root.path().display())).unwrap();
        let opening = Opening {
            member: Name::new("me").unwrap(),
            session: SessionId::random(),
            predecessor: None,
            ttl: Duration::from_secs(30),
            membership_ttl: Duration::from_secs(30),
            timeout: Duration::from_secs(5),
            clock: Arc::new(BootClock),
        };
        let session = Session::open(&Config::read(&endpoint).unwrap(), &opening).unwrap();
        session.signs.iter().for_each(Watch::cut);

        let mut ended = pin!(session.ended());
        let woken = Arc::new(Woken::default());
        let waker = Arc::clone(&woken).into();
        assert!(ended.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        // Where a task used up its turn, the runtime wakes it a little later.
        tokio::task::yield_now().await;
        assert!(!woken.0.load(Ordering::Relaxed), "it looks again and again");
        std::fs::remove_dir_all(root.path().join("sessions")).unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(20), ended).await;
        assert_eq!(ended.unwrap(), Cause::SessionEnded);
    }
}
