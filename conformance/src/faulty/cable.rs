//! What lies between a client and its store: whole, or cut in one direction.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Which way nothing passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cut {
    /// Everything passes.
    #[default]
    None,
    /// What the client sends does not arrive; what it was to be told, it hears.
    Requests,
    /// What the client sends is carried out; it hears nothing.
    Replies,
    /// Nothing is cut, and nothing else goes wrong either: the faults are over.
    Calm,
}

/// The cable of one client, whatever sessions it opens.
#[derive(Debug, Default)]
pub struct Cable(Mutex<Cut>);

/// Whoever waits for a cable looks again after this.
const LOOK: Duration = Duration::from_millis(20);

impl Cable {
    /// Cuts it, or mends it with [`Cut::None`].
    pub fn set(&self, cut: Cut) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cut;
    }

    /// How it is now.
    pub fn cut(&self) -> Cut {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when it is not cut this way.
    pub(super) async fn passes(&self, cut: Cut) {
        while self.cut() == cut {
            tokio::time::sleep(LOOK).await;
        }
    }
}
