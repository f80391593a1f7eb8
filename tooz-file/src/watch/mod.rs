//! The ear: turns what happens to files into wake-ups, and nothing else.
//!
//! One per process, shared by all sessions, on a small thread of its own, so that no runtime that ends can
//! leave the others deaf. It sleeps in the kernel until something happens.

mod ear;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod inotify;
mod interest;
mod poll;
mod table;

pub(crate) use ear::{Ear, Watch, heard};
pub(crate) use interest::Interest;
