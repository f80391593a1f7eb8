//! The way to the servers: one at a time, the next when it fails, and a deadline for every call.
//!
//! The client library spreads calls over all endpoints at random and goes on trying dead ones, so each of
//! our clients knows one endpoint only, and moving on is ours.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Client, Txn, TxnResponse};
use tokio::time::{Instant, timeout_at};
use tooz_core::backend::PerRuntime;
use tooz_core::{Effect, Error, ErrorKind, Result};

use crate::config::Config;
use crate::error::{says_leaderless, translate};
use crate::keys::FORMAT;
use crate::txn::get;

/// Larger answers than the library's 4 MiB: a long queue, a large group.
pub(crate) const LARGEST_ANSWER: usize = 64 << 20;

/// The servers, and the one in use.
pub(crate) struct Line {
    config: Config,
    timeout: Duration,
    /// Index of the server in use.
    current: AtomicUsize,
    clients: PerRuntime<Open>,
    /// Index of the last server that said that it has no leader.
    leaderless: Mutex<Option<usize>>,
}

#[derive(Clone)]
struct Open {
    server: usize,
    client: Client,
}

impl Line {
    pub(crate) fn new(config: Config, timeout: Duration) -> Arc<Self> {
        let (current, clients) = (AtomicUsize::new(0), PerRuntime::new());
        Arc::new(Self { config, timeout, current, clients, leaderless: Mutex::default() })
    }

    /// How many servers there are.
    pub(crate) fn servers(&self) -> usize {
        self.config.servers.len()
    }

    /// How long one call may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// One transaction.
    pub(crate) async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        self.call(|client| {
            let txn = txn.clone();
            async move { client.kv_client().max_decoding_message_size(LARGEST_ANSWER).txn(txn).await }
        })
        .await
    }

    /// The server's version, where it tells.
    pub(crate) async fn version(&self) -> Option<String> {
        let status = self.call(|mut client| async move { client.status().await }).await.ok()?;
        Some(status.version().to_owned())
    }

    /// One call. Moves on to the next server after a failure; tries it at once where nothing was sent.
    pub(crate) async fn call<T, F>(&self, call: impl Fn(Client) -> F + Send) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, etcd_client::Error>> + Send,
    {
        let deadline = Instant::now() + self.timeout;
        let mut tried = 0;
        let mut may_authenticate = self.config.has_user();
        loop {
            let server = self.current.load(Ordering::Relaxed);
            let answer = match timeout_at(deadline, self.client(server)).await {
                Ok(Ok(open)) => match timeout_at(deadline, call(open.client)).await {
                    Ok(answer) => answer.map_err(translate),
                    Err(_) => Err(self.silent(server).effect_unknown()),
                },
                Ok(Err(error)) => Err(error),
                Err(_) => Err(self.silent(server)),
            };
            let Err(error) = answer else { return answer };
            if error.kind() == ErrorKind::Denied && std::mem::take(&mut may_authenticate) {
                // The token may be forgotten or too old; streams are not given a new one by the library.
                self.renew();
                continue;
            }
            if error.kind() != ErrorKind::Unavailable {
                return Err(error);
            }
            if says_leaderless(&error.to_string()) {
                *self.leaderless() = Some(server);
            }
            self.move_on(server);
            tried += 1;
            let again = error.effect() == Effect::None && Instant::now() < deadline;
            if !again || tried >= self.config.servers.len() {
                return Err(error);
            }
        }
    }

    async fn client(&self, server: usize) -> Result<Open> {
        let open = self.clients.get_or_open(|| self.connect(server, true)).await?;
        if open.server == server {
            return Ok(open);
        }
        // Somebody moved on while it was being opened: it serves as well.
        Ok(open)
    }

    /// If a server said that it has no leader, ends when it has, or with its patience and ours. Tells whether one said so.
    ///
    /// Such a server refuses whoever insists on a leader and lets others wait until there is one.
    pub(crate) async fn elected(&self) -> bool {
        let Some(server) = self.leaderless().take() else { return false };
        let look = async {
            let client = self.connect(server, false).await?.client;
            client.kv_client().txn(Txn::new().and_then([get(FORMAT)])).await.map_err(translate)
        };
        // Whatever it says, it says it because something has changed.
        let _ = timeout_at(Instant::now() + self.timeout, look).await;
        self.current.store(server, Ordering::Relaxed);
        self.renew();
        true
    }

    fn leaderless(&self) -> MutexGuard<'_, Option<usize>> {
        self.leaderless.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self, server: usize, insists: bool) -> Result<Open> {
        let url = self.server(server);
        let options = self.config.connect_options(self.timeout).with_require_leader(insists);
        let client = Client::connect([url], Some(options)).await.map_err(translate)?;
        Ok(Open { server, client })
    }

    fn server(&self, index: usize) -> &str {
        self.config.servers.get(index % self.config.servers.len().max(1)).map_or("", String::as_str)
    }

    /// Leaves the server in use, which did not answer on a stream of its.
    pub(crate) fn abandon(&self) -> Error {
        let server = self.current.load(Ordering::Relaxed);
        self.move_on(server);
        self.silent(server).effect_unknown()
    }

    /// Gives up the connections and tokens in use: whoever calls next gets new ones.
    pub(crate) fn renew(&self) {
        self.clients.clear();
    }

    fn move_on(&self, from: usize) {
        let moved =
            self.current.compare_exchange(from, from.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
        if moved.is_ok() {
            self.clients.clear();
        }
    }

    fn silent(&self, server: usize) -> Error {
        let text = format!("no answer from {} in {:?}", self.server(server), self.timeout);
        Error::new(ErrorKind::Unavailable, text)
    }
}
