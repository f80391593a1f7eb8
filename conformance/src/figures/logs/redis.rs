//! Redis: XADD, and a reader that blocks.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use redis::Client;
use redis::aio::MultiplexedConnection;

use super::{BareLog, Outcome, PAUSE};

const LOG: &str = "figures-log";
const HEARD: &str = "figures-heard";

/// One connection for requests and one that blocks.
pub(super) struct Log {
    requests: MultiplexedConnection,
    blocks: MultiplexedConnection,
    last: Mutex<String>,
}

impl Log {
    pub(super) async fn connect(url: &str) -> Outcome<Self> {
        let client = Client::open(url)?;
        let mut requests = client.get_multiplexed_async_connection().await?;
        let blocks = client.get_multiplexed_async_connection().await?;
        redis::cmd("DEL").arg(&[LOG, HEARD]).query_async::<()>(&mut requests).await?;
        Ok(Self { requests, blocks, last: Mutex::new("0".to_owned()) })
    }

    async fn add(&self, key: &str, body: &[u8]) -> Outcome<String> {
        let mut requests = self.requests.clone();
        Ok(redis::cmd("XADD").arg(key).arg("*").arg("b").arg(body).query_async(&mut requests).await?)
    }
}

#[async_trait]
impl BareLog for Log {
    fn append_name(&self) -> &'static str {
        "XADD"
    }

    async fn append(&self, body: &[u8]) -> Outcome<()> {
        self.add(LOG, body).await.map(drop)
    }

    fn heard_name(&self) -> &'static str {
        "XADD to XREAD BLOCK"
    }

    async fn heard(&self) -> Outcome<Duration> {
        let last = self.last.lock().map(|last| last.clone()).unwrap_or_default();
        let mut blocks = self.blocks.clone();
        let listening = tokio::spawn(async move {
            let mut read = redis::cmd("XREAD");
            read.arg(&["BLOCK", "400", "STREAMS", HEARD, &last]);
            let read = read.query_async::<redis::Value>(&mut blocks).await;
            (read, Instant::now())
        });
        tokio::time::sleep(PAUSE).await;
        let begun = Instant::now();
        let id = self.add(HEARD, b"x").await?;
        let (read, at) = listening.await?;
        if read? == redis::Value::Nil {
            return Err("an XADD was not heard of".into());
        }
        if let Ok(mut last) = self.last.lock() {
            *last = id;
        }
        Ok(at - begun)
    }
}
