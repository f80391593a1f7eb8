//! The stores without the library, as logs: something appended, and heard of by another connection.

mod etcd;
#[cfg(target_os = "linux")]
mod file;
mod redis;
mod zookeeper;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Outcome;

/// How long whoever listens is given to begin, before something is appended.
pub(super) const PAUSE: Duration = Duration::from_millis(3);

/// A store that something can be appended to.
#[async_trait]
pub trait BareLog: Send + Sync {
    /// What [`append`](Self::append) is, for people.
    fn append_name(&self) -> &'static str;

    /// The least that leaves this body in the store, in a place of its own. May be called many times at once.
    async fn append(&self, body: &[u8]) -> Outcome<()>;

    /// What [`heard`](Self::heard) is, for people.
    fn heard_name(&self) -> &'static str;

    /// From the sending of an append to its being heard of by a connection that listened.
    async fn heard(&self) -> Outcome<Duration>;
}

/// The bare store at `url`; `None` where there is none to compare with.
///
/// # Errors
/// If it cannot be reached.
pub async fn log(url: &str) -> Outcome<Option<Arc<dyn BareLog>>> {
    let plain = url.split('?').next().unwrap_or(url).trim_end_matches('/');
    let (scheme, address) = plain.split_once("://").unwrap_or((plain, ""));
    Ok(match scheme {
        "zookeeper" => Some(Arc::new(zookeeper::Log::connect(address).await?)),
        "redis" => Some(Arc::new(redis::Log::connect(plain).await?)),
        "etcd" => Some(Arc::new(etcd::Log::connect(address).await?)),
        #[cfg(target_os = "linux")]
        "file" => Some(Arc::new(file::Log::open(address)?)),
        _ => None,
    })
}
