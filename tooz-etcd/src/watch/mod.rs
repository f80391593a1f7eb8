//! The ear of a session and what it heard: one stream of watches, and a view of each watched subject.
//!
//! A watch that starts at the store's present revision is served at once; one that starts behind it is
//! served by a loop that runs every 100 ms. So a subject's watch is started without a revision, then its
//! keys are read, and the watch is kept for later waits: what came before the read is in the read.

mod ear;
mod view;

pub(crate) use ear::Ear;
#[cfg(test)]
pub(crate) use view::Scan;
pub(crate) use view::{State, Subject, View};
