//! One session: its connection, its life, its end.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tooz_core::backend::{Opening, Proof};
use tooz_core::{Cause, Clock, Error, ErrorKind, Moment, Name, Result, SessionId};
use zookeeper_client::{
    Acls, Client, CreateMode, Error as Fault, SessionInfo, SessionState, Stat, StateWatcher,
};

use crate::about;
use crate::config::Config;
use crate::connect;
use crate::error::{failed, unread};
use crate::keys::Keys;
use crate::nodelay::send_at_once;
use crate::proof::Proofs;
use crate::watches::{Room, Watch};

/// How many sessions of others are remembered by their ZooKeeper number.
const MOST_OWNERS: usize = 10_000;
/// How long calls under way may go on when the session is closed.
const CALLS_END: Duration = Duration::from_millis(250);

/// An open session. Waits hold no client while they wait, so that letting go of it closes the session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) member: Name,
    /// What ZooKeeper calls it.
    pub(crate) owner: i64,
    pub(crate) ttl: Duration,
    pub(crate) keys: Keys,
    pub(crate) acls: Acls<'static>,
    pub(crate) warnings: Vec<String>,
    /// What the servers say of themselves.
    pub(crate) about: Option<String>,
    /// Whether reads are taken for proofs of life.
    #[cfg(feature = "testing")]
    pub(crate) credulous: bool,
    clock: Arc<dyn Clock>,
    config: Config,
    /// How long one attempt of a step may take.
    pub(crate) timeout: Duration,
    /// The one that opened it.
    pub(crate) runtime: Handle,
    client: Mutex<Option<Arc<Client>>>,
    states: StateWatcher,
    /// The room for watches.
    pub(crate) watches: Arc<Room>,
    proofs: Mutex<Proofs>,
    owners: Mutex<HashMap<i64, SessionId>>,
    /// The time of the servers' clock, in milliseconds, of the last write that was answered, and when that was.
    server_time: Mutex<(i64, Moment)>,
    /// Beats since its nodes were listed.
    pub(crate) unlisted: AtomicUsize,
    /// How many nodes it had when they were listed last.
    pub(crate) had: AtomicUsize,
}

impl Session {
    /// Opens one and makes sure of the directories it needs.
    pub(crate) async fn open(config: &Config, opening: &Opening) -> Result<(Self, SessionInfo)> {
        let keys = Keys::new(&config.namespace, config.python_elections);
        let acls = if config.digest.is_some() { Acls::creator_all() } else { Acls::anyone_all() };
        let (line, about) =
            tokio::join!(connect::open(config, opening, &keys, acls), about::ask(&config.asked));
        let line = line?;
        let client = line.client;
        let session = Self {
            id: opening.session,
            member: opening.member.clone(),
            owner: client.session_id().0,
            ttl: client.session_timeout(),
            keys,
            acls,
            warnings: line.warnings,
            about,
            #[cfg(feature = "testing")]
            credulous: false,
            clock: Arc::clone(&opening.clock),
            config: config.clone(),
            timeout: opening.timeout,
            runtime: Handle::current(),
            states: client.state_watcher(),
            watches: Arc::new(Room::new(client.path().len(), client.session_timeout())),
            proofs: Mutex::new(Proofs::new(line.sent, client.session_timeout())),
            owners: Mutex::default(),
            server_time: Mutex::new((0, Moment::ORIGIN)),
            unlisted: AtomicUsize::new(0),
            had: AtomicUsize::new(0),
            client: Mutex::new(None),
        };
        let info = client.session().clone();
        if !config.told.is_empty() {
            // Only slower without: a resolver that hangs is not waited for.
            let _ = timeout(opening.timeout, send_at_once(config.told.clone())).await;
            tokio::spawn(keep_sending_at_once(client.state_watcher(), config.told.clone()));
        }
        *locked(&session.client) = Some(Arc::new(client));
        session.step("open a session", session.register()).await?;
        Ok((session, info))
    }

    /// Writes who this session is where others can look it up.
    async fn register(&self) -> Result<()> {
        let client = self.client()?;
        let path = self.keys.session(self.owner);
        let options = CreateMode::Ephemeral.with_acls(self.acls);
        let text = format!("{}\n{}", self.id, self.member);
        match client.create(&path, text.as_bytes(), &options).await {
            Ok((stat, _)) => {
                self.set_clock(&stat);
                Ok(())
            }
            Err(Fault::NodeExists) => Ok(()),
            Err(fault) => Err(failed("register the session", fault)),
        }
    }

    /// The connection.
    pub(crate) fn client(&self) -> Result<Arc<Client>> {
        self.check()?;
        locked(&self.client).clone().ok_or_else(closed)
    }

    /// Refuses a step after the end.
    pub(crate) fn check(&self) -> Result<()> {
        if locked(&self.client).is_none() {
            return Err(closed());
        }
        match self.states.peek_state() {
            SessionState::Expired | SessionState::Closed => Err(ended()),
            SessionState::AuthFailed => Err(Error::new(ErrorKind::Denied, "the credentials are refused")),
            _ => Ok(()),
        }
    }

    /// Takes one step within the time an attempt may take: while disconnected, the client would wait.
    pub(crate) async fn step<T>(
        &self,
        deed: &str,
        work: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.check()?;
        match timeout(self.timeout, work).await {
            Ok(Ok(fact)) => Ok(fact),
            // Cut off by the end, or begun after it.
            Ok(Err(_)) if locked(&self.client).is_none() => Err(closed().effect_unknown()),
            Ok(Err(error)) => Err(error.while_doing(deed)),
            Err(_) => {
                self.check()?;
                let text = format!("{deed} on zookeeper: no answer within {:?}", self.timeout);
                Err(Error::new(ErrorKind::Unavailable, text).effect_unknown())
            }
        }
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Moment {
        self.clock.now()
    }

    /// A write that was sent at `sent` has just been answered.
    pub(crate) fn committed(&self, sent: Moment) {
        locked(&self.proofs).committed(sent, self.now());
    }

    /// Any request that was sent at `sent` was answered: no proof, but a test may want to see why.
    #[cfg(feature = "testing")]
    pub(crate) fn believe(&self, sent: Moment) {
        locked(&self.proofs).believe(sent);
    }

    /// A write of this session's was answered: it tells the time of the servers' clock.
    pub(crate) fn set_clock(&self, written: &Stat) {
        *locked(&self.server_time) = (written.mtime, self.now());
    }

    /// How long ago the servers' clock showed these milliseconds, if it is known.
    pub(crate) fn age(&self, since: i64) -> Option<Duration> {
        let (time, at) = *locked(&self.server_time);
        let passed = i64::try_from(self.now().since(at).as_millis()).unwrap_or(i64::MAX);
        let age = time.saturating_add(passed).saturating_sub(since);
        (time > 0).then(|| Duration::from_millis(u64::try_from(age).unwrap_or(0)))
    }

    /// How long the session is proved to live.
    pub(crate) fn proof(&self) -> Proof {
        locked(&self.proofs).newest()
    }

    /// A small committed write. It tells of nothing else: what the session has is asked beside it.
    pub(crate) fn beat(
        &self,
        client: &Arc<Client>,
    ) -> impl Future<Output = Result<Stat, Fault>> + Send + use<> {
        let text = format!("{}\n{}", self.id, self.member);
        client_call(client, self.keys.session(self.owner), text)
    }

    /// The node of this session went: somebody cleaned up too well.
    pub(crate) async fn register_again(&self) -> Result<()> {
        self.register().await
    }

    /// Which session of ours ZooKeeper knows under this number; `None` if it is another kind of client's.
    pub(crate) async fn session_of(&self, owner: i64) -> Result<Option<SessionId>> {
        if owner == self.owner {
            return Ok(Some(self.id));
        }
        if let Some(known) = locked(&self.owners).get(&owner) {
            return Ok(Some(*known));
        }
        let client = self.client()?;
        let found = match client.get_data(&self.keys.session(owner)).await {
            Ok((data, _)) => read_session(&data),
            Err(Fault::NoNode) => None,
            Err(fault) => return Err(unread("look up a session", fault)),
        };
        if let Some(id) = found {
            let mut owners = locked(&self.owners);
            if owners.len() >= MOST_OWNERS {
                owners.clear();
            }
            owners.insert(owner, id);
        }
        Ok(found)
    }

    /// Waits for the end.
    pub(crate) async fn lost(&self) -> Cause {
        let mut states = self.states.clone();
        let mut state = states.state();
        while !state.is_terminated() {
            state = states.changed().await;
        }
        if locked(&self.client).is_none() { Cause::Closed } else { Cause::SessionEnded }
    }

    /// Waits until one of the watches hears something, or the connection was replaced, so that they may have
    /// missed something, or the session has ended. `false` where one of them is none and it is only time to look again.
    pub(crate) async fn heard(&self, mut states: StateWatcher, watches: Vec<Watch>) -> bool {
        let pause = watches.iter().find_map(Watch::pause);
        let news = watches.into_iter().map(|watch| Box::pin(watch.changed())).collect::<Vec<_>>();
        let event = async {
            match news.is_empty() {
                true => std::future::pending().await,
                false => drop(futures_util::future::select_all(news).await),
            }
        };
        let replaced = async { while states.changed().await == SessionState::Disconnected {} };
        tokio::select! {
            () = event => true,
            () = replaced => true,
            () = sleep(pause.unwrap_or(Duration::MAX)), if pause.is_some() => false,
        }
    }

    /// The states from now on: for [`heard`](Self::heard), taken before the watches are set.
    pub(crate) fn states(&self) -> StateWatcher {
        let mut states = self.states.clone();
        states.state();
        states
    }

    /// Whether the session is over for good.
    pub(crate) fn is_over(&self) -> bool {
        self.check().is_err()
    }

    /// Waits, after a look that failed, until another may do better: the connection is back or the session over.
    pub(crate) async fn until_changed(&self, states: StateWatcher) {
        if self.is_over() || self.states.peek_state() == SessionState::SyncConnected {
            return;
        }
        self.heard(states, Vec::new()).await;
    }

    /// Ends the session and frees everything under it. The client library does so once nobody holds its client any more;
    /// a call that was begun and is not polled further may hold it for as long as its caller likes.
    pub(crate) async fn close(&self) -> Result<()> {
        let held = locked(&self.client).take().map(|client| Arc::downgrade(&client));
        let ending = async {
            if timeout(CALLS_END.min(self.timeout / 2), self.lost()).await.is_ok() {
                return Ok(());
            }
            match held.and_then(|held| held.upgrade()) {
                Some(client) => connect::close_elsewhere(&self.config, client).await,
                None => {
                    self.lost().await;
                    Ok(())
                }
            }
        };
        match timeout(self.timeout, ending).await {
            Ok(ended) => ended,
            Err(_) => {
                let text = format!("close the session on zookeeper: no answer within {:?}", self.timeout);
                Err(Error::new(ErrorKind::Unavailable, text).effect_unknown())
            }
        }
    }
}

/// The session's ear: tells every new connection to send at once. Ends with the session.
async fn keep_sending_at_once(mut states: StateWatcher, servers: Vec<(String, u16)>) {
    loop {
        match states.changed().await {
            SessionState::SyncConnected => send_at_once(servers.clone()).await,
            state if state.is_terminated() => return,
            _ => {}
        }
    }
}

/// One write to the session's node, sent at once.
fn client_call(
    client: &Arc<Client>,
    path: String,
    text: String,
) -> impl Future<Output = Result<Stat, Fault>> + Send + use<> {
    client.set_data(&path, text.as_bytes(), None)
}

pub(crate) fn read_session(data: &[u8]) -> Option<SessionId> {
    let text = std::str::from_utf8(data.get(..32)?).ok()?;
    SessionId::parse(text)
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The word for it is the same as for an end in the store: a step that comes late because core has given the
/// session up is then sent again under the next one. That a coordinator is closed, core says by itself.
fn closed() -> Error {
    Error::new(ErrorKind::SessionLost, "the session is closed")
}

fn ended() -> Error {
    Error::new(ErrorKind::SessionLost, "zookeeper has ended the session")
}
