//! The way to the servers: one at a time, the next when it fails, and a deadline for every call.
//!
//! The client library spreads calls over all endpoints at random and goes on trying dead ones, so each of
//! our clients knows one endpoint only, and moving on is ours.

use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Client, KvClient, Txn, TxnOp, TxnResponse};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};
use tooz_core::backend::PerRuntime;
use tooz_core::{Effect, Error, ErrorKind, Result};

use crate::config::Config;
use crate::errand::Errand;
use crate::error::{is_too_large, says_leaderless, translate};
use crate::keys::FORMAT;
use crate::txn::get;

/// Larger answers than the library's 4 MiB: a long queue, a large group.
pub(crate) const LARGEST_ANSWER: usize = 64 << 20;

/// Keys of a queue that are looked at, and of whatever else may be many …
pub(crate) const LONGEST: i64 = 10_000;
/// … unless they are too large for an answer: then an eighth of that, down to so many.
const LEAST: i64 = 16;

/// A connection to far away takes so long.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(500);

/// The servers, and the one in use.
pub(crate) struct Line {
    config: Config,
    timeout: Duration,
    /// Index of the server in use.
    current: AtomicUsize,
    /// Opened by a task: a server with users is asked for a token.
    clients: PerRuntime<Arc<Errand<Arc<Open>>>>,
    /// Index of the last server that said that it has no leader.
    leaderless: Mutex<Option<usize>>,
}

/// A way that is open.
struct Open {
    server: usize,
    client: Client,
    /// For transactions, which are nearly all calls there are: a client as a whole is copied less cheaply.
    kv: KvClient,
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
        self.ask(|open| {
            let (mut kv, txn) = (open.kv.clone(), txn.clone());
            async move { kv.txn(txn).await }
        })
        .await
    }

    /// One transaction of looks that are told how many keys to read: fewer where these are more than an answer carries.
    pub(crate) async fn look(&self, looks: impl Fn(i64) -> Vec<TxnOp> + Send) -> Result<TxnResponse> {
        let mut most = LONGEST;
        loop {
            match self.txn(Txn::new().and_then(looks(most))).await {
                Err(error) if is_too_large(&error) && most > LEAST => most = LEAST.max(most / 8),
                answer => return answer,
            }
        }
    }

    /// The server's version, where it tells.
    pub(crate) async fn version(&self) -> Option<String> {
        let status = self.call(|mut client| async move { client.status().await }).await.ok()?;
        Some(status.version().to_owned())
    }

    /// One call.
    pub(crate) async fn call<T, F>(&self, call: impl Fn(Client) -> F + Send) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, etcd_client::Error>> + Send,
    {
        self.ask(move |open| call(open.client.clone())).await
    }

    /// One call. Moves on to the next server after a failure; tries it at once where nothing was sent.
    async fn ask<T, F>(&self, ask: impl Fn(&Open) -> F + Send) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, etcd_client::Error>> + Send,
    {
        let deadline = Instant::now() + self.timeout;
        let mut tried = 0;
        let mut may_authenticate = self.config.has_user();
        loop {
            let mut server = self.current.load(Ordering::Relaxed);
            let answer = match timeout_at(deadline, self.client(server)).await {
                Ok(Ok(open)) => {
                    // Somebody moved on while it was being opened: it serves as well, and answers for itself.
                    server = open.server;
                    match timeout_at(deadline, ask(&open)).await {
                        Ok(answer) => answer.map_err(translate),
                        Err(_) => Err(self.silent(server).effect_unknown()),
                    }
                }
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

    /// The client of this runtime; of this server, if there is none yet.
    async fn client(&self, server: usize) -> Result<Arc<Open>> {
        let open = self.open(server).await?;
        let current = self.current.load(Ordering::Relaxed);
        if open.server == current {
            return Ok(open);
        }
        // Kept after somebody had moved on and forgotten those there were: nobody else would ever forget it.
        self.clients.clear();
        self.open(current).await
    }

    /// The client of this runtime; several callers at once have one opened.
    async fn open(&self, server: usize) -> Result<Arc<Open>> {
        let client = self.clients.get_or_open(|| ready(Ok(Arc::default()))).await?;
        if let Some(open) = client.kept() {
            return Ok(open);
        }
        let work = || {
            let (connecting, silent) = (self.connect(server, true), self.silent(server));
            let in_time = timeout(self.timeout, connecting);
            async move { in_time.await.unwrap_or(Err(silent)).map(Arc::new) }
        };
        let opening = client.join(&Handle::current(), Result::is_ok, work);
        let ended = || Error::new(ErrorKind::Unavailable, "the runtime is ending");
        opening.outcome().await.unwrap_or_else(|| Err(ended()))
    }

    /// If a server said that it has no leader, ends when it has, or with its patience and ours. Tells whether one said so.
    ///
    /// Such a server refuses whoever insists on a leader and lets others wait until there is one.
    pub(crate) async fn elected(&self) -> bool {
        let Some(server) = self.leaderless().take() else { return false };
        let look = async {
            let mut kv = self.connect(server, false).await?.kv;
            kv.txn(Txn::new().and_then([get(FORMAT)])).await.map_err(translate)
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

    fn connect(&self, server: usize, insists: bool) -> impl Future<Output = Result<Open>> + use<> {
        let url = self.server(server).to_owned();
        let options = self.config.connect_options(self.patience()).with_require_leader(insists);
        async move {
            let client = Client::connect([url], Some(options)).await.map_err(translate)?;
            let kv = client.kv_client().max_decoding_message_size(LARGEST_ANSWER);
            Ok(Open { server, client, kv })
        }
    }

    /// How long a connection may take: of several servers, one that swallows all that is sent leaves a call the time to
    /// ask another.
    fn patience(&self) -> Duration {
        let share = self.timeout / u32::try_from(self.servers()).unwrap_or(u32::MAX).saturating_add(1);
        share.max(SHORTEST_PATIENCE).min(self.timeout)
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

#[cfg(test)]
mod tests {
    use tooz_core::Endpoint;

    use super::*;

    /// A step that chose the server before somebody moved on opens it after.
    #[tokio::test]
    async fn a_client_of_a_server_that_was_left_meanwhile_is_not_kept() {
        let endpoint = Endpoint::parse("etcd://127.0.0.1:1,127.0.0.1:2").unwrap();
        let line = Line::new(Config::read(&endpoint).unwrap(), Duration::from_secs(5));
        let chosen = line.current.load(Ordering::Relaxed);
        line.move_on(chosen);
        assert_eq!(line.client(chosen).await.unwrap().server, chosen + 1);
        assert_eq!(line.client(chosen + 1).await.unwrap().server, chosen + 1);
    }
}
