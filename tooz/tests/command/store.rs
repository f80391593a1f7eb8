//! A store of one test's own, and the command over it.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::run::{Ended, Run};

pub(crate) struct Store {
    folder: TempDir,
    url: String,
}

impl Store {
    /// A directory for as many processes as there are.
    pub(crate) fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}/store", folder.path().display());
        Self { folder, url }
    }

    /// A server that a test started.
    pub(crate) fn at(url: String) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), url }
    }

    /// A store that lives in one process and leases: for one command and its deadline.
    pub(crate) fn leasing(ttl: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder, url: format!("memory://leasing?lock_timeout={ttl}") }
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = bare(words);
        command.env("TOOZ_BACKEND", &self.url);
        command
    }

    pub(crate) fn start(&self, words: &[&str]) -> Run {
        Run::start(&mut self.command(words))
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        self.start(words).end()
    }

    /// What `tooz who --json` says.
    pub(crate) fn who(&self, lock: &str) -> Value {
        self.run(&["who", lock, "--json"]).json()
    }
}

/// The command without any setting of whoever runs the tests.
pub(crate) fn bare(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tooz"));
    command.args(words);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TOOZ_")) {
        command.env_remove(name);
    }
    command
}
