//! ZooKeeper, one node or three.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::process::Failure;
use super::{Certificates, Folder, Plan, Process, TRIES, ports, until};

/// The length of a tick unless told otherwise.
pub const TICK_MS: u64 = 500;
/// How long a node may take to tell of itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// A node's places: for plain clients, for those over TLS, for its peers, for elections.
const PORTS: usize = 4;
/// Where Debian keeps its jars, and which it takes: for what it prints, and for TLS.
const JARS_FOLDER: &str = "/usr/share/java";
const JARS: [&str; 4] = ["zookeeper.jar", "slf4j-simple.jar", "netty-codec.jar", "netty-resolver.jar"];

/// What kind of ZooKeeper to start.
#[derive(Clone, Debug)]
pub struct ZookeeperPlan {
    nodes: usize,
    certificates: Option<Arc<Certificates>>,
    options: Vec<(String, String)>,
    properties: Vec<(String, String)>,
}

impl ZookeeperPlan {
    /// So many nodes.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Speaks TLS with clients, to those that show a certificate only if `mutual`.
    pub fn tls(mut self, certificates: &Arc<Certificates>, mutual: bool) -> Self {
        self.certificates = Some(Arc::clone(certificates));
        self.option("ssl.clientAuth", if mutual { "need" } else { "none" })
    }

    /// Any line of `zoo.cfg`; later ones win.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.retain(|(known, _)| known != name);
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The length of a tick: sessions last from 2 to 20 of them.
    pub fn tick(self, tick: Duration) -> Self {
        self.option("tickTime", &tick.as_millis().to_string())
    }

    /// Any system property of the server's, such as `zookeeper.enforce.auth.enabled`.
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts all nodes and waits until they serve.
    pub fn start(self) -> Zookeeper {
        for _ in 0..TRIES {
            match self.attempt() {
                Ok(zookeeper) => {
                    zookeeper.serving();
                    return zookeeper;
                }
                Err(failure) if failure.is_port_taken() => {}
                Err(failure) => panic!("{failure}"),
            }
        }
        panic!("zookeeper found a port taken {TRIES} times");
    }

    fn attempt(&self) -> Result<Zookeeper, Failure> {
        let taken = ports::several(self.nodes * PORTS);
        let places: Vec<&[u16]> = taken.chunks(PORTS).collect();
        let peers = places.iter().enumerate().filter_map(|(number, ports)| match **ports {
            [_, _, peer, election] => Some(format!("server.{}=127.0.0.1:{peer}:{election}", number + 1)),
            _ => None,
        });
        let peers: Vec<_> = if self.nodes > 1 { peers.collect() } else { Vec::new() };
        let node = |(number, ports): (usize, &&[u16])| match **ports {
            [client, secure, ..] => {
                self.node(number + 1, &peers, client, self.certificates.as_ref().map(|_| secure))
            }
            _ => panic!("four ports for each node"),
        };
        let nodes = places.iter().enumerate().map(node).collect::<Result<_, _>>()?;
        Ok(Zookeeper { nodes, certificates: self.certificates.clone() })
    }

    fn node(
        &self,
        id: usize,
        peers: &[String],
        client: u16,
        secure: Option<u16>,
    ) -> Result<ZookeeperNode, Failure> {
        let folder = Folder::new("zookeeper");
        std::fs::create_dir(folder.join("data"))
            .unwrap_or_else(|error| panic!("create a data folder: {error}"));
        folder.write("data/myid", id.to_string());
        folder.write("zoo.cfg", self.file(peers, client, secure, &folder));
        let jars = JARS.map(|jar| format!("{JARS_FOLDER}/{jar}"));
        if let Some(missing) = jars.iter().find(|jar| !Path::new(jar).exists()) {
            panic!(
                "{missing} is missing: it comes with libzookeeper-java, libslf4j-java or libnetty-java; \
                 `conformance/test` installs them"
            );
        }
        let mut arguments: Vec<String> = [
            "-Xmx128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",               // quick to start, small to keep
            "-Dzookeeper.extendedTypesEnabled=true", // nodes with a time to live
            "-Dzookeeper.forceSync=no",              // a killed process loses nothing that the system has
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        .map(ToOwned::to_owned)
        .into();
        arguments.extend(self.properties.iter().map(|(name, value)| format!("-D{name}={value}")));
        arguments.extend(["-cp".to_owned(), jars.join(":")]);
        arguments.extend(
            ["org.apache.zookeeper.server.quorum.QuorumPeerMain", "./zoo.cfg"].map(ToOwned::to_owned),
        );
        let plan = Plan {
            program: "java".to_owned(),
            package: "default-jre-headless",
            arguments,
            environment: Vec::new(),
            // A node of several can say no more before its peers are there.
            ready: Box::new(move |_| !ports::is_free(client)),
        };
        Process::start(folder, plan).map(|process| ZookeeperNode { process, client, secure })
    }

    fn file(&self, peers: &[String], client: u16, secure: Option<u16>, folder: &Folder) -> String {
        let mut lines: Vec<(String, String)> = [
            ("tickTime", TICK_MS.to_string()),
            ("initLimit", "20".to_owned()),
            ("syncLimit", "4".to_owned()),
            ("dataDir", folder.join("data").display().to_string()),
            ("clientPort", client.to_string()),
            ("clientPortAddress", "127.0.0.1".to_owned()),
            ("admin.enableServer", "false".to_owned()),
            ("4lw.commands.whitelist", "*".to_owned()),
            ("maxClientCnxns", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let (Some(certificates), Some(port)) = (&self.certificates, secure) {
            let stores = stores(certificates, folder);
            lines.push(("secureClientPort".to_owned(), port.to_string()));
            lines.push(("secureClientPortAddress".to_owned(), "127.0.0.1".to_owned()));
            let factory = "org.apache.zookeeper.server.NettyServerCnxnFactory";
            lines.push(("serverCnxnFactory".to_owned(), factory.to_owned()));
            lines.extend(stores.map(|(name, value)| (name.to_owned(), value)));
        }
        lines.retain(|(name, _)| !self.options.iter().any(|(known, _)| known == name));
        lines.extend(self.options.iter().cloned());
        let lines = lines.into_iter().map(|(name, value)| format!("{name}={value}"));
        lines.chain(peers.iter().cloned()).collect::<Vec<_>>().join("\n") + "\n"
    }
}

/// Where a node finds its key, and whom it trusts.
fn stores(certificates: &Certificates, folder: &Folder) -> [(&'static str, String); 4] {
    let (certificate, key) = certificates.server();
    let read = |path: &Path| {
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
    };
    let own = folder.write("server.pem", read(&key) + &read(&certificate));
    let trusted = folder.write("trusted.pem", read(&certificates.authority()));
    [
        ("ssl.keyStore.location", own.display().to_string()),
        ("ssl.keyStore.type", "PEM".to_owned()),
        ("ssl.trustStore.location", trusted.display().to_string()),
        ("ssl.trustStore.type", "PEM".to_owned()),
    ]
}

/// One node of ZooKeeper.
#[derive(Debug)]
pub struct ZookeeperNode {
    process: Process,
    client: u16,
    secure: Option<u16>,
}

impl ZookeeperNode {
    /// Its process: to kill, freeze, end and restart it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its port for plain clients on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.client
    }

    /// Its port for clients over TLS, where it speaks that.
    pub fn secure_port(&self) -> Option<u16> {
        self.secure
    }

    /// `127.0.0.1:port`, for plain clients.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client)
    }

    /// Whether it serves: `standalone`, `leader` or `follower`.
    pub fn mode(&self) -> Option<String> {
        let text = self.ask("srvr").ok()?;
        text.lines().find_map(|line| line.strip_prefix("Mode: ")).map(ToOwned::to_owned)
    }

    /// The answer to a command of four letters, such as `mntr` or `wchs`.
    ///
    /// # Errors
    /// If there is none.
    pub fn ask(&self, word: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.client))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(word.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Running ZooKeeper. Killed when dropped.
#[derive(Debug)]
pub struct Zookeeper {
    nodes: Vec<ZookeeperNode>,
    certificates: Option<Arc<Certificates>>,
}

impl Zookeeper {
    /// One plain node, to be made less plain before it is started.
    pub fn plan() -> ZookeeperPlan {
        ZookeeperPlan { nodes: 1, certificates: None, options: Vec::new(), properties: Vec::new() }
    }

    /// Starts one plain node.
    pub fn start() -> Self {
        Self::plan().start()
    }

    /// The nodes, dead ones included.
    pub fn nodes(&self) -> &[ZookeeperNode] {
        &self.nodes
    }

    /// The first node: all there is, of one.
    pub fn node(&self) -> &ZookeeperNode {
        self.nodes.first().unwrap_or_else(|| panic!("zookeeper of no nodes"))
    }

    /// The first node's port for plain clients on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.node().port()
    }

    /// The first node's process.
    pub fn process(&self) -> &Process {
        self.node().process()
    }

    /// The nodes' addresses for plain clients, separated by commas.
    pub fn addresses(&self) -> String {
        self.nodes.iter().map(ZookeeperNode::address).collect::<Vec<_>>().join(",")
    }

    /// The nodes' addresses for clients over TLS, separated by commas.
    pub fn secure_addresses(&self) -> String {
        let secure = self.nodes.iter().filter_map(|node| node.secure);
        secure.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// `zookeeper://…` with all nodes, for plain clients.
    pub fn url(&self) -> String {
        format!("zookeeper://{}", self.addresses())
    }

    /// What it shows to clients, and what they may show to it, where it speaks TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_deref()
    }

    /// Waits until every node whose process runs serves.
    pub fn serving(&self) {
        until("zookeeper serves", || self.alive().all(|node| node.mode().is_some()));
    }

    /// The node that leads, once one does.
    pub fn leader(&self) -> &ZookeeperNode {
        let mut found = None;
        until("zookeeper has a leader", || {
            found = self.alive().find(|node| node.mode().is_some_and(|mode| mode != "follower"));
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("zookeeper without a leader"))
    }

    /// Kills the leader and waits until the others serve under another.
    pub fn kill_leader(&self) -> &ZookeeperNode {
        let leader = self.leader();
        leader.process.kill();
        self.leader();
        self.serving();
        leader
    }

    fn alive(&self) -> impl Iterator<Item = &ZookeeperNode> {
        self.nodes.iter().filter(|node| node.process.id().is_some())
    }
}
