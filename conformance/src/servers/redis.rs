//! A Redis server of any make: plain, over TLS, with users, with a limit, replicating another.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use super::resp::{Decoded, Value, decode, encode};
use super::{Folder, Plan, Process, ports};

/// How long a command of a test may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often another port is tried.
const TRIES: usize = 5;

/// When the log of writes reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fsync {
    /// Before each answer.
    Always,
    /// Once a second.
    Everysec,
    /// When the system pleases.
    No,
}

/// What kind of Redis to start.
#[derive(Clone, Debug, Default)]
pub struct RedisPlan {
    options: Vec<(String, String)>,
    password: Option<String>,
    users: Vec<(String, String)>,
}

impl RedisPlan {
    /// Any line of `redis.conf`.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps the data over a restart.
    pub fn append_only(self, fsync: Fsync) -> Self {
        let fsync = match fsync {
            Fsync::Always => "always",
            Fsync::Everysec => "everysec",
            Fsync::No => "no",
        };
        self.option("appendonly", "yes").option("appendfsync", fsync)
    }

    /// Refuses writes beyond so many bytes.
    pub fn max_memory(self, bytes: u64) -> Self {
        self.option("maxmemory", &bytes.to_string()).option("maxmemory-policy", "noeviction")
    }

    /// Asks the default user for a password.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Adds a user by the rules of `ACL SETUSER`, such as `on >secret ~* &* +@all`.
    pub fn user(mut self, name: &str, rules: &str) -> Self {
        self.users.push((name.to_owned(), rules.to_owned()));
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Redis {
        for _ in 0..TRIES {
            let port = ports::free();
            match self.attempt(port) {
                Ok(redis) => return redis,
                Err(failure) if failure.is_port_taken() => {}
                Err(failure) => panic!("{failure}"),
            }
        }
        panic!("redis-server found its port taken {TRIES} times");
    }

    fn attempt(&self, port: u16) -> Result<Redis, super::process::Failure> {
        let folder = Folder::new("redis");
        folder.write("redis.conf", self.file(port));
        let plan = Plan {
            program: "redis-server".to_owned(),
            package: "redis-server",
            arguments: vec!["redis.conf".to_owned()],
            environment: Vec::new(),
            ready: Box::new(|output| output.contains("eady to accept connections")),
        };
        Process::start(folder, plan).map(|process| Redis { process, port, plan: self.clone() })
    }

    fn file(&self, port: u16) -> String {
        let mut lines = vec![
            format!("port {port}"),
            "bind 127.0.0.1".to_owned(),
            "unixsocket redis.sock".to_owned(),
            "daemonize no".to_owned(),
            "save \"\"".to_owned(),
            "enable-debug-command yes".to_owned(),
        ];
        lines.extend(self.password.iter().map(|password| format!("requirepass {password}")));
        lines.extend(self.users.iter().map(|(name, rules)| format!("user {name} {rules}")));
        lines.extend(self.options.iter().map(|(name, value)| format!("{name} {value}")));
        lines.join("\n") + "\n"
    }
}

/// A running Redis server. Killed when dropped.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
    plan: RedisPlan,
}

impl Redis {
    /// A plain server, to be made less plain before it is started.
    pub fn plan() -> RedisPlan {
        RedisPlan::default()
    }

    /// Starts a plain server.
    pub fn start() -> Self {
        Self::plan().start()
    }

    /// Its process: to kill, freeze, end and restart it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `redis://127.0.0.1:port`, with the default user's password if there is one.
    pub fn url(&self) -> String {
        let password = self.plan.password.as_ref().map(|password| format!(":{password}@"));
        format!("redis://{}{}", password.unwrap_or_default(), self.address())
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.process.folder().join("redis.sock")
    }

    /// Kills it as by -9.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Starts it again on the same port, with the data it kept.
    pub fn restart(&self) {
        self.process.restart();
    }

    /// Starts it again on the same port, with nothing in it.
    pub fn restart_empty(&self) {
        self.process.kill();
        let folder = self.process.folder();
        for kept in ["dump.rdb", "appendonlydir"] {
            let path = folder.join(kept);
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path)); // if it was kept
        }
        self.process.restart();
    }

    /// Carries out a command as the default user, over the unix socket: no proxy and no TLS in between.
    ///
    /// # Panics
    /// If there is no answer. An error of the server is an answer.
    pub fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?} to redis: {error}"))
    }

    /// Carries out a command as the default user, over the unix socket.
    ///
    /// # Errors
    /// If there is no answer.
    pub fn try_command(&self, words: &[&str]) -> io::Result<Value> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        if let Some(password) = &self.plan.password {
            exchange(&mut stream, &["AUTH", password])?;
        }
        exchange(&mut stream, words)
    }

    /// How often each command was carried out since the server started, by its lower-case name.
    pub fn calls(&self) -> std::collections::BTreeMap<String, u64> {
        let text = self.command(&["INFO", "commandstats"]).text();
        let line = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        };
        text.lines().filter_map(line).collect()
    }
}

fn exchange(stream: &mut UnixStream, words: &[&str]) -> io::Result<Value> {
    stream.write_all(&encode(words))?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match decode(&bytes) {
            Decoded::Whole(value, ..) => return Ok(value),
            Decoded::Foreign => return Err(io::Error::other("the answer is not Redis' protocol")),
            Decoded::Part => match stream.read(&mut piece)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => bytes.extend(piece.iter().take(read)),
            },
        }
    }
}
