//! The driver interface: what a store must offer for core to coordinate over it.
//!
//! *Drivers speak, core waits.* A driver opens a session with its store and offers **steps** (one atomic
//! request that reports what it found) and **waits** (futures that end when there may be news). Core owns
//! everything that takes time: waiting loops, deadlines, retries, heartbeats, guards, clean-up, events and
//! coming back after a lost session. Users never meet this module; authors of drivers meet little else.
//!
//! # Rules
//! Each is a case of the `conformance` suite.
//!
//! 1. **A step is one atomic act**, one round trip where the store allows it.
//! 2. **The same arguments again give the same end state.** [`ClaimId`](crate::ClaimId),
//!    [`SessionId`](crate::SessionId) and [`MessageId`](crate::MessageId) are chosen before sending, so a
//!    repeated request is recognised.
//! 3. **Steps return facts, core gives verdicts.** A group that does not exist is a fact, not an error.
//! 4. **`Err` means infrastructure** and says by [`Effect`](crate::Effect) whether the store may have
//!    changed. A step answers or fails within about [`Opening::timeout`]. `SessionLost` ends the session at
//!    once: it is never the word for a lost connection.
//! 5. **Steps are never dropped half-way** (core runs them on a tracked task); **waits may be, always.**
//! 6. **A wait may end early and must end** when its subject changes, when the caller's own entry is gone
//!    and when the session ends. What was true before the wait began counts: no wake-up is lost between a
//!    step and the wait that follows it.
//! 7. **Names are any UTF-8 of 1 to 255 bytes, carried exactly**, and encoded injectively.
//! 8. **Drivers keep no memory of claims to decide by.** An open file under a kernel lock is the one
//!    exception; a list of what a session asked for, so that `close` can free it, decides nothing.
//! 9. **Drivers never sleep, retry or log above debug.** The one task a session may own is its ear (a
//!    watch stream, a push inbox, inotify): it turns events into wake-ups and a read-only view, decides
//!    nothing, and ends with the session. [`Driver::open`] runs inside the engine's runtime, so an ear is
//!    started there with `tokio::spawn`.
//! 10. **A claim is one conditional step**: void? already mine? already queued? free? else queue, tested in
//!     this order, so that neither a late nor a repeated request makes a second claim.

mod driver;
mod facts;
mod per_runtime;
mod profile;
mod proof;
mod steps;
mod topics;

pub use driver::{Driver, Opened, Opening, OptionKind, OptionSpec};
pub use facts::{
    Amended, Contender, Created, Deleted, Doubt, Enrolment, Eviction, Grant, Holder, Joined, Left, Mark,
    Position, Queue, Renewal, RosterEntry, RosterFact, Standing, Turn, Updated, Withdrawn,
};
pub use per_runtime::PerRuntime;
pub use profile::{
    Fairness, Fencing, GroupProfile, Liveness, LockProfile, Profile, Requirement, TopicProfile, WakeUp,
};
pub use proof::Proof;
pub use steps::{Backend, GroupSteps, LockSteps};
pub use topics::{Batch, Limit, Publication, Retention, TopicSteps};
