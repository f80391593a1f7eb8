//! tooz over Redis: locks, groups and elections shared with Python clients.

mod config;
mod error;
mod line;
mod server;
