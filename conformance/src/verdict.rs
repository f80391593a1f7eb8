//! The one place where a case that fails ends.

use std::fmt::Display;

/// Ends the case: what it stands on did not work.
#[expect(clippy::panic, reason = "a case that fails is a test that panics")]
#[track_caller]
pub(crate) fn fail(text: impl Display) -> ! {
    panic!("{text}")
}
