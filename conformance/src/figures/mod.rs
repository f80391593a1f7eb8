//! Figures: what coordination costs beside the bare store, measured in one run.
//!
//! Times of one machine say little about another's, so each figure is a ratio: the library's call against
//! the smallest request that the store itself can answer ([`Bare`]), taken in turns so that both meet the
//! same weather.

mod grants;
mod logs;
mod messages;
mod redis;
mod samples;
mod weight;
mod zookeeper;

pub use grants::{hand_over, hold_for_others, take_over, together, uncontended};
pub use logs::{BareLog, log};
pub use messages::{published_to_received, published_together};
pub use samples::Samples;
pub use weight::{held, waiting};

use std::sync::Arc;

use async_trait::async_trait;

/// The store without the library: the least that it can do.
#[async_trait]
pub trait Bare: Send + Sync {
    /// What [`pair`](Self::pair) is, for people.
    fn pair_name(&self) -> &'static str;

    /// The smallest two requests of the kind that an acquire and a release send, one after the other, over one
    /// connection that all tasks share.
    async fn pair(&self, task: usize) -> Outcome<()>;

    /// What [`event`](Self::event) is, for people.
    fn event_name(&self) -> &'static str;

    /// One event sent by one connection and heard by another.
    async fn event(&self) -> Outcome<()>;
}

/// A tool's result: its errors are for people.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The bare store at `url`; `None` where there is none to compare with.
///
/// # Errors
/// If it cannot be reached.
pub async fn bare(url: &str) -> Outcome<Option<Arc<dyn Bare>>> {
    Ok(match url.split(':').next() {
        Some("zookeeper") => Some(Arc::new(zookeeper::Plain::connect(url).await?)),
        Some("redis") => Some(Arc::new(redis::Plain::connect(url).await?)),
        _ => None,
    })
}
