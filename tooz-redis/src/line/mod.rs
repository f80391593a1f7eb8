//! The line to the server: connections, topologies, deadlines.
//!
//! * [`Reach`]: how a server is reached: address, login, TLS, and who is primary.
//! * [`Link`]: the connection of one runtime, opened when needed and again after it broke.
//! * [`Call`]: one script with its keys and arguments.
//! * [`subscriber`]: the connection that news come in by.

mod call;
mod cluster;
mod link;
mod reach;
mod retreat;
mod sentinel;
mod spare;
mod subscriber;

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tooz_core::Result;
use tooz_core::backend::{Opening, PerRuntime};

pub(crate) use call::{Call, Script};
pub(crate) use link::Link;
pub(crate) use subscriber::{Heard, Subscriber};

use crate::config::Config;
use crate::server::Server;
use reach::Reach;
use spare::Spare;

/// A session's line to its server. Every call ends within the session's timeout.
pub(crate) struct Line {
    reach: Arc<Reach>,
    links: PerRuntime<Arc<Link>>,
    spares: PerRuntime<Arc<Spare>>,
    server: Server,
    patience: Duration,
}

impl Line {
    /// Connects, logs in and looks at the server.
    pub(crate) async fn open(config: Config, opening: &Opening) -> Result<Self> {
        let patience = config.answer_timeout.unwrap_or(opening.timeout).min(opening.timeout);
        let reach = Arc::new(Reach::new(config, opening.timeout)?);
        let links = PerRuntime::new();
        let link = links.get_or_open(|| async { Ok(Arc::new(Link::new(Arc::clone(&reach)))) }).await?;
        let deadline = Instant::now() + opening.timeout;
        link.open(deadline).await?;
        let server = Server::look(reach.config(), &link, deadline).await?;
        Ok(Self { reach, links, spares: PerRuntime::new(), server, patience })
    }

    /// What the URL says.
    pub(crate) fn config(&self) -> &Config {
        self.reach.config()
    }

    /// What the server was when the line was opened.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Runs a script: one round trip, one more where the server does not know the script yet.
    pub(crate) async fn run(&self, call: Call) -> Result<Value> {
        let deadline = self.deadline();
        let link = self.link().await?;
        link.run(&call, deadline).await.map_err(|e| e.while_doing(call.script.name()))
    }

    /// Runs a script that answers something else when it is run again: where that may have happened and its answer is
    /// that of having nothing to do, the effect is unknown.
    pub(crate) async fn run_once(&self, call: Call, is_idle: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = self.deadline();
        let link = self.link().await?;
        link.run_once(&call, is_idle, deadline).await.map_err(|e| e.while_doing(call.script.name()))
    }

    /// Runs scripts in one flush; on a cluster a few at a time.
    pub(crate) async fn run_all(&self, calls: Vec<Call>) -> Result<Vec<Result<Value>>> {
        let deadline = self.deadline();
        let link = self.link().await?;
        link.run_all(&calls, deadline).await
    }

    /// Sends a plain command; on a cluster to the node that has `slot_key`, or to any.
    pub(crate) async fn command(&self, command: redis::Cmd, slot_key: Option<&[u8]>) -> Result<Value> {
        let deadline = self.deadline();
        let link = self.link().await?;
        link.command(&command, slot_key, deadline).await
    }

    /// Runs a script and waits until `replicas` replicas have what it wrote or the time is up; says how many
    /// have it. Uses a connection of its own, because the wait blocks it; a few calls do so at a time.
    pub(crate) async fn confirm(&self, call: Call, replicas: u32) -> Result<(Value, u32)> {
        let deadline = self.deadline();
        let reach = &self.reach;
        let spares =
            self.spares.get_or_open(|| async { Ok(Arc::new(Spare::new(Arc::clone(reach)))) }).await?;
        let name = call.script.name();
        spares.confirm(call, replicas, deadline).await.map_err(|e| e.while_doing(name))
    }

    /// Opens the ear: what is heard arrives until the subscriber and all its clones are dropped.
    pub(crate) async fn listen(&self) -> Result<(Subscriber, mpsc::UnboundedReceiver<Heard>)> {
        subscriber::open(Arc::clone(&self.reach), self.patience).await
    }

    async fn link(&self) -> Result<Arc<Link>> {
        self.links.get_or_open(|| async { Ok(Arc::new(Link::new(Arc::clone(&self.reach)))) }).await
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }
}

#[cfg(test)]
mod tests;
