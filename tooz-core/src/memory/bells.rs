//! Wake-ups, one bell per subject.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::state::Subject;

/// The bells that somebody listens to right now. A bell rings once, for all its listeners, and is gone.
#[derive(Debug, Default)]
pub(super) struct Bells(BTreeMap<Subject, Bell>);

#[derive(Debug)]
struct Bell {
    sound: Arc<Sound>,
    listeners: usize,
}

/// Silent while open, rung once closed: whoever asks later hears it too.
#[derive(Debug)]
struct Sound(Semaphore);

/// One listener's hold on a bell.
#[derive(Debug)]
pub(super) struct Listener {
    subject: Subject,
    sound: Arc<Sound>,
}

impl Bells {
    pub(super) fn listen(&mut self, subject: Subject) -> Listener {
        let bell = self
            .0
            .entry(subject.clone())
            .or_insert_with(|| Bell { sound: Arc::new(Sound(Semaphore::new(0))), listeners: 0 });
        bell.listeners += 1;
        Listener { subject, sound: Arc::clone(&bell.sound) }
    }

    /// Takes down the bells of these subjects.
    pub(super) fn take<'a>(&mut self, subjects: impl Iterator<Item = &'a Subject>) -> Ringing {
        if self.0.is_empty() {
            return Ringing::default();
        }
        Ringing(subjects.filter_map(|subject| self.0.remove(subject)).map(|bell| bell.sound).collect())
    }

    /// Takes down every bell.
    pub(super) fn take_all(&mut self) -> Ringing {
        Ringing(std::mem::take(&mut self.0).into_values().map(|bell| bell.sound).collect())
    }

    /// A listener goes; the last one takes the bell down.
    pub(super) fn leave(&mut self, listener: &Listener) {
        if let Some(bell) = self.0.get_mut(&listener.subject)
            && Arc::ptr_eq(&bell.sound, &listener.sound)
        {
            bell.listeners -= 1;
            if bell.listeners == 0 {
                self.0.remove(&listener.subject);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Listener {
    /// Ends once the bell has rung.
    pub(super) async fn rung(&self) {
        // No permit is ever given: this ends when the semaphore is closed.
        let _closed = self.sound.0.acquire().await;
    }
}

/// Bells to be rung once the store's lock is released: a woken task may want it at once.
#[must_use]
#[derive(Debug, Default)]
pub(super) struct Ringing(Vec<Arc<Sound>>);

impl Ringing {
    pub(super) fn ring(self) {
        for sound in self.0 {
            sound.0.close();
        }
    }
}
