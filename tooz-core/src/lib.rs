//! Core of tooz: distributed locks, group membership, leader election and partitioning behind one API over any store.
//!
//! Most programs use the facade crate `tooz`, which re-exports this one together with the compiled-in
//! drivers. Authors of drivers start at [`backend`].
//!
//! ```text
//! application ─► Lock ─► acquire loop ─► step ─► driver: one native command ─► store
//!               guard ◄─ ledger ◄─────── fact ◄─ decoded reply ◄──────────────┘
//! drop(guard) ─ one send ─► janitor ─► withdraw step     heart ─► renew step ─► validity (pure) ─► guards
//! group.watch() ◄─ view ◄─ diff (pure) ◄─ members step · stirred wait
//! ```

pub mod backend;
pub mod blocking;
mod capability;
mod chance;
mod channel;
mod claim;
mod clock;
mod coordinator;
mod election;
pub mod endpoint;
mod engine;
mod error;
mod group;
#[cfg(feature = "hostile")]
#[doc(hidden)]
pub mod hostile;
mod id;
mod lock;
mod lost;
pub mod memory;
mod message;
mod name;
mod observe;
mod offset;
mod options;
#[cfg(not(feature = "orders"))]
mod orders;
#[cfg(feature = "orders")]
#[doc(hidden)]
pub mod orders;
mod partition;
mod registry;
mod retry;
mod scope;
mod session;
mod shared;
mod signal;
mod sync;
mod topic;
mod watched;
mod watcher;

pub use backend::{Requirement, Retention};
pub use capability::{Capabilities, MAX_CAPABILITIES_BYTES, MAX_CAPABILITIES_DEPTH};
pub use channel::Channel;
pub use claim::{Claim, FencingToken, Mode, Seat};
pub use clock::{BootClock, Clock, Moment, TokioClock};
pub use coordinator::{Coordinator, State};
pub use election::{Election, Leader, Leadership, Observation, Observer};
pub use endpoint::Endpoint;
pub use engine::Engine;
pub use error::{Effect, Error, ErrorKind, Result};
pub use group::{Event, Group, Member, Membership, MembershipState, Roster, View};
pub use id::{ClaimId, Incarnation, MessageId, SessionId};
pub use lock::{Guard, Hold, Lock, QueueView};
pub use lost::Cause;
pub use message::{MAX_PAYLOAD_BYTES, Message};
#[doc(hidden)]
pub use name::is_unruly;
pub use name::{MAX_NAME_BYTES, Name};
pub use offset::Offset;
pub use options::{Builder, Wrap};
pub use partition::{
    Changes, DEFAULT_PARTITIONS, HashRing, MAX_POINTS, MAX_WEIGHT, Move, Moved, Moves, Partitioned,
    Partitioner, Share,
};
pub use registry::Registry;
pub use scope::scope;
pub use topic::{Delivery, From, Inbox, Letter, Mail, Subscription, Topic};
pub use watched::Watched;
