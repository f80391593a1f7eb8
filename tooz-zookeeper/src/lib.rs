//! Coordination over ZooKeeper: locks, groups and elections shared with kazoo and Python tooz.

mod config;
mod connect;
mod contend;
mod driver;
mod error;
mod groups;
mod keys;
mod locks;
mod look;
mod proof;
mod renewal;
mod sequence;
mod session;
#[cfg(feature = "testing")]
mod testing;
mod ticket;
mod traces;
mod turn;

pub use driver::ZookeeperDriver;
