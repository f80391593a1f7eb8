//! Everything that this process says, at the finest level and by either way of logging: we and the client libraries.

#![allow(dead_code, clippy::unwrap_used)] // each test needs a part of it; a failed assumption here is a failed test

use std::error::Error as _;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tooz_core::Error;
use tracing_subscriber::filter::LevelFilter;

static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());

fn words() -> MutexGuard<'static, Vec<u8>> {
    SAID.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens from now on. Once in a process.
pub(crate) fn listen() {
    let talkative = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false);
    tracing::subscriber::set_global_default(talkative.with_writer(|| Scribe).finish()).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    log::set_logger(&Scribe).unwrap();
}

/// What was said so far.
pub(crate) fn said() -> String {
    String::from_utf8_lossy(&words()).into_owned()
}

/// All that an error tells anybody, with its causes.
pub(crate) fn in_full(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(" {cause} {cause:?} {cause:#?}");
        source = cause.source();
    }
    text
}

/// Takes down what is said.
struct Scribe;

impl io::Write for Scribe {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        words().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl log::Log for Scribe {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        words().extend_from_slice(format!("{} {}\n", record.target(), record.args()).as_bytes());
    }

    fn flush(&self) {}
}
