//! Coordination over a directory: locks, groups, elections and messages between the processes of one machine, without a
//! server.
//!
//! The URL is `file:///absolute/path`; the directory is made where missing. Holding a lock is holding a kernel
//! lock (`flock`) on a file, so there is no lease and no heartbeat: a holder that is stopped keeps its lock, one
//! that is killed loses it at once, and its successor is told by the kernel (inotify) within a millisecond.
//! Waiters sleep without a timer, but for a moment when they begin to wait and for a few seconds after news that changed
//! nothing: the kernel announces an end an instant before it lets go.
//!
//! ```no_run
//! use tooz_core::backend::Driver;
//! use tooz_file::FileDriver;
//!
//! assert_eq!(FileDriver::new().schemes(), ["file"]);
//! ```
//!
//! # What lies where
//! | under the root | what | alive while |
//! |---|---|---|
//! | `format` | the version of this layout | |
//! | `sessions/<id>/alive` | a session, with files in the making and records to be used again | locked |
//! | `locks/<name>/`, `leaders/<group>/` | a seat: a lock, or a group's leadership | kept for ever |
//! | … `lock` | locked by whoever holds the seat | |
//! | … `counter` | the last fencing token or ticket; the seat's short lock | |
//! | … `q-…` | a waiter's ticket | locked |
//! | … `h-…`, `t-…`, `x-…` | a holder's record: holding, told to let go, evicted | locked |
//! | `groups/<group>/gate` | the group's short lock | |
//! | `groups/<group>/m-<member>` | a member | locked |
//! | `topics/<channel>/` | a log of messages, in segments | kept for ever |
//! | … `x-…`, `d-…` | a segment's index and data | |
//! | … `gate`, `head` | the short lock for appending; where what is retained begins | |
//!
//! The full format is in `docs/wire/file.md`.
//!
//! # Options
//! * `allow_network_fs=true` accepts a network file system, where kernel locks may not hold between hosts and
//!   where nobody is told of changes: news are polled.
//! * `fsync=true` acknowledges a message only when it is on the disk: some milliseconds each, during which the
//!   thread of the caller's runtime is blocked. Without it an acknowledged message survives the end of every
//!   process, but perhaps not a power cut.
//! * `polling=true` polls in any case, for systems that are out of inotify instances.
//!
//! # Limits
//! * One machine. Not shared with Python tooz's file driver, whose POSIX record locks do not conflict with `flock`.
//! * Whoever moves or renames a folder *above* the root while it is in use ends the sessions in it, but none of them
//!   is told: they go on until they look, and may hold what others take at the old path meanwhile. End them first.
//! * A child that was forked and never calls `exec` has copies of all descriptors: what its parent does not give
//!   back before it dies stays held until the child ends, too.
//! * A seat's folder stays when nobody uses it any more, because its tokens must go on. It is some hundred bytes.
//! * A topic's folder stays, too, with its last segment (some 9 MiB at most), because its count must go on.
//! * A lock kept by a tether alone, its holder's process gone, is held by nobody that a look at the queue can name.

mod config;
mod contend;
mod contest;
mod draft;
mod driver;
mod echo;
mod entry;
mod error;
mod evict;
mod flock;
mod folder;
mod groups;
#[cfg(feature = "hostile")]
#[doc(hidden)]
pub mod hostile;
mod keys;
mod known;
mod latch;
mod listing;
mod locks;
mod log;
mod look;
mod order;
mod our_file;
mod publish;
mod record;
mod root;
mod segment;
mod sequence;
mod session;
mod short;
mod slots;
mod spares;
mod topics;
mod vigil;
mod watch;

pub use driver::FileDriver;
