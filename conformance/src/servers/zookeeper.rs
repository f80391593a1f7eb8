//! ZooKeeper, one node or three.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::process::Failure;
use super::{Certificates, Folder, Network, Plan, Process, ports, started, until};
use crate::proxy::{Proxy, Way};

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
    heap_mib: u32,
    apart: bool,
    partable: bool,
}

/// Where a node is.
#[derive(Clone, Debug)]
struct Place {
    namespace: Option<String>,
    host: Ipv4Addr,
    peer_host: Ipv4Addr,
    client: u16,
    secure: Option<u16>,
    peer: u16,
    election: u16,
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

    /// Lets the nodes reach each other through proxies, so that one can be [isolated](Zookeeper::isolate) from its
    /// peers while its clients reach it.
    pub fn partable(mut self) -> Self {
        self.partable = true;
        self
    }

    /// Puts every node on a machine of its own, which can be cut off the others. Needs root.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Any line of `zoo.cfg`; later ones win.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.retain(|(known, _)| known != name);
        self.options.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How much the server may keep in memory, which is all that it keeps.
    pub fn heap_mib(mut self, mebibytes: u32) -> Self {
        self.heap_mib = mebibytes;
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
        let zookeeper = started("zookeeper", || self.attempt());
        zookeeper.serving();
        zookeeper
    }

    fn attempt(&self) -> Result<Zookeeper, Failure> {
        let network = self.apart.then(|| Network::new(u8::try_from(self.nodes).unwrap_or(u8::MAX)));
        let taken = ports::several(self.nodes * PORTS);
        let places = taken.chunks(PORTS).zip(0..).map(|(ports, number)| self.place(ports, number, &network));
        let places: Vec<_> = places.collect();
        let mut links = Vec::new();
        let peers: Vec<_> = (0..places.len()).map(|node| self.peers(node, &places, &mut links)).collect();
        let planned = places.into_iter().zip(peers).zip(1..);
        let nodes = planned.map(|((place, peers), id)| self.node(id, &peers, place));
        Ok(Zookeeper {
            nodes: nodes.collect::<Result<_, _>>()?,
            certificates: self.certificates.clone(),
            links,
            network,
        })
    }

    /// How a node finds itself and its peers.
    fn peers(&self, node: usize, places: &[Place], links: &mut Vec<Link>) -> Vec<String> {
        if self.nodes == 1 {
            return Vec::new();
        }
        let lines = places.iter().enumerate().map(|(number, place)| {
            let (mut peer, mut election) = (place.peer, place.election);
            if self.partable && number != node {
                for port in [&mut peer, &mut election] {
                    let proxy = Proxy::bytes(*port);
                    *port = proxy.port();
                    links.push(Link { ends: [node, number], proxy });
                }
            }
            format!("server.{}={}:{peer}:{election}", number + 1, place.peer_host)
        });
        lines.collect()
    }

    fn place(&self, ports: &[u16], number: u8, network: &Option<Network>) -> Place {
        let [client, secure, peer, election] = *ports else { panic!("four ports for each node") };
        let own = |address: fn(&Network, u8) -> Ipv4Addr| {
            network.as_ref().map_or(Ipv4Addr::LOCALHOST, |network| address(network, number))
        };
        Place {
            namespace: network.as_ref().map(|network| network.namespace(number)),
            host: own(Network::address),
            peer_host: own(Network::peer_address),
            client,
            secure: self.certificates.as_ref().map(|_| secure),
            peer,
            election,
        }
    }

    fn node(&self, id: usize, peers: &[String], place: Place) -> Result<ZookeeperNode, Failure> {
        let folder = Folder::new("zookeeper");
        std::fs::create_dir(folder.join("data"))
            .unwrap_or_else(|error| panic!("create a data folder: {error}"));
        folder.write("data/myid", id.to_string());
        folder.write("zoo.cfg", self.file(peers, &place, &folder));
        let Place { namespace, host, client, secure, .. } = place;
        let jars = JARS.map(|jar| format!("{JARS_FOLDER}/{jar}"));
        if let Some(missing) = jars.iter().find(|jar| !Path::new(jar).exists()) {
            panic!(
                "{missing} is missing: it comes with libzookeeper-java, libslf4j-java or libnetty-java; \
                 `conformance/test` installs them"
            );
        }
        let mut arguments: Vec<String> = [
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",               // quick to start, small to keep
            "-Dzookeeper.extendedTypesEnabled=true", // nodes with a time to live
            "-Dzookeeper.forceSync=no",              // a killed process loses nothing that the system has
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ]
        .map(ToOwned::to_owned)
        .into();
        arguments.push(format!("-Xmx{}m", self.heap_mib));
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
            namespace,
            // A node of several can say no more before its peers are there.
            ready: Box::new(move |_| TcpStream::connect((host, client)).is_ok()),
        };
        Process::start(folder, plan).map(|process| ZookeeperNode { process, host, client, secure })
    }

    fn file(&self, peers: &[String], place: &Place, folder: &Folder) -> String {
        let mut lines: Vec<(String, String)> = [
            ("tickTime", TICK_MS.to_string()),
            ("initLimit", "20".to_owned()),
            ("syncLimit", "4".to_owned()),
            ("dataDir", folder.join("data").display().to_string()),
            ("clientPort", place.client.to_string()),
            ("clientPortAddress", place.host.to_string()),
            ("admin.enableServer", "false".to_owned()),
            ("4lw.commands.whitelist", "*".to_owned()),
            ("maxClientCnxns", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let (Some(certificates), Some(port)) = (&self.certificates, place.secure) {
            let stores = stores(certificates, folder);
            lines.push(("secureClientPort".to_owned(), port.to_string()));
            lines.push(("secureClientPortAddress".to_owned(), place.host.to_string()));
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
    host: Ipv4Addr,
    client: u16,
    secure: Option<u16>,
}

impl ZookeeperNode {
    /// Its process: to kill, freeze, end and restart it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its port for plain clients.
    pub fn port(&self) -> u16 {
        self.client
    }

    /// Its port for clients over TLS, where it speaks that.
    pub fn secure_port(&self) -> Option<u16> {
        self.secure
    }

    /// Where plain clients reach it: `127.0.0.1:port`, or its own machine's address.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.client)
    }

    /// Whether its door for TLS is open, which it opens last.
    fn is_open(&self) -> bool {
        self.secure.is_none_or(|port| TcpStream::connect((self.host, port)).is_ok())
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
        let mut stream = TcpStream::connect_timeout(&(self.host, self.client).into(), PATIENCE)?;
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
    links: Vec<Link>,
    network: Option<Network>, // last: its machines go after what runs on them
}

/// One way by which a node calls another.
#[derive(Debug)]
struct Link {
    ends: [usize; 2],
    proxy: Proxy,
}

impl Zookeeper {
    /// One plain node, to be made less plain before it is started.
    pub fn plan() -> ZookeeperPlan {
        ZookeeperPlan {
            nodes: 1,
            certificates: None,
            options: Vec::new(),
            properties: Vec::new(),
            heap_mib: 128,
            apart: false,
            partable: false,
        }
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

    /// The first node's port for plain clients.
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
        let secure = self.nodes.iter().filter_map(|node| Some((node.host, node.secure?)));
        secure.map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",")
    }

    /// `zookeeper://…` with all nodes, for plain clients.
    pub fn url(&self) -> String {
        format!("zookeeper://{}", self.addresses())
    }

    /// What it shows to clients, and what they may show to it, where it speaks TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_deref()
    }

    /// Cuts a node off its peers: nothing passes between them, and neither side is told. Its clients still reach it.
    ///
    /// # Panics
    /// If it was not planned as [partable](ZookeeperPlan::partable).
    pub fn isolate(&self, node: &ZookeeperNode) {
        assert!(!self.links.is_empty(), "these nodes cannot be parted: plan them so");
        self.links_of(node).for_each(|link| link.proxy.cut(Way::Both));
    }

    /// Ends what [`isolate`](Self::isolate) began.
    pub fn rejoin(&self, node: &ZookeeperNode) {
        self.links_of(node).for_each(|link| link.proxy.join());
    }

    fn links_of(&self, node: &ZookeeperNode) -> impl Iterator<Item = &Link> {
        let index = self.nodes.iter().position(|other| other.client == node.client);
        self.links.iter().filter(move |link| link.ends.iter().any(|end| Some(*end) == index))
    }

    /// The machines of nodes that stand [apart](ZookeeperPlan::apart): to cut them off each other.
    ///
    /// # Panics
    /// If they do not.
    pub fn network(&self) -> &Network {
        self.network.as_ref().unwrap_or_else(|| panic!("the nodes of this zookeeper share a machine"))
    }

    /// Waits until every node whose process runs serves.
    pub fn serving(&self) {
        until("zookeeper serves", || self.alive().all(|node| node.mode().is_some() && node.is_open()));
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
