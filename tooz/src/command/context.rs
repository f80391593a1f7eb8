//! What every subcommand needs: the common options, somewhere to print, and a store.

use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::SignalKind;
use tokio::time::Instant;
use tooz::Coordinator;
use tracing_subscriber::filter::LevelFilter;

use super::args::Common;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::signals::Signals;
use super::{member, reader, root, span};

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
        let coord = self.within(self.limit(), builder.connect()).await?;
        // Whatever it told the store, it was nothing that was asked for.
        let coord = coord.map_err(|error| Failure::from(error).without_effect())?;
        if coord.endpoint().scheme() == "memory" {
            self.out.note(
                "memory:// is a store inside this process: no other process sees what happens in it",
                &json!({ "note": "memory_store" }),
            );
        }
        Ok(coord)
    }

    /// Opens a session for one look or change, which `--timeout` bounds, and ends it.
    pub(crate) async fn briefly<T>(
        &self,
        work: impl AsyncFnOnce(&Coordinator) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let coord = self.connect().await?;
        let left = self.limit().map(|limit| limit.saturating_sub(begun.elapsed()));
        // A store that let the time pass hears no farewell either.
        let done = self.within(left, work(&coord)).await.map_err(Failure::effect_unknown)?;
        farewell(&coord).await;
        done
    }

    /// Opens a session for what goes on until it is done or a signal comes, and ends it. It holds nothing, so
    /// that nothing is waited for when it is told to end.
    pub(crate) async fn until_told(
        &self,
        work: impl AsyncFnOnce(&Coordinator) -> Result<Exit, Failure>,
    ) -> Result<Exit, Failure> {
        let mut signals = Signals::ending().map_err(|e| Failure::system("listen for signals", &e))?;
        let coord = tokio::select! {
            coord = self.connect() => coord?,
            number = signals.next() => return Ok(ended_by(number)),
        };
        let done = tokio::select! {
            done = work(&coord) => done,
            number = signals.next() => Ok(ended_by(number)),
        };
        tokio::select! {
            () = farewell(&coord) => {}
            _ = signals.next() => {}
        }
        done
    }

    /// As [`until_told`](Self::until_told), and until nobody reads any more what is printed.
    pub(crate) async fn until_unread(
        &self,
        read: impl AsyncFnOnce(&Coordinator) -> Result<Exit, Failure>,
    ) -> Result<Exit, Failure> {
        let read = async |coord: &Coordinator| {
            tokio::select! {
                done = read(coord) => done,
                failure = reader::gone() => Err(failure),
            }
        };
        self.until_told(read).await
    }

    /// Waits for one answer of the store as long as `--timeout` allows.
    pub(crate) async fn bounded<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.within(self.limit(), work).await.map_err(Failure::effect_unknown)?
    }

    /// `--timeout`, unless it is the zero by which `lock` and `elect` do not wait for their turn.
    fn limit(&self) -> Option<Duration> {
        self.common.timeout.filter(|limit| *limit > Duration::ZERO)
    }

    async fn within<T>(&self, limit: Option<Duration>, work: impl Future<Output = T>) -> Result<T, Failure> {
        let Some(limit) = limit else { return Ok(work.await) };
        tokio::time::timeout(limit, work).await.map_err(|_| {
            let given = span::show(self.limit().unwrap_or_default());
            let text = format!("the store did not answer within --timeout {given}");
            Failure::new(Exit::Unavailable, "unavailable", text)
        })
    }
}

/// How long a session that holds nothing any more may take to end.
const FAREWELL: Duration = Duration::from_millis(300);

/// Ends a session that holds nothing any more: a courtesy that no result may wait for long.
pub(crate) async fn farewell(coord: &Coordinator) {
    // Whatever it leaves in the store ends with its time to live.
    let _ = tokio::time::timeout(FAREWELL, coord.close()).await;
}

/// Gives back whatever is still held; a signal cuts it short.
pub(crate) async fn give_back(coord: &Coordinator, signals: &mut Signals) {
    tokio::select! {
        // Its failure leaves nothing to be done: what stays behind ends with its time to live.
        _ = coord.close() => {}
        _ = signals.next_ending() => {}
    }
}

/// How a command ends that runs until told: INT and TERM are the agreed ways.
pub(crate) fn ended_by(signal: i32) -> Exit {
    let agreed = [SignalKind::interrupt(), SignalKind::terminate()];
    if agreed.iter().any(|kind| kind.as_raw_value() == signal) { Exit::Done } else { Exit::signal(signal) }
}
