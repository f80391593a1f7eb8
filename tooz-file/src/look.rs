//! Who holds a seat and who waits for it.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use tooz_core::backend::{Contender, Holder, Mark, Queue};
use tooz_core::{FencingToken, Result, Seat};

use crate::contest::{Contest, Life};
use crate::error::deaf;
use crate::keys::{Entry, PLACES, Place};
use crate::locks::Locks;
use crate::record::{Record, boot_us};
use crate::watch::{Interest, Watch};

impl Locks {
    /// The living claims of a seat. Its mark is a digest of what was seen: whoever listens compares it with a
    /// second look, so that nothing need be remembered between the two.
    pub(crate) fn look(&self, seat: &Seat) -> Result<Queue> {
        let Some(contest) = Contest::find(&self.session, seat)? else {
            return Ok(marked(Queue::default(), &[]));
        };
        let mut entries = contest.entries()?;
        entries.retain(|entry| entry.place != Place::Evicted);
        entries.sort_by_key(|entry| entry.number);
        let mut queue = Queue::default();
        let mut living = Vec::new();
        for entry in entries {
            let Life::Alive(file) = contest.life(&entry)? else { continue };
            let record = Record::read(&file);
            let member = record.as_ref().map(|record| record.member.clone());
            living.push((entry, record.map(|record| record.body).unwrap_or_default()));
            let Some((_, value)) = living.last() else { continue };
            if entry.place == Place::Queued {
                queue.waiting.push(Contender { claim: Some(entry.claim), member, mode: entry.mode });
                continue;
            }
            queue.holders.push(Holder {
                claim: Some(entry.claim),
                value: member.is_some().then(|| value.clone()),
                member,
                mode: entry.mode,
                token: Some(FencingToken::new(entry.number)),
                age: Some(Duration::from_micros(boot_us().saturating_sub(entry.since_us))),
            });
        }
        Ok(marked(queue, &living))
    }

    /// Waits until a look shows something else than the one that made the mark.
    pub(crate) async fn stirred_since(&self, seat: &Seat, mark: Mark) {
        // The fact that made the mark may have been looked at in such an instant, too.
        let mut echo = self.session.patience.echo();
        loop {
            match self.attend(seat).and_then(|watch| Ok((watch, self.look(seat)?))) {
                Ok((_, queue)) if queue.mark != mark => return,
                Ok((Some(watch), _)) => self.session.patience.news(&watch, &mut echo).await,
                // Its place in the file system changes this moment: look again.
                Ok((None, _)) => self.session.patience.breathe().await,
                // Deaf for now: let the caller look, in a while.
                Err(_) => return self.session.patience.while_deaf().await,
            }
        }
    }

    /// Listens to the seat's folder, or for its coming; `None` if it comes or goes right now.
    fn attend(&self, seat: &Seat) -> Result<Option<Watch>> {
        let (parent, name) = Contest::whereabouts(&self.session, seat);
        let listen = |path: &std::path::Path, interest| match self.session.ear().listen(path, interest) {
            Ok(watch) => Ok(Some(watch)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(deaf(path, error)),
        };
        if let Some(watch) = listen(&parent.join(&name), Interest::Entries(PLACES))? {
            return Ok(Some(watch));
        }
        let watch = listen(&parent, Interest::Entry(name))?;
        Ok(watch.filter(|_| matches!(Contest::find(&self.session, seat), Ok(None))))
    }
}

fn marked(mut queue: Queue, living: &[(Entry, bytes::Bytes)]) -> Queue {
    let mut digest = DefaultHasher::new();
    living.hash(&mut digest);
    queue.mark = Mark(digest.finish());
    queue
}
