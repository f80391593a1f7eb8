//! Building a coordinator.

use std::env::{self, VarError};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::backend::{Backend, Driver, Requirement};
use crate::chance::Chance;
use crate::clock::{BootClock, Clock};
use crate::coordinator::Coordinator;
use crate::endpoint::Endpoint;
use crate::engine::{Engine, Running};
use crate::error::{Error, ErrorKind, Result};
use crate::name::Name;
use crate::orders::ordered;
use crate::registry::Registry;
use crate::session::{self, Janitor, Keeper};
use crate::shared::Core;

/// Wraps the driver interface of every session: for tests that inject faults.
pub type Wrap = Arc<dyn Fn(Arc<dyn Backend>) -> Arc<dyn Backend> + Send + Sync>;

/// How a coordinator is to be connected.
///
/// Options in the URL win over what is set here: the operator has the last word.
///
/// ```
/// # async fn run() -> tooz_core::Result<()> {
/// use std::time::Duration;
/// use tooz_core::Registry;
///
/// let coord = Registry::embedded()
///     .builder("memory://docs-builder")
///     .member("worker-1")
///     .ttl(Duration::from_secs(10))
///     .connect()
///     .await?;
/// coord.close().await
/// # }
/// # pollster::block_on(run()).unwrap();
/// ```
#[must_use]
pub struct Builder {
    registry: Registry,
    url: String,
    /// Or why there is none.
    member: Result<String>,
    ttl: Duration,
    membership_ttl: Option<Duration>,
    timeout: Duration,
    margin: Option<Duration>,
    requirements: Vec<Requirement>,
    engine: Engine,
    clock: Arc<dyn Clock>,
    wrap: Option<Wrap>,
    chance: Arc<Chance>,
}

/// What a coordinator was told, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) member: Name,
    pub(crate) ttl: Duration,
    pub(crate) membership_ttl: Duration,
    pub(crate) timeout: Duration,
    pub(crate) margin: Option<Duration>,
}

impl Settings {
    /// How long one attempt of a step may take: a call has time for several.
    pub(crate) fn attempt(&self) -> Duration {
        (self.timeout / 3).min((self.ttl / 6).max(Duration::from_millis(250)))
    }
}

/// Where sessions come from.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) endpoint: Endpoint,
    pub(crate) driver: Arc<dyn Driver>,
    pub(crate) settings: Settings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wrap: Option<Wrap>,
    pub(crate) chance: Arc<Chance>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (endpoint, settings) = (&self.endpoint, &self.settings);
        write!(f, "Store({endpoint}, {settings:?})")
    }
}

impl Builder {
    pub(crate) fn new(registry: Registry, url: String) -> Self {
        let ttl = Duration::from_secs(30);
        Self {
            registry,
            url,
            member: Ok(default_member()),
            ttl,
            membership_ttl: None,
            timeout: Duration::from_secs(10),
            margin: None,
            requirements: Vec::new(),
            engine: Engine::default(),
            clock: Arc::new(BootClock),
            wrap: None,
            chance: Arc::default(),
        }
    }

    /// Who this process is, unique among the store's users. Default: `pid-<process id>-<random>`.
    pub fn member(mut self, member: impl Into<String>) -> Self {
        self.member = Ok(member.into());
        self
    }

    /// The same as this environment variable says, if it is set and not empty. [`connect`](Self::connect) refuses one
    /// that is no UTF-8 text, unless [`member`](Self::member) names another.
    pub fn member_from_env(mut self, variable: &str) -> Self {
        match env::var(variable) {
            Ok(member) if !member.is_empty() => self.member = Ok(member),
            Ok(_) | Err(VarError::NotPresent) => {}
            Err(VarError::NotUnicode(member)) => {
                let text = format!("{variable}={member:?} is no UTF-8 text: give 1 to 255 bytes of it");
                self.member = Err(Error::new(ErrorKind::InvalidName, text));
            }
        }
        self
    }

    /// How long a lock outlives a holder that fell silent (default 30 s). URL option: `lock_timeout`.
    /// Stores where the kernel keeps locks free them at once.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The same for memberships (default: as for locks). URL option: `membership_timeout`.
    pub fn membership_ttl(mut self, ttl: Duration) -> Self {
        self.membership_ttl = Some(ttl);
        self
    }

    /// How long a call waits for the store's answer in all (default 10 s). URL option: `timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long before the store a guard gives up (default: 1 % of the time to live and 20 ms). URL option:
    /// `claim_margin`.
    pub fn margin(mut self, margin: Duration) -> Self {
        self.margin = Some(margin);
        self
    }

    /// Refuses to connect to a store that does not have this.
    pub fn require(mut self, requirement: Requirement) -> Self {
        self.requirements.push(requirement);
        self
    }

    /// Which runtime keeps the session alive.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Where deadlines are read from.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Draws ids and the spread of pauses from this seed instead of the system: for simulations that are to
    /// replay. Never for members that meet others: two coordinators with one seed have the same ids.
    pub fn seed(mut self, seed: u64) -> Self {
        self.chance = Arc::new(Chance::seeded(seed));
        self
    }

    /// Wraps the driver interface of every session: for tests that inject faults.
    pub fn wrap(mut self, wrap: Wrap) -> Self {
        self.wrap = Some(wrap);
        self
    }

    /// Opens the first session. A store that says nothing is asked again until the timeout.
    ///
    /// # Errors
    /// `InvalidUrl`, `InvalidOption`, `InvalidName`, `UnknownScheme` before anything is sent; `Unavailable`
    /// or `Denied` from the store; `Unsupported` for an unmet requirement.
    ///
    /// # Cancel safety
    /// Dropping the future ends a session that is opened meanwhile.
    pub async fn connect(self) -> Result<Coordinator> {
        let store = self.store()?;
        let running = Running::start(self.engine)?;
        let endpoint = store.endpoint.clone();
        let (answer, opened) = oneshot::channel();
        let engine = running.handle().clone();
        // A task of its own, which keeps the engine running: it ends well without anybody waiting for it.
        engine.spawn(ordered(async move {
            let opened = self.open(store, running).await;
            let _ = answer.send(opened.map(|coord| Unclaimed(Some(coord))));
        }));
        let opened = opened
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Unavailable, "the engine's runtime ended")));
        opened.and_then(Unclaimed::claim).map_err(|e| e.while_doing(format_args!("connect to {endpoint}")))
    }

    /// Opens the first session, checks it, and starts its tasks. Runs inside the engine's runtime.
    async fn open(&self, store: Store, running: Running) -> Result<Coordinator> {
        let (first, held) = session::open_first(&store).await?;
        if let Some(unmet) = self.requirements.iter().find(|r| !r.is_met_by(first.backend.profile())) {
            // The refusal counts; failing to close leaves the session to its time to live.
            let _ = timeout(store.settings.attempt(), first.backend.close()).await;
            return Err(self.unmet(unmet));
        }
        let first = Arc::new(first);
        let (chores, inbox) = mpsc::unbounded_channel();
        let (commands, orders) = mpsc::unbounded_channel();
        let core = Arc::new(Core::new(store, running, chores, &first));
        let engine = core.engine().clone();
        let janitor = engine.spawn(Janitor::new(Arc::clone(&core), inbox).run());
        engine.spawn(Keeper::new(Arc::clone(&core), orders, janitor).run(first, held));
        Ok(Coordinator::new(core, commands))
    }

    fn store(&self) -> Result<Store> {
        let endpoint = Endpoint::parse(&self.url)?;
        let driver = self.registry.find(&endpoint)?;
        endpoint.check_options(driver.name(), driver.options())?;
        let ttl = endpoint.span("lock_timeout")?.unwrap_or(self.ttl);
        let membership_ttl = endpoint.span("membership_timeout")?.or(self.membership_ttl).unwrap_or(ttl);
        let settings = Settings {
            member: self.member.clone().and_then(Name::new).map_err(|e| e.while_doing("member id"))?,
            ttl,
            membership_ttl,
            timeout: endpoint.span("timeout")?.unwrap_or(self.timeout),
            margin: endpoint.span("claim_margin")?.or(self.margin),
        };
        session::check_ttl(settings.ttl.min(settings.membership_ttl), settings.margin)?;
        if settings.timeout < Duration::from_millis(10) {
            let text = format!("a timeout of {:?} is too short: give at least 10ms", settings.timeout);
            return Err(Error::new(ErrorKind::InvalidOption, text));
        }
        Ok(Store {
            endpoint,
            driver,
            settings,
            clock: Arc::clone(&self.clock),
            wrap: self.wrap.clone(),
            chance: Arc::clone(&self.chance),
        })
    }

    fn unmet(&self, requirement: &Requirement) -> Error {
        let have: Vec<_> = self
            .registry
            .drivers()
            .filter(|driver| requirement.is_met_by(&driver.profile()))
            .map(|driver| driver.name())
            .collect();
        let have = if have.is_empty() { "none".to_owned() } else { have.join(", ") };
        Error::new(
            ErrorKind::Unsupported,
            format!("the store does not have the required {requirement}; drivers that have it: {have}"),
        )
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("member", &self.member)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

/// A coordinator on its way to whoever connects: closed if it does not arrive.
struct Unclaimed(Option<Coordinator>);

impl Unclaimed {
    fn claim(mut self) -> Result<Coordinator> {
        self.0.take().ok_or_else(|| Error::new(ErrorKind::Internal, "a coordinator was claimed twice"))
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(coord) = self.0.take() {
            coord.begin_close();
        }
    }
}

fn default_member() -> String {
    format!("pid-{}-{:08x}", std::process::id(), rand::random::<u32>())
}
