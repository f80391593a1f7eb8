//! A ZooKeeper server of any make: plain, over TLS, one of an ensemble.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::{Folder, Plan, Process, ports};

/// Where Debian's `libzookeeper-java` puts the server and what it needs.
const JARS: &str = "/usr/share/java";
const NEEDED: &[&str] = &[
    "zookeeper",
    "zookeeper-jute",
    "netty-all",
    "slf4j-api",
    "slf4j-simple",
    "snappy-java",
    "metrics-core",
    "jackson-annotations",
    "jackson-core",
    "jackson-databind",
    "commons-cli",
];
/// How often another port is tried.
const TRIES: usize = 5;

/// What kind of ZooKeeper to start.
#[derive(Clone, Debug)]
pub struct ZookeeperPlan {
    tick: Duration,
    options: Vec<(String, String)>,
    properties: Vec<(String, String)>,
}

impl Default for ZookeeperPlan {
    fn default() -> Self {
        Self { tick: Duration::from_millis(500), options: Vec::new(), properties: Vec::new() }
    }
}

impl ZookeeperPlan {
    /// The length of a tick: sessions live at least two of them.
    pub fn tick(mut self, tick: Duration) -> Self {
        self.tick = tick;
        self
    }

    /// Any line of `zoo.cfg`.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Any system property of the server's.
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts it and waits until it serves.
    pub fn start(self) -> Zookeeper {
        for _ in 0..TRIES {
            let port = ports::free();
            match self.attempt(port) {
                Ok(server) => return server,
                Err(failure) if failure.is_port_taken() => {}
                Err(failure) => panic!("{failure}"),
            }
        }
        panic!("zookeeper found its port taken {TRIES} times");
    }

    fn attempt(&self, port: u16) -> Result<Zookeeper, super::process::Failure> {
        let folder = Folder::new("zookeeper");
        let file = folder.write("zoo.cfg", self.file(folder.path(), port));
        let mut arguments: Vec<String> =
            ["-Xmx192m", "-Xms32m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
                .map(str::to_owned)
                .to_vec();
        let mut properties = vec![
            ("zookeeper.admin.enableServer".to_owned(), "false".to_owned()),
            ("zookeeper.forceSync".to_owned(), "no".to_owned()),
            ("zookeeper.extendedTypesEnabled".to_owned(), "true".to_owned()),
        ];
        properties.extend(self.properties.iter().cloned());
        arguments.extend(properties.iter().map(|(name, value)| format!("-D{name}={value}")));
        let jars: Vec<String> = NEEDED.iter().map(|jar| format!("{JARS}/{jar}.jar")).collect();
        let server = format!("{JARS}/zookeeper.jar");
        assert!(Path::new(&server).exists(), "no {server}: apt-get install libzookeeper-java");
        arguments.extend(["-cp".to_owned(), jars.join(":")]);
        arguments.push("org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned());
        arguments.push(file.display().to_string());
        let plan = Plan {
            program: "java".to_owned(),
            package: "default-jre-headless",
            arguments,
            environment: Vec::new(),
            ready: Box::new(move |_| word(port, "srvr").is_some_and(|said| said.contains("Mode:"))),
        };
        Process::start(folder, plan).map(|process| Zookeeper { process, port })
    }

    fn file(&self, folder: &Path, port: u16) -> String {
        let mut lines = vec![
            format!("tickTime={}", self.tick.as_millis()),
            format!("dataDir={}", folder.join("data").display()),
            format!("clientPort={port}"),
            "clientPortAddress=127.0.0.1".to_owned(),
            "maxClientCnxns=0".to_owned(),
            "4lw.commands.whitelist=*".to_owned(),
        ];
        lines.extend(self.options.iter().map(|(name, value)| format!("{name}={value}")));
        lines.join("\n") + "\n"
    }
}

/// A running server. Killed when dropped.
#[derive(Debug)]
pub struct Zookeeper {
    process: Process,
    port: u16,
}

impl Zookeeper {
    /// What to start, to be filled in.
    pub fn plan() -> ZookeeperPlan {
        ZookeeperPlan::default()
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process: killed, frozen, started again.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// What the server answers to one of its four-letter words.
fn word(port: u16, word: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said)
}
