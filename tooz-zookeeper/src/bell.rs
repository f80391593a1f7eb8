//! One watch for all who wait for a channel's messages.
//!
//! Whoever comes first sets the watch and attends it; the others listen to that one. When it is dropped, the next
//! one takes over. No task is needed for that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::{Mutex as TaskMutex, watch};
use tooz_core::Channel;
use tooz_core::backend::Mark;

use crate::channel::ChannelKeys;
use crate::session::{Session, locked};
use crate::standing::place;
use crate::watches::Use;

/// What is known of the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Nothing yet.
    Nothing,
    /// Nobody attends it; when it was set, the count was written last by this transaction.
    Left(Mark),
    /// It is set, and the count was written last by this transaction.
    Armed(Mark),
    /// Something happened after that.
    Rung(Mark),
}

/// The watch of one channel.
struct Bell {
    heard: watch::Sender<Heard>,
    attends: TaskMutex<()>,
}

/// The watches of one session.
#[derive(Default)]
pub(crate) struct Bells(Mutex<HashMap<Channel, Weak<Bell>>>);

impl Bells {
    fn of(&self, channel: &Channel) -> Arc<Bell> {
        let mut all = locked(&self.0);
        if let Some(bell) = all.get(channel).and_then(Weak::upgrade) {
            return bell;
        }
        let bell = Arc::new(Bell { heard: watch::Sender::new(Heard::Nothing), attends: TaskMutex::new(()) });
        all.retain(|_, bell| bell.strong_count() > 0);
        all.insert(channel.clone(), Arc::downgrade(&bell));
        bell
    }

    /// Waits until the count is, or may be, written by another transaction than that of the mark.
    pub(crate) async fn stirred_since(&self, session: &Session, channel: &Channel, mark: Mark) {
        let bell = self.of(channel);
        let count = ChannelKeys::of(&session.keys, channel).count();
        let mut hearing = bell.heard.subscribe();
        while !session.is_over() {
            let heard = *hearing.borrow_and_update();
            match heard {
                Heard::Armed(seen) if seen != mark => return,
                Heard::Rung(seen) if seen == mark => return,
                Heard::Left(seen) if seen > mark => return,
                // The sender is this bell's own.
                Heard::Armed(_) => drop(hearing.changed().await),
                Heard::Nothing | Heard::Left(_) | Heard::Rung(_) => tokio::select! {
                    // What changed comes first, so that nobody sets a watch that another one has set.
                    biased;
                    _ = hearing.changed() => {}
                    _turn = bell.attends.lock() => return bell.attend(session, &count, mark).await,
                },
            }
        }
    }
}

impl Bell {
    /// Sets the watch and waits for it, telling the others.
    async fn attend(&self, session: &Session, count: &str, mark: Mark) {
        let _attending = Attending(self);
        loop {
            let states = session.states();
            let armed = async {
                let client = session.client().ok()?;
                session.watches.stat(&client, count, Use::Wait).await.ok()
            };
            let Some((stat, watch)) = armed.await else {
                return session.until_changed(states).await;
            };
            let seen = Mark(stat.map_or(0, |stat| place(stat.mzxid)));
            self.heard.send_replace(Heard::Armed(seen));
            if seen != mark {
                return;
            }
            if session.heard(states, vec![watch]).await {
                self.heard.send_replace(Heard::Rung(seen));
                return;
            }
        }
    }
}

/// Whoever attends a watch; dropped half-way, it leaves it to others.
struct Attending<'a>(&'a Bell);

impl Drop for Attending<'_> {
    fn drop(&mut self) {
        self.0.heard.send_if_modified(|heard| {
            let Heard::Armed(seen) = *heard else { return false };
            *heard = Heard::Left(seen);
            true
        });
    }
}
