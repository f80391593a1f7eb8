//! What every subcommand needs: the common options, somewhere to print, and a store.

use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::SignalKind;
use tooz::Coordinator;
use tracing_subscriber::filter::LevelFilter;

use super::args::Common;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::signals::Signals;
use super::{member, root, span};

/// One run of the command.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) common: Common,
    pub(crate) out: Output,
}

impl Context {
    pub(crate) fn new(common: Common) -> Self {
        let out = Output::new(common.json);
        Self { common, out }
    }

    /// Shows the library's log on standard error, as far as `-v` asks for it.
    pub(crate) fn listen(&self) {
        let level = match self.common.verbose {
            0 => return,
            1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        let log =
            tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false);
        // Only fails if there is one already, and then that one will do.
        let _ = log.try_init();
    }

    /// The store's URL. Says so when it is the default one: two users of one lock must mean one store.
    pub(crate) fn url(&self) -> Result<String, Failure> {
        if let Some(url) = self.common.url.as_ref().filter(|url| !url.is_empty()) {
            return Ok(url.clone());
        }
        let url = root::default_url()?;
        self.out.note(
            format_args!("using {url} (set --url or TOOZ_BACKEND for another store)"),
            &json!({ "note": "default_store", "url": url }),
        );
        Ok(url)
    }

    /// Opens a session for whatever takes as long as it takes.
    pub(crate) async fn connect(&self) -> Result<Coordinator, Failure> {
        let member = member::named(&self.common.members)?.unwrap_or_else(member::default_id);
        let mut builder = tooz::builder(self.url()?).member(member);
        if let Some(ttl) = self.common.ttl {
            builder = builder.ttl(ttl);
        }
        let coord = builder.connect().await?;
        if coord.endpoint().scheme() == "memory" {
            self.out.note(
                "memory:// is a store inside this process: no other process sees what happens in it",
                &json!({ "note": "memory_store" }),
            );
        }
        Ok(coord)
    }

    /// Opens a session for one look or change, which `--timeout` bounds, and closes it on every way out.
    pub(crate) async fn briefly<T>(
        &self,
        work: impl AsyncFnOnce(&Coordinator) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.bounded(async {
            let coord = self.connect().await?;
            let done = work(&coord).await;
            close(&coord, done).await
        })
        .await
    }

    async fn bounded<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let limit = self.common.timeout.filter(|limit| *limit > Duration::ZERO);
        let Some(limit) = limit else { return work.await };
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let text = format!("the store did not answer within --timeout {}", span::show(limit));
            Err(Failure::new(Exit::Unavailable, "unavailable", text))
        })
    }
}

/// How long a session that holds nothing any more may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Ends a session that holds nothing any more: a courtesy that no result may wait for long.
pub(crate) async fn farewell(coord: &Coordinator) {
    // Whatever it leaves in the store ends with its time to live.
    let _ = tokio::time::timeout(FAREWELL, coord.close()).await;
}

/// Gives up a place in a queue because a signal came; one more ends it at once.
pub(crate) async fn withdraw(coord: &Coordinator, signal: i32, signals: &mut Signals) -> Exit {
    tokio::select! {
        // Its failure leaves nothing to be done: the place ends with its time to live.
        _ = coord.close() => {}
        _ = signals.next_ending() => {}
    }
    Exit::signal(signal)
}

/// Gives everything back. A failure of the work itself tells more than one of closing.
pub(crate) async fn close<T>(coord: &Coordinator, done: Result<T, Failure>) -> Result<T, Failure> {
    let closed = coord.close().await;
    let done = done?;
    closed?;
    Ok(done)
}

/// How a command ends that runs until told: INT and TERM are the agreed ways.
pub(crate) fn ended_by(signal: i32) -> Exit {
    let agreed = [SignalKind::interrupt(), SignalKind::terminate()];
    if agreed.iter().any(|kind| kind.as_raw_value() == signal) { Exit::Done } else { Exit::signal(signal) }
}
