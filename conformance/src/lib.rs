//! The suite that every driver of tooz runs unchanged, wherever its crate lives.
//!
//! A driver's whole test is a [`Harness`] and one line. Every case becomes a test of its own, runs on a
//! fresh store, and ends by proving that nothing was left behind.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use conformance::{Harness, async_trait};
//! use tooz_core::backend::Driver;
//! use tooz_core::{Name, SessionId, memory};
//!
//! struct Memory(memory::Store);
//!
//! #[async_trait]
//! impl Harness for Memory {
//!     fn driver(&self) -> Arc<dyn Driver> {
//!         Arc::new(memory::driver())
//!     }
//!
//!     fn url(&self) -> String {
//!         self.0.url()
//!     }
//!
//!     async fn expire(&self, member: &Name, _session: SessionId) {
//!         self.0.expire(member.as_str());
//!     }
//!
//!     async fn leftovers(&self) -> Vec<String> {
//!         self.0.leftovers()
//!     }
//! }
//!
//! mod clear {
//!     use super::*;
//!     conformance::suite!(Memory(memory::Store::named(&conformance::unique("memory"))));
//! }
//!
//! mod behind_a_bad_network {
//!     use super::*;
//!     conformance::suite_faulty!(Memory(memory::Store::named(&conformance::unique("faulty"))));
//! }
//! # fn main() {}
//! ```
//!
//! # Rooms
//! * [`Harness`]: what a driver's author writes. [`World`]: what a case is given.
//! * `cases/`: `steps_*` speak to the driver, `api_*` to a [`Coordinator`](tooz_core::Coordinator) over it.
//! * [`faulty`]: a bad network in front of any driver. [`wire`]: what passed, and a line that can be cut.
//! * [`model`]: any driver against the pure reference, step by step, over drawn histories.
//! * [`cancel`]: a future dropped at each of its awaits in turn.
//! * `servers`, `proxy`, `peers` (feature `servers`): real servers, started by tests, a network that breaks,
//!   and members that speak Python.
//! * `rows` (features `servers` and `tools`): named faults against real servers and real processes, with volumes.
//! * [`history`] and [`checkers`]: what happened, on one clock, and whether it was allowed.
//!
//! # Skips
//! A case that needs what the profile does not declare is skipped; what is not declared must be refused
//! instead, which is checked too. Each skip is printed with its reason even when tests pass, and
//! `suite::counts_its_cases` prints the sum.
//!
//! # Seeds
//! `TOOZ_SEED=7` replays one seed in all cases behind a bad network; `TOOZ_ROUNDS=50` tries so many seeds
//! per case instead of the usual few. A failing case prints its seed.

#[cfg(feature = "tools")]
#[doc(hidden)]
pub mod arguments;
pub mod cancel;
mod cases;
mod catalogue;
pub mod checkers;
pub mod contend;
pub mod drops;
pub mod faulty;
#[cfg(feature = "tools")]
pub mod figures;
mod harness;
pub mod history;
pub mod messages;
pub mod model;
#[cfg(all(unix, feature = "servers"))]
pub mod peers;
#[cfg(all(unix, feature = "servers"))]
pub mod proxy;
#[cfg(all(unix, feature = "servers", feature = "tools"))]
pub mod rows;
#[cfg(all(unix, feature = "servers"))]
pub mod servers;
pub mod simulation;
mod suite;
mod verdict;
pub mod volume;
pub mod wire;
mod world;

pub use async_trait::async_trait;

pub use cases::CASES;
pub use harness::Harness;
pub use suite::{Case, Need, Weather, count, run};
pub use world::{Session, World, eventually, within};

/// `stem` with a number that no other call in this process gets: for names of stores.
pub fn unique(stem: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{stem}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
