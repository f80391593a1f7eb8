//! tooz over Redis: locks, groups and elections shared with Python clients.

mod config;
mod driver;
mod ear;
mod error;
mod groups;
mod keys;
mod line;
mod locks;
mod look;
mod news;
mod record;
mod reply;
mod scripts;
mod server;
mod session;
mod ticket;

pub use driver::RedisDriver;
