//! A network of a test's own making: a proxy on loopback that counts what passes and breaks it when told.
//!
//! ```no_run
//! use conformance::proxy::{Proxy, Way};
//! use conformance::servers::Redis;
//!
//! let redis = Redis::start();
//! let proxy = Proxy::redis(redis.port());
//! let url = format!("redis://{}", proxy.address());
//! // … a client works through `url` …
//! let before = proxy.counts();
//! // … one call …
//! let passed = proxy.counts().since(&before);
//! assert_eq!((passed.requests, passed.trips), (1, 1));
//!
//! proxy.lose_next_reply(); // the server hears the next request, nobody hears its answer
//! proxy.cut(Way::Both); // as a partition does: what is under way arrives when it ends
//! proxy.join();
//! ```
//!
//! A change holds from the call on: callers never sleep. What only time can show (a delay, a rate) is the
//! proxy's own affair. It works on a thread of its own and ends when dropped, and every connection with it.
//!
//! # Round trips
//! A trip begins when a client sends something after it was given an answer (or for the first time) on that
//! connection: requests sent without waiting for one another are one trip. Where a client does not wait but
//! the server is quick, two requests can look like two trips; a [`delay`](Proxy::delay) of a few milliseconds
//! makes the count exact.

mod control;
mod counts;
mod framing;
mod link;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use self::control::{Control, Door};
pub use self::control::{Loss, Way};
pub use self::counts::Counts;
pub use self::framing::Protocol;

/// A proxy in front of one server on loopback.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    ended: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Proxy {
    /// In front of a Redis server at this port of 127.0.0.1: counts its commands.
    pub fn redis(port: u16) -> Self {
        Self::new(port, Protocol::Redis)
    }

    /// In front of any server at this port of 127.0.0.1: what comes in one piece counts as one request.
    pub fn bytes(port: u16) -> Self {
        Self::new(port, Protocol::Bytes)
    }

    /// In front of a server at this port of 127.0.0.1, whether it listens already or not.
    #[allow(clippy::panic)] // a fixture that cannot start is a failed test
    pub fn new(port: u16, protocol: Protocol) -> Self {
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let started = Self::start(server, protocol);
        started.unwrap_or_else(|error| panic!("start a proxy in front of {server}: {error}"))
    }

    fn start(server: SocketAddr, protocol: Protocol) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let control = Arc::new(Control::new(server, protocol));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (ended, end) = oneshot::channel();
        let theirs = Arc::clone(&control);
        let thread = std::thread::Builder::new().name("proxy".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = end => {}
                    _ = listen(listener, theirs) => {}
                }
            });
        })?;
        Ok(Self { address, control, ended: Some(ended), thread: Some(thread) })
    }

    /// Where clients connect: 127.0.0.1 and a port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port where clients connect.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What has passed so far.
    pub fn counts(&self) -> Counts {
        self.control.counts()
    }

    /// Lets every piece take so long, each way. For what is sent from now on.
    pub fn delay(&self, each_way: Duration) {
        self.control.change(|rules| rules.delay = each_way);
    }

    /// Lets no more than so many bytes per second pass, each way and connection; `None`: any number.
    pub fn throttle(&self, bytes_per_second: Option<u32>) {
        self.control.change(|rules| rules.rate = bytes_per_second);
    }

    /// Lets nothing through, this way, on old connections and new ones: neither side is told. As in a
    /// partition, what is under way arrives when the ways are [joined](Proxy::join) again.
    pub fn cut(&self, way: Way) {
        self.control.change(|rules| rules.cut(way));
    }

    /// Ends what [`cut`](Proxy::cut), [`half_open`](Proxy::half_open) and [`refuse`](Proxy::refuse) began.
    pub fn join(&self) {
        self.control.change(|rules| rules.join());
    }

    /// Accepts new connections and never answers on them, not even after [`join`](Proxy::join); old ones
    /// go on.
    pub fn half_open(&self) {
        self.control.change(|rules| rules.door = Door::Deaf);
    }

    /// Resets new connections at once; old ones go on.
    pub fn refuse(&self) {
        self.control.change(|rules| rules.door = Door::Shut);
    }

    /// Resets every connection there is, both ways: what is under way is lost.
    pub fn reset(&self) {
        self.control.change(|rules| rules.generation += 1);
    }

    /// From now on new connections lead to this port of 127.0.0.1.
    pub fn lead_to(&self, port: u16) {
        self.control.change(|rules| rules.server.set_port(port));
    }

    /// Lets the server hear the next request, then swallows its answer and cuts the connection.
    pub fn lose_next_reply(&self) {
        self.lose_next(Loss::Reply, "");
    }

    /// The same for the next request whose bytes contain `text`: a command, a key, an argument.
    pub fn lose_next_reply_to(&self, text: &str) {
        self.lose_next(Loss::Reply, text);
    }

    /// Swallows the next request whose bytes contain `text`, or its answer, and cuts its connection. Several
    /// losses wait in line; [`Counts::lost`] tells how many have come about.
    pub fn lose_next(&self, loss: Loss, text: &str) {
        self.control.lose_next(loss, text);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.ended.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it only panics if it has a fault of its own, which a test then saw
        }
    }
}

async fn listen(listener: std::net::TcpListener, control: Arc<Control>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    // Kept here so that they end with this future.
    let mut links = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (client, _) = accepted?;
                links.spawn(admit(client, Arc::clone(&control)));
            }
            Some(_) = links.join_next() => {}
        }
    }
}

async fn admit(client: TcpStream, control: Arc<Control>) {
    control.count(|counts| counts.connections += 1);
    match control.door() {
        Door::Open => link::carry(client, &control).await,
        Door::Deaf => control.until_reset().await,
        Door::Shut => {}
    }
}
