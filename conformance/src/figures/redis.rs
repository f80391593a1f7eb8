//! Redis without the library: a no-op script, and a message from one connection to another.

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind};
use tokio::sync::{Mutex, mpsc};

use super::{Bare, Outcome};

const CHANNEL: &str = "figures";

/// One connection for requests and one that listens.
pub(super) struct Plain {
    requests: MultiplexedConnection,
    noop: String,
    heard: Mutex<mpsc::UnboundedReceiver<PushInfo>>,
    _listens: MultiplexedConnection,
}

impl Plain {
    /// Connects to the server of a `redis://host:port` URL, options aside.
    pub(super) async fn connect(url: &str) -> Outcome<Self> {
        let address = url.split('?').next().unwrap_or(url).trim_end_matches('/');
        let client = Client::open(format!("{address}/?protocol=resp3"))?;
        let mut requests = client.get_multiplexed_async_connection().await?;
        let noop: String =
            redis::cmd("SCRIPT").arg("LOAD").arg("return 1").query_async(&mut requests).await?;
        let (push, heard) = mpsc::unbounded_channel();
        let config = AsyncConnectionConfig::new().set_push_sender(push);
        let mut listens = client.get_multiplexed_async_connection_with_config(&config).await?;
        listens.subscribe(CHANNEL).await?;
        Ok(Self { requests, noop, heard: Mutex::new(heard), _listens: listens })
    }
}

#[async_trait]
impl Bare for Plain {
    fn pair_name(&self) -> &'static str {
        "two EVALSHA of a no-op with one key"
    }

    async fn pair(&self, _task: usize) -> Outcome<()> {
        let mut requests = self.requests.clone();
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.noop).arg(1).arg("figures-key");
        call.query_async::<()>(&mut requests).await?;
        Ok(call.query_async::<()>(&mut requests).await?)
    }

    fn event_name(&self) -> &'static str {
        "PUBLISH to push"
    }

    async fn event(&self) -> Outcome<()> {
        let mut heard = self.heard.lock().await;
        let mut requests = self.requests.clone();
        redis::cmd("PUBLISH").arg(CHANNEL).arg("x").query_async::<()>(&mut requests).await?;
        loop {
            let push = heard.recv().await.ok_or("the listening connection ended")?;
            if push.kind == PushKind::Message {
                return Ok(());
            }
        }
    }
}
