//! Coordination over a directory: locks, groups and elections on one machine, without a server.
mod config;
mod contend;
mod contest;
mod driver;
mod error;
mod evict;
mod flock;
mod folder;
mod groups;
mod keys;
mod latch;
mod locks;
mod look;
mod order;
mod record;
mod root;
mod sequence;
mod session;
mod short;
mod slots;
mod vigil;
mod watch;

pub use driver::FileDriver;
