//! etcd, one node or three.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::process::{Failure, find};
use super::{Certificates, Folder, Network, Plan, Process, ports, started, until};

/// How long a node may take to tell of itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// A node's places: for clients, for its peers, for whoever wants to know how it is.
const PORTS: usize = 3;

/// What kind of etcd to start.
#[derive(Clone, Debug)]
pub struct EtcdPlan {
    nodes: usize,
    certificates: Option<Arc<Certificates>>,
    mutual: bool,
    arguments: Vec<String>,
    apart: bool,
}

/// Where a node is.
#[derive(Clone, Debug)]
struct Place {
    namespace: Option<String>,
    host: Ipv4Addr,
    peer_host: Ipv4Addr,
    client: u16,
    peer: u16,
    metrics: u16,
}

impl EtcdPlan {
    /// So many nodes.
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// Speaks TLS with clients; with `mutual`, to those that show a certificate only.
    pub fn tls(mut self, certificates: &Arc<Certificates>, mutual: bool) -> Self {
        self.certificates = Some(Arc::clone(certificates));
        self.mutual = mutual;
        self
    }

    /// Puts every node on a machine of its own, which can be cut off the others. Needs root.
    pub fn apart(mut self) -> Self {
        self.apart = true;
        self
    }

    /// Any option of `etcd`, such as `--quota-backend-bytes=20000000`.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Starts all nodes and waits until they have a leader and answer.
    pub fn start(self) -> Etcd {
        let etcd = started("etcd", || self.attempt());
        etcd.healthy();
        etcd
    }

    fn attempt(&self) -> Result<Etcd, Failure> {
        let network = self.apart.then(|| Network::new(u8::try_from(self.nodes).unwrap_or(u8::MAX)));
        let taken = ports::several(self.nodes * PORTS);
        let places: Vec<_> =
            taken.chunks(PORTS).zip(0..).map(|(ports, number)| place(ports, number, &network)).collect();
        let peers = places.iter().enumerate();
        let peers =
            peers.map(|(number, place)| format!("n{number}=http://{}:{}", place.peer_host, place.peer));
        let peers = peers.collect::<Vec<_>>().join(",");
        let nodes = places.into_iter().enumerate().map(|(number, place)| self.node(number, &peers, place));
        Ok(Etcd { nodes: nodes.collect::<Result<_, _>>()?, certificates: self.certificates.clone(), network })
    }

    fn node(&self, number: usize, peers: &str, place: Place) -> Result<EtcdNode, Failure> {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        let option = |name: &str, value: String| format!("--{name}={value}");
        let Place { namespace, host, peer_host, client, peer, metrics } = place;
        let mut arguments = vec![
            option("name", format!("n{number}")),
            option("data-dir", "data".to_owned()),
            option("listen-client-urls", format!("{scheme}://{host}:{client}")),
            option("advertise-client-urls", format!("{scheme}://{host}:{client}")),
            option("listen-peer-urls", format!("http://{peer_host}:{peer}")),
            option("initial-advertise-peer-urls", format!("http://{peer_host}:{peer}")),
            option("listen-metrics-urls", format!("http://{host}:{metrics}")),
            option("initial-cluster", peers.to_owned()),
            option("logger", "zap".to_owned()),
        ];
        if let Some(certificates) = &self.certificates {
            let (certificate, key) = certificates.server();
            arguments.push(option("cert-file", certificate.display().to_string()));
            arguments.push(option("key-file", key.display().to_string()));
            let authority = certificates.authority().display().to_string();
            arguments.extend(self.mutual.then(|| option("trusted-ca-file", authority)));
            arguments.extend(self.mutual.then(|| "--client-cert-auth".to_owned()));
        }
        arguments.extend(self.arguments.iter().cloned());
        let plan = Plan {
            program: "etcd".to_owned(),
            package: "etcd-server",
            arguments,
            environment: Vec::new(),
            namespace,
            // A node of several can say no more before its peers are there.
            ready: Box::new(move |_| TcpStream::connect((host, metrics)).is_ok()),
        };
        Process::start(Folder::new("etcd"), plan).map(|process| EtcdNode { process, host, client, metrics })
    }
}

fn place(ports: &[u16], number: u8, network: &Option<Network>) -> Place {
    let [client, peer, metrics] = *ports else { panic!("three ports for each node") };
    let own = |address: fn(&Network, u8) -> Ipv4Addr| {
        network.as_ref().map_or(Ipv4Addr::LOCALHOST, |network| address(network, number))
    };
    let (host, peer_host) = (own(Network::address), own(Network::peer_address));
    let namespace = network.as_ref().map(|network| network.namespace(number));
    Place { namespace, host, peer_host, client, peer, metrics }
}

/// One node of etcd.
#[derive(Debug)]
pub struct EtcdNode {
    process: Process,
    host: Ipv4Addr,
    client: u16,
    metrics: u16,
}

impl EtcdNode {
    /// Its process: to kill, freeze, end and restart it.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its port for clients.
    pub fn port(&self) -> u16 {
        self.client
    }

    /// Where clients reach it: `127.0.0.1:port`, or its own machine's address.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.client)
    }

    /// Whether it answers and has a leader.
    pub fn is_healthy(&self) -> bool {
        self.get("/health").is_ok_and(|text| text.contains("\"health\":\"true\""))
    }

    /// Whether it is the leader, by its own word.
    pub fn is_leader(&self) -> bool {
        self.get("/metrics").is_ok_and(|text| text.contains("\netcd_server_is_leader 1"))
    }

    /// The sum of one of its own metrics over all its labels that contain `label`, such as
    /// `("grpc_server_handled_total", "grpc_method=\"Txn\"")`.
    ///
    /// # Panics
    /// If the node does not answer.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.get("/metrics").unwrap_or_else(|error| panic!("metrics of etcd: {error}"));
        let value = |line: &str| {
            let rest = line
                .strip_prefix(name)
                .filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(label))?;
            rest.rsplit_once(' ')?.1.parse::<f64>().ok()
        };
        text.lines().filter_map(value).sum()
    }

    fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&(self.host, self.metrics).into(), PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Running etcd. Killed when dropped.
#[derive(Debug)]
pub struct Etcd {
    nodes: Vec<EtcdNode>,
    certificates: Option<Arc<Certificates>>,
    network: Option<Network>, // last: its machines go after what runs on them
}

impl Etcd {
    /// One plain node, to be made less plain before it is started.
    pub fn plan() -> EtcdPlan {
        EtcdPlan { nodes: 1, certificates: None, mutual: false, arguments: Vec::new(), apart: false }
    }

    /// Starts one plain node.
    pub fn start() -> Self {
        Self::plan().start()
    }

    /// The nodes, dead ones included.
    pub fn nodes(&self) -> &[EtcdNode] {
        &self.nodes
    }

    /// The first node: all there is, of one.
    pub fn node(&self) -> &EtcdNode {
        self.nodes.first().unwrap_or_else(|| panic!("etcd of no nodes"))
    }

    /// The nodes' addresses for clients, separated by commas.
    pub fn addresses(&self) -> String {
        self.nodes.iter().map(EtcdNode::address).collect::<Vec<_>>().join(",")
    }

    /// `etcd://…`, or `etcds://…` over TLS, with all nodes.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "etcds" } else { "etcd" };
        format!("{scheme}://{}", self.addresses())
    }

    /// What it shows to clients, and what they may show to it, where it speaks TLS.
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_deref()
    }

    /// The machines of nodes that stand [apart](EtcdPlan::apart): to cut them off each other.
    ///
    /// # Panics
    /// If they do not.
    pub fn network(&self) -> &Network {
        self.network.as_ref().unwrap_or_else(|| panic!("the nodes of this etcd share a machine"))
    }

    /// Waits until every node whose process runs answers and has a leader.
    pub fn healthy(&self) {
        until("etcd is healthy", || {
            self.nodes.iter().filter(|node| node.process.id().is_some()).all(EtcdNode::is_healthy)
        });
    }

    /// The node that leads, once one does.
    pub fn leader(&self) -> &EtcdNode {
        let mut found = None;
        until("etcd has a leader", || {
            found = self.nodes.iter().find(|node| node.process.id().is_some() && node.is_leader());
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("etcd without a leader"))
    }

    /// Kills the leader and waits until the others have another.
    pub fn kill_leader(&self) -> &EtcdNode {
        let leader = self.leader();
        leader.process.kill();
        self.healthy();
        leader
    }

    /// Gives `root` this password and asks everybody for theirs from now on.
    pub fn authenticate(&self, password: &str) {
        self.etcdctl(&["user", "add", &format!("root:{password}")]);
        self.etcdctl(&["user", "grant-role", "root", "root"]);
        self.etcdctl(&["auth", "enable"]);
    }

    /// What `etcdctl` prints, given these words after where the server is.
    ///
    /// # Panics
    /// If it fails, with what it said.
    pub fn etcdctl(&self, words: &[&str]) -> String {
        let mut command = Command::new(find("etcdctl", "etcd-client"));
        command.env("ETCDCTL_API", "3");
        if let Some(certificates) = &self.certificates {
            let (certificate, key) = certificates.client();
            command.arg("--cacert").arg(certificates.authority());
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        let endpoints: Vec<_> =
            self.nodes.iter().map(|node| format!("{scheme}://{}", node.address())).collect();
        command.arg(format!("--endpoints={}", endpoints.join(",")));
        let output = command.args(words).output();
        let output = output.unwrap_or_else(|error| panic!("start etcdctl: {error}"));
        let [printed, complaint] =
            [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        assert!(output.status.success(), "etcdctl {words:?}: {printed}{complaint}");
        printed
    }
}

/// Whether a key may stay although nobody is there: those of groups, of channels, and the format.
pub fn stays(key: &str) -> bool {
    const MESSAGES: [&str; 4] = ["topic/", "talk/", "inbox/", "replies/"];
    const GROUPS: [&str; 2] = ["tooz/groups/", "/tooz-rs/v1/groups/"];
    let ours = key.strip_prefix("/tooz-rs/v1/");
    let is_message = ours.is_some_and(|rest| MESSAGES.iter().any(|kind| rest.starts_with(kind)));
    let is_group = |root: &&str| {
        key.strip_prefix(*root).is_some_and(|name| name.ends_with('/') && name.matches('/').count() == 1)
    };
    is_message || key == "/tooz-rs/format" || GROUPS.iter().any(is_group)
}
