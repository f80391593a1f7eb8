//! How something stands, without async.

use super::block_on;
use crate::error::Result;

/// See [`crate::Watched`].
///
/// ```
/// # fn main() -> tooz_core::Result<()> {
/// use tooz_core::State;
///
/// # let builder = tooz_core::Registry::embedded().builder("memory://docs-blocking-watched");
/// let coord = tooz_core::blocking::connect(builder)?;
/// let mut state = coord.watch_state();
/// let watching = std::thread::spawn(move || state.wait_for(|state| *state == State::Closed));
/// coord.close()?;
/// assert_eq!(watching.join().unwrap()?, State::Closed);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Watched<T: Clone> {
    pub(super) inner: crate::Watched<T>,
}

impl<T: Clone> Watched<T> {
    /// See [`crate::Watched::borrow`].
    pub fn borrow(&self) -> T {
        self.inner.borrow()
    }

    /// See [`crate::Watched::borrow_and_update`].
    pub fn borrow_and_update(&mut self) -> T {
        self.inner.borrow_and_update()
    }

    /// Blocks until it stands otherwise; see [`crate::Watched::changed`].
    ///
    /// # Errors
    /// As there.
    pub fn changed(&mut self) -> Result<()> {
        block_on(self.inner.changed())
    }

    /// Blocks until it stands so; see [`crate::Watched::wait_for`].
    ///
    /// # Errors
    /// As there.
    pub fn wait_for(&mut self, is_it: impl FnMut(&T) -> bool) -> Result<T> {
        block_on(self.inner.wait_for(is_it))
    }
}
