//! etcd: a put, and a watch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use etcd_client::{Client, DeleteOptions, WatchOptions, WatchStream};
use tokio::sync::Mutex;

use super::{BareLog, Outcome, PAUSE};

const LOG: &str = "figures-log/";
const HEARD: &str = "figures-heard";

/// One client for requests and one whose watch is open.
pub(super) struct Log {
    requests: Client,
    next: AtomicU64,
    stream: Mutex<WatchStream>,
}

impl Log {
    pub(super) async fn connect(address: &str) -> Outcome<Self> {
        let endpoints: Vec<&str> = address.split(',').collect();
        let mut requests = Client::connect(&endpoints, None).await?;
        requests.delete(LOG, Some(DeleteOptions::new().with_prefix())).await?;
        let mut listens = Client::connect(&endpoints, None).await?;
        let stream = listens.watch(HEARD, Some(WatchOptions::new())).await?;
        Ok(Self { requests, next: AtomicU64::new(0), stream: Mutex::new(stream) })
    }
}

#[async_trait]
impl BareLog for Log {
    fn append_name(&self) -> &'static str {
        "put"
    }

    async fn append(&self, body: &[u8]) -> Outcome<()> {
        let key = format!("{LOG}{:016x}", self.next.fetch_add(1, Ordering::Relaxed));
        self.requests.clone().put(key, body, None).await?;
        Ok(())
    }

    fn heard_name(&self) -> &'static str {
        "put to watch"
    }

    async fn heard(&self) -> Outcome<Duration> {
        let mut stream = self.stream.lock().await;
        tokio::time::sleep(PAUSE).await;
        let begun = Instant::now();
        let mut requests = self.requests.clone();
        let listening = async {
            while let Some(answer) = stream.message().await? {
                if !answer.events().is_empty() {
                    return Outcome::Ok(Instant::now());
                }
            }
            Err("the watch ended".into())
        };
        let (put, heard) = tokio::join!(requests.put(HEARD, "x", None), listening);
        put?;
        Ok(heard? - begun)
    }
}
