//! A Redis Cluster of three primaries with a replica each.

use super::{Redis, until};

/// After how long without an answer a node believes that another is down.
pub const NODE_TIMEOUT_MS: u64 = 1_000;

/// How the slots are dealt out at first.
const SHARES: [(u16, u16); 3] = [(0, 5_460), (5_461, 10_922), (10_923, 16_383)];

/// Six nodes: the first three were the first primaries.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts all and waits until every node knows all others and serves.
    pub fn start() -> Self {
        let node = || {
            Redis::plan()
                .option("cluster-enabled", "yes")
                .option("cluster-node-timeout", &NODE_TIMEOUT_MS.to_string())
                .option("cluster-replica-validity-factor", "0")
                .start()
        };
        let cluster = Self { nodes: std::iter::repeat_with(node).take(2 * SHARES.len()).collect() };
        cluster.introduce();
        let (primaries, replicas) = cluster.nodes.split_at(SHARES.len());
        for (replica, primary) in replicas.iter().zip(primaries) {
            until("a node knows its primary", || {
                replica.command(&["CLUSTER", "REPLICATE", &id(primary)]).text() == "OK"
            });
        }
        cluster.settled(cluster.nodes.len());
        until("every replica has its primary's data", || {
            let up = |node: &Redis| {
                node.command(&["INFO", "replication"]).text().contains("master_link_status:up")
            };
            replicas.iter().all(up)
        });
        cluster
    }

    fn introduce(&self) {
        // An epoch can be set only by a node that has not met any other.
        for (number, node) in self.nodes.iter().enumerate() {
            ok(node, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
        for node in &self.nodes {
            for other in &self.nodes {
                ok(node, &["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]);
            }
        }
        for (node, (first, last)) in self.nodes.iter().zip(SHARES) {
            ok(node, &["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
        self.settled(self.nodes.len());
    }

    /// All six nodes, dead ones included.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Their addresses, separated by commas.
    pub fn addresses(&self) -> String {
        self.nodes.iter().map(Redis::address).collect::<Vec<_>>().join(",")
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        let answers = self.nodes.iter().find_map(|node| node.try_command(&["CLUSTER", "KEYSLOT", key]).ok());
        let slot = answers.and_then(|answer| answer.number()).and_then(|slot| u16::try_from(slot).ok());
        slot.unwrap_or_else(|| panic!("no node of the cluster is alive"))
    }

    /// The living node that serves a slot, by its own word.
    pub fn primary(&self, slot: u16) -> &Redis {
        let mut found = None;
        until("a living node serves the slot", || {
            found = self.nodes.iter().find(|node| serves(node, slot));
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("no node serves slot {slot}"))
    }

    /// Kills the node that serves a slot and waits until its replica has taken over and all survivors agree.
    pub fn kill_primary(&self, slot: u16) -> &Redis {
        let dead = self.primary(slot);
        dead.kill();
        let alive = self.living().count();
        let heir = self.primary(slot);
        self.settled(alive);
        heir
    }

    /// Moves a slot with all its keys to another node and waits until all agree.
    pub fn move_slot(&self, slot: u16, to: &Redis) {
        let from = self.begin_move(slot, to);
        self.finish_move(slot, from, to);
    }

    /// Begins to move a slot: the old node still serves the keys it has and sends clients on for the others.
    pub fn begin_move(&self, slot: u16, to: &Redis) -> &Redis {
        let from = self.primary(slot);
        let slot = slot.to_string();
        ok(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(from)]);
        ok(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(to)]);
        from
    }

    /// Ends what [`begin_move`](Cluster::begin_move) began.
    pub fn finish_move(&self, slot: u16, from: &Redis, to: &Redis) {
        let (text, port) = (slot.to_string(), to.port().to_string());
        loop {
            let keys = from.command(&["CLUSTER", "GETKEYSINSLOT", &text, "100"]);
            let keys: Vec<String> = keys.list().iter().map(super::resp::Value::text).collect();
            if keys.is_empty() {
                break;
            }
            let mut command = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            command.extend(keys.iter().map(String::as_str));
            let answer = from.command(&command).text();
            assert!(answer == "OK" || answer == "NOKEY", "migrate {keys:?}: {answer}"); // expired meanwhile
        }
        for node in [to, from] {
            ok(node, &["CLUSTER", "SETSLOT", &text, "NODE", &id(to)]);
        }
        // A slot that moves on before all know the epoch of this move may end up with nobody.
        let owner = id(to);
        until("all nodes of the cluster agree on the slot", || {
            let mut views = self.living().map(|node| (owner_in(node, slot), epoch(node)));
            views.next().is_some_and(|first| {
                first.0.as_ref() == Some(&owner) && first.1.is_some() && views.all(|view| view == first)
            })
        });
    }

    fn living(&self) -> impl Iterator<Item = &Redis> {
        self.nodes.iter().filter(|node| node.process().id().is_some())
    }

    /// Waits until so many nodes say that all is well, and know of each other.
    fn settled(&self, alive: usize) {
        let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
        until("the nodes of the cluster agree", || {
            let well = |node: &&Redis| {
                node.try_command(&["CLUSTER", "INFO"]).is_ok_and(|info| {
                    let text = info.text();
                    text.contains("cluster_state:ok") && text.contains(&known)
                })
            };
            self.nodes.iter().filter(well).count() == alive
        });
    }
}

fn ok(node: &Redis, words: &[&str]) {
    let answer = node.command(words).text();
    assert_eq!(answer, "OK", "{words:?}");
}

fn id(node: &Redis) -> String {
    node.command(&["CLUSTER", "MYID"]).text()
}

/// Whether a node is alive, a primary, and believes that a slot is its own.
fn serves(node: &Redis, slot: u16) -> bool {
    let Ok(nodes) = node.try_command(&["CLUSTER", "NODES"]) else { return false };
    let nodes = nodes.text();
    nodes.lines().find(|line| line.contains("myself,master")).is_some_and(|own| has(own, slot))
}

/// The node that has a slot, as this one believes.
fn owner_in(node: &Redis, slot: u16) -> Option<String> {
    let nodes = node.try_command(&["CLUSTER", "NODES"]).ok()?.text();
    let line = nodes.lines().find(|line| has(line, slot))?;
    line.split(' ').next().map(str::to_owned)
}

/// The newest epoch that a node has heard of.
fn epoch(node: &Redis) -> Option<u64> {
    let info = node.try_command(&["CLUSTER", "INFO"]).ok()?.text();
    info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:")?.trim().parse().ok())
}

/// Whether a slot is among those of a line about a node.
fn has(line: &str, slot: u16) -> bool {
    line.split(' ').skip(8).filter(|share| !share.starts_with('[')).any(|share| {
        let (first, last) = share.split_once('-').unwrap_or((share, share));
        let within = |first: u16, last: u16| (first..=last).contains(&slot);
        first.parse().ok().zip(last.parse().ok()).is_some_and(|(first, last)| within(first, last))
    })
}
