//! A value of the coordinator's to look at and to wait for.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::signal::Signalled;

/// How something stands right now, and how it stands next. Cheap to clone; each clone has seen what its original had.
///
/// What it gives is a copy: looking at it for ever holds up nobody, heartbeats least of all.
///
/// ```
/// # async fn run() -> tooz_core::Result<()> {
/// use tooz_core::State;
///
/// # let coord = tooz_core::Registry::embedded().builder("memory://docs-watched").connect().await?;
/// let mut state = coord.state();
/// assert_eq!(state.borrow(), State::Connected);
/// coord.close().await?;
/// assert_eq!(state.wait_for(|state| *state == State::Closed).await?, State::Closed);
/// # Ok(()) }
/// # pollster::block_on(run()).unwrap();
/// ```
#[derive(Clone)]
pub struct Watched<T> {
    signal: Signalled<T>,
}

impl<T: Clone> Watched<T> {
    pub(crate) fn new(signal: Signalled<T>) -> Self {
        Self { signal }
    }

    /// How it stands.
    pub fn borrow(&self) -> T {
        self.signal.get()
    }

    /// How it stands; that counts as seen.
    pub fn borrow_and_update(&mut self) -> T {
        self.signal.look()
    }

    /// Ends when it stands otherwise than was seen last, and takes that for seen. At first what there was when it was
    /// asked for counts as seen.
    ///
    /// # Errors
    /// `Closed` once it never changes again: after [`State::Closed`](crate::State::Closed) or
    /// [`MembershipState::Left`](crate::MembershipState::Left) was seen.
    ///
    /// # Cancel safety
    /// May be dropped and called again; a change is never missed.
    pub async fn changed(&mut self) -> Result<()> {
        self.signal.changed().await.map_err(|_| over())
    }

    /// Ends with the first that `is_it`, at once if that is how it stands.
    ///
    /// # Errors
    /// `Closed` if it never changes again and is another.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn wait_for(&mut self, is_it: impl FnMut(&T) -> bool) -> Result<T> {
        self.signal.wait_for(is_it).await.map_err(|_| over())
    }
}

impl<T: Clone + fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watched").field(&self.borrow()).finish()
    }
}

fn over() -> Error {
    Error::new(ErrorKind::Closed, "what was watched has ended")
}
