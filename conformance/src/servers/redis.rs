//! A Redis server of any make: plain, over TLS, with users, with a limit, replicating another.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::process::find;
use super::resp::{Decoded, Value, decode, encode};
use super::{Certificates, Folder, Plan, Process, ports, started, until};

/// How long a command of a test may take.
const PATIENCE: Duration = Duration::from_secs(5);

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
    certificates: Option<Arc<Certificates>>,
    sentinel: bool,
    movable: bool,
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

    /// Speaks TLS only, on its port; with `mutual`, to clients that show a certificate only.
    pub fn tls(mut self, certificates: &Arc<Certificates>, mutual: bool) -> Self {
        let (certificate, key) = certificates.server();
        self.certificates = Some(Arc::clone(certificates));
        self.option("tls-cert-file", &certificate.display().to_string())
            .option("tls-key-file", &key.display().to_string())
            .option("tls-ca-cert-file", &certificates.authority().display().to_string())
            .option("tls-auth-clients", if mutual { "yes" } else { "no" })
    }

    /// Follows another server.
    pub fn replica_of(self, primary: &Redis) -> Self {
        self.option("replicaof", &format!("127.0.0.1 {}", primary.port()))
    }

    /// Runs on a wall clock that [jumps](Redis::jump): a small one of our own stands before the system's.
    pub fn movable_clock(mut self) -> Self {
        self.movable = true;
        self
    }

    /// Watches other servers instead of keeping data.
    pub(super) fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    /// Starts it and waits until it answers.
    pub fn start(self) -> Redis {
        started("redis-server", || self.attempt(ports::free()))
    }

    fn attempt(&self, port: u16) -> Result<Redis, super::process::Failure> {
        let folder = Folder::new("redis");
        folder.write("redis.conf", self.file(port));
        let ready = if self.sentinel { "Sentinel ID is" } else { "eady to accept connections" };
        let mut arguments = vec!["redis.conf".to_owned()];
        arguments.extend(self.sentinel.then(|| "--sentinel".to_owned()));
        let plan = Plan {
            program: "redis-server".to_owned(),
            package: "redis-server",
            arguments,
            environment: if self.movable { moved(&folder) } else { Vec::new() },
            namespace: None,
            ready: Box::new(move |output| output.contains(ready)),
        };
        Process::start(folder, plan).map(|process| Redis { process, port, plan: self.clone() })
    }

    fn file(&self, port: u16) -> String {
        let port = match self.certificates {
            Some(_) => format!("port 0\ntls-port {port}"),
            None => format!("port {port}"),
        };
        let mut lines = vec![
            port,
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

/// The file by which a clock is moved.
const CLOCK: &str = "clock";

/// What stands before the system's wall clock, built in the server's folder.
fn moved(folder: &Folder) -> Vec<(String, String)> {
    let source = folder.write("clock.c", include_str!("clock.c"));
    let (library, file) = (folder.join("clock.so"), folder.write(CLOCK, 0_i64.to_ne_bytes()));
    let mut compiler = Command::new(find("cc", "gcc"));
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source);
    let built = compiler.status();
    assert!(built.is_ok_and(|status| status.success()), "cc could not build a clock that jumps");
    let path = |path: PathBuf| path.display().to_string();
    vec![("LD_PRELOAD".to_owned(), path(library)), ("TOOZ_CLOCK".to_owned(), path(file))]
}

fn true_time() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
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

    /// `redis://127.0.0.1:port` (`rediss` over TLS), with the default user's password if there is one.
    pub fn url(&self) -> String {
        let scheme = if self.plan.certificates.is_some() { "rediss" } else { "redis" };
        let password = self.plan.password.as_ref().map(|password| format!(":{password}@"));
        format!("{scheme}://{}{}", password.unwrap_or_default(), self.address())
    }

    /// What it shows to clients, and what they may show to it, where it speaks TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.plan.certificates.as_deref()
    }

    /// Its unix socket: there is one always, whatever its port asks for.
    pub fn socket(&self) -> PathBuf {
        self.process.folder().join("redis.sock")
    }

    /// Kills it as by -9.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Sets the server's wall clock so many seconds before or after the true time, from its next look on.
    ///
    /// # Panics
    /// If its clock was not planned to be [movable](RedisPlan::movable_clock), or does not move.
    pub fn jump(&self, seconds: i64) {
        assert!(self.plan.movable, "the clock of this server cannot be moved: plan it so");
        let file = std::fs::OpenOptions::new().write(true).open(self.process.folder().join(CLOCK));
        // In place: the server has the file before its eyes.
        let moved = file.and_then(|mut file| file.write_all(&seconds.to_ne_bytes()));
        assert!(moved.is_ok(), "the clock cannot be moved: {moved:?}");
        let shown = || self.command(&["TIME"]).list().first().and_then(|text| text.text().parse().ok());
        until("the clock has jumped", || {
            shown().is_some_and(|now: i64| (now - true_time() - seconds).abs() <= 1)
        });
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

    /// What stands in the namespace, the usual one if none is given, although nobody is there; one line each. Groups,
    /// messages and what keeps tokens growing may stay.
    ///
    /// # Panics
    /// If the server does not answer.
    pub fn leftovers(&self, namespace: Option<&str>) -> Vec<String> {
        const LEFT: &str = include_str!("redis_left.lua");
        let mut command = vec!["EVAL", LEFT, "0"];
        command.extend(namespace);
        let answer = self.command(&command);
        assert!(!answer.text().starts_with("(error)"), "{}", answer.text());
        answer.list().iter().map(Value::text).collect()
    }

    /// Waits until so many replicas have all that was written.
    pub fn replicated(&self, replicas: usize) {
        until("the replicas have caught up", || {
            let text = self.command(&["INFO", "replication"]).text();
            let field = |line: &str, name: &str| line.split(name).nth(1).and_then(number);
            let all = text.lines().find_map(|line| field(line, "master_repl_offset:"));
            let up = text.lines().filter(|line| line.contains("state=online"));
            up.filter(|line| field(line, "offset=") == all).count() >= replicas
        });
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

/// The number that a text begins with.
fn number(text: &str) -> Option<u64> {
    text.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}

fn exchange(stream: &mut (impl Read + Write), words: &[&str]) -> io::Result<Value> {
    stream.write_all(&encode(words))?;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match decode(&bytes) {
            Decoded::Whole(value, ..) => return Ok(value),
            Decoded::Foreign => return Err(io::Error::other("the answer is not Redis' protocol")),
            Decoded::Part => match stream.read(&mut piece) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => bytes.extend(piece.iter().take(read)),
                // By a signal, such as that a server has died: where there is a time limit, the kernel does not go on by itself.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server whose answers are interrupted, and come in pieces.
    struct Slow(Vec<io::Result<&'static [u8]>>);

    impl Read for Slow {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.remove(0)?.read(buffer)
        }
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_answer_is_read_through_signals() {
        let signal = || Err(io::ErrorKind::Interrupted.into());
        let mut server = Slow(vec![signal(), Ok(b"+O"), signal(), Ok(b"K\r\n")]);
        assert_eq!(exchange(&mut server, &["PING"]).unwrap().text(), "OK");
        let mut server = Slow(vec![signal(), Ok(b"+O"), Ok(b"")]);
        assert_eq!(exchange(&mut server, &["PING"]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
