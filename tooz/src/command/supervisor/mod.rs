//! The process between the command and its child.
//!
//! ```text
//! tooz lock ──socket──► supervisor ──process group──► child, its children …
//!     │                     │
//!   guard                tether (file: a second descriptor of the lock)
//! ```
//! A command that is killed with -9 cannot end its child, and one that is stopped cannot either; the
//! kernel frees a file lock before any death signal reaches the child. So a small process of its own (the
//! same program) owns the child's process group. It learns by the end of the socket that the command died,
//! enforces the claim's deadline by itself, and keeps the lock's descriptor open until the group is gone.
//! When the supervisor dies, the command kills the group. Only processes that leave the child's process
//! group (`setsid`, a daemon) escape, and only killing command and supervisor in one instant ends both.
//! Processes of another user (sudo) cannot be ended: what is held stays held until they end, as far as it can.

mod brood;
mod descriptors;
mod handle;
mod message;
mod process;
mod schedule;
mod terminal;

/// What a supervisor's command line begins with, before `--` and the child's.
pub(crate) const WORD: &str = "supervise";

pub(crate) use handle::{Charge, Outcome, Supervisor, beyond};
pub(crate) use process::supervise;
pub(crate) use terminal::Terminal;
