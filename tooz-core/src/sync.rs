//! What several threads decide at once, under one name for each primitive: the test `loom` puts its own behind them and
//! plays every order.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard};

pub(crate) use tokio::sync::Notify;
