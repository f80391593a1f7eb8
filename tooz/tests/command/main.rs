//! The command `tooz` as its users meet it: real processes over a real store.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed assumption is a failed test")]
#![allow(clippy::indexing_slicing, reason = "JSON is looked into by key")]

mod breaking;
mod codes;
mod foreign;
mod groups;
mod hostile;
mod leading;
mod line;
mod lock;
mod outage;
mod pty;
mod redis;
mod ring;
mod root;
mod run;
mod signals;
mod store;
mod supervisor;
mod terminal;
mod topics;
mod waiting;
