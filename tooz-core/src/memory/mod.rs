//! The memory driver: a store inside this process, for tests of applications and as the reference of what
//! every other store does.
//!
//! `memory://name` is one store for every coordinator of the process that names it. It lives as long as a
//! coordinator or a [`Store`] handle does. A store handle lets a test play the server: time jumps forward,
//! sessions expire, a member is cut off, the server restarts with or without its data.
//!
//! ```
//! use std::time::Duration;
//! use tooz_core::memory::Store;
//!
//! let store = Store::named("docs-memory");
//! store.advance(Duration::from_secs(60)); // whoever did not renew within a minute is gone now
//! assert!(store.leftovers().is_empty());
//! ```
//!
//! # Behavior
//! * One session per coordinator with one lease: `lock_timeout` is its time to live, and a
//!   `membership_timeout` that differs is refused.
//! * First come, first served, across modes: nobody overtakes a waiting claim, and shared claims that
//!   stand together at the head are granted together. A release hands the seat over in the same step and
//!   wakes only whom it was handed to.
//! * Tokens grow with every grant, also across stores that came and went in the same process.
//! * A coordinator that ends without `close` leaves what it holds until its time to live is up, as a
//!   killed process does with a server.
//!
//! # Rooms
//! [`State`] decides, purely; [`Store`] is one state with its clock and its wake-ups; `backend`, `locks`,
//! `groups` and `topics` speak the driver interface; `ear` ends sessions in time while nobody takes a step.

mod backend;
mod bells;
mod driver;
mod ear;
mod groups;
mod locks;
mod shared;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod topics;

pub use driver::driver;
pub use state::{Fact, Place, Refusal, Snapshot, State, Step, Subject};
pub use store::{Data, Store};
