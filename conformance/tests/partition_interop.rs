//! Our rings beside Python's: drawn ones, and those of groups with members of both languages.
//!
//! `TOOZ_ROUNDS=5000` draws so many rings and lets so many members come and go, `TOOZ_SEED=7` draws others.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a failed assumption here is a failed test

use std::collections::BTreeMap;
use std::time::Duration;

use conformance::peers::Peer;
use conformance::servers::{Etcd, Redis, Zookeeper};
use conformance::volume::{rounds, seed};
use conformance::{eventually, within};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof};
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::json;
use tooz_core::backend::Driver;
use tooz_core::{Coordinator, HashRing, Name, Partitioned, Registry};

fn runner(usual: u32) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().unwrap_or(1).to_le_bytes());
    let cases = u32::try_from(rounds(u64::from(usual))).unwrap();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn sorted(owners: Vec<&Name>) -> Vec<String> {
    let mut owners: Vec<_> = owners.into_iter().map(ToString::to_string).collect();
    owners.sort_unstable();
    owners
}

/// Partitions, members by name with their weights, and questions: key, replicas, ignored.
type Drawn = (u32, BTreeMap<String, u32>, Vec<(String, usize, Vec<Index>)>);

fn drawn() -> impl Strategy<Value = Drawn> {
    let text = || prop_oneof!["[a-c]{1,3}", "worker-[0-9]{1,4}", "\\PC{1,20}", "[а-яé漢字🦀\u{301} ]{1,40}"];
    let weight = prop_oneof![8 => 1_u32..4, 1 => 0_u32..16];
    let partitions =
        prop_oneof![2 => tooz_core::DEFAULT_PARTITIONS..=tooz_core::DEFAULT_PARTITIONS, 3 => 1_u32..40];
    let key = prop_oneof!["job-[0-9]{1,6}", "\\PC{0,30}", text()];
    let question = (key, 0_usize..6, vec(any::<Index>(), 0..4));
    (partitions, btree_map(text(), weight, 0..10), vec(question, 1..20))
}

/// Python's ring never ends looking for owners that have no points, or fails: as many as there are.
fn answerable(members: &BTreeMap<String, u32>, replicas: usize, ignored: &[String]) -> usize {
    let counts = |(member, weight): &(&String, &u32)| **weight > 0 && !ignored.contains(member);
    replicas.min(members.iter().filter(counts).count())
}

#[test]
fn drawn_rings_are_those_of_python() {
    let python = Peer::ring();
    let mut runner = runner(250);
    let ran = runner.run(&drawn(), |(partitions, members, questions)| {
        let names: Vec<&String> = members.keys().collect();
        let known = |index: &Index| (!names.is_empty()).then(|| names[index.index(names.len())].clone());
        let questions: Vec<(String, usize, Vec<String>)> = questions
            .iter()
            .map(|(key, replicas, ignored)| {
                // Also who is no member can be ignored.
                let ignored: Vec<_> = ignored.iter().filter_map(known).chain(["nobody".to_owned()]).collect();
                (key.clone(), answerable(&members, *replicas, &ignored), ignored)
            })
            .collect();
        // In the order of the names: Python gives a point of two members to whoever comes last.
        let told: Vec<(&String, &u32)> = members.iter().collect();
        let asked = json!({ "partitions": partitions, "members": told, "questions": questions });
        let answer = python.ask("owners", asked);

        let ours = members.iter().map(|(member, weight)| (name(member), *weight));
        let ring = HashRing::with_partitions(partitions, ours);
        let owners: Vec<_> = questions
            .iter()
            .map(|(key, replicas, ignored)| sorted(ring.owners_ignoring(key, *replicas, ignored)))
            .collect();
        prop_assert_eq!(json!([ring.len(), owners]), answer);
        Ok(())
    });
    ran.unwrap_or_else(|difference| panic!("{difference}"));
}

const GROUP: &str = "snakes";
const OURS: [&str; 3] = ["ada", "bob", "cleo"];
const PYTHONS: [&str; 2] = ["adder", "boa"];

/// One group on one store, with who is in it.
struct Mixed {
    coords: BTreeMap<&'static str, Coordinator>,
    joined: BTreeMap<&'static str, Partitioned>,
    peers: BTreeMap<&'static str, Peer>,
    weights: BTreeMap<&'static str, u32>,
    keys: Vec<String>,
}

impl Mixed {
    async fn new(driver: impl Driver + 'static, ours: &str, python: &str) -> Self {
        let registry = Registry::new().with(driver);
        let mut coords = BTreeMap::new();
        for member in OURS {
            let builder = registry.builder(ours).member(member).ttl(Duration::from_secs(4));
            coords.insert(member, builder.connect().await.unwrap());
        }
        let peers = PYTHONS.map(|member| (member, Peer::tooz(python, member))).into();
        let keys = (0..1_000).map(|key| format!("job-{key} ключ")).collect();
        Self { coords, joined: BTreeMap::new(), peers, weights: BTreeMap::new(), keys }
    }

    /// Who is there leaves, who is not there joins.
    async fn turn(&mut self, member: &'static str, weight: u32) {
        let leaves = self.weights.remove(member).is_some();
        if !leaves {
            self.weights.insert(member, weight);
        }
        match (self.peers.get(member), leaves) {
            (Some(peer), true) => drop(peer.ask("leave_partitioned", json!({ "group": GROUP }))),
            (Some(peer), false) => {
                peer.ask("join_partitioned", json!({ "group": GROUP, "weight": weight }));
            }
            (None, true) => self.joined.remove(member).unwrap().leave().await.unwrap(),
            (None, false) => {
                let group = self.coords[member].group(GROUP);
                self.joined.insert(member, group.join_partitioned(weight).await.unwrap());
            }
        }
    }

    /// Waits until the views have settled, then compares the owners of all keys.
    async fn agree(&self) {
        let members = self.weights.iter().map(|(member, weight)| (name(member), *weight));
        let ring = HashRing::new(members);
        for part in self.joined.values() {
            let mut changes = part.changes();
            within("see the members", async {
                while *part.ring() != ring {
                    changes.next().await.unwrap();
                }
            })
            .await;
        }
        for replicas in [1, 2] {
            let owners: Vec<_> = self.keys.iter().map(|key| sorted(ring.owners(key, replicas))).collect();
            for part in self.joined.values() {
                let of_part = self.keys.iter().map(|key| sorted(part.owners(key, replicas).iter().collect()));
                assert!(of_part.eq(owners.iter().cloned()), "{} by {:?}", part.me(), self.weights);
            }
            let wanted = json!(owners);
            for (member, peer) in self.peers.iter().filter(|(member, _)| self.weights.contains_key(*member)) {
                let asked = json!({ "group": GROUP, "keys": self.keys, "replicas": replicas });
                eventually("agree", async || {
                    let found = peer.ask("owners", asked.clone());
                    if found == wanted { Ok(()) } else { Err(format!("{member} by {:?}", self.weights)) }
                })
                .await;
            }
        }
    }

    /// Members come and go; at last one that speaks Python is killed.
    async fn come_and_go(mut self) {
        for (member, weight) in [("ada", 1), ("adder", 3), ("boa", 1), ("bob", 2)] {
            self.turn(member, weight).await;
        }
        self.agree().await;
        let mut runner = runner(6);
        let all = [&OURS[..], &PYTHONS[..]].concat();
        for _ in 0..runner.config().cases {
            let drawn = (any::<Index>(), 1_u32..9).new_tree(&mut runner).unwrap().current();
            let member = all[drawn.0.index(all.len())];
            self.turn(member, drawn.1).await;
            self.agree().await;
        }
        for member in all {
            if !self.weights.contains_key(member) {
                self.turn(member, 1).await;
            }
        }
        self.agree().await;

        self.peers.remove("boa").unwrap().kill();
        self.weights.remove("boa");
        self.agree().await;

        for coord in self.coords.into_values() {
            coord.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn mixed_members_agree_on_redis() {
    let redis = Redis::start();
    let url = format!("{}?membership_timeout=4", redis.url());
    let driver = tooz_redis::RedisDriver::new();
    Mixed::new(driver, &url, &url).await.come_and_go().await;
}

#[tokio::test]
async fn mixed_members_agree_on_etcd() {
    let etcd = Etcd::start();
    let python = format!("etcd3+http://{}?membership_timeout=4", etcd.addresses());
    let driver = tooz_etcd::EtcdDriver::new();
    Mixed::new(driver, &etcd.url(), &python).await.come_and_go().await;
}

/// Without an election: Python's partitioner takes its folder for a member, whose capabilities it cannot read.
#[tokio::test]
async fn mixed_members_agree_on_zookeeper() {
    let zookeeper = Zookeeper::start();
    let python = format!("kazoo://{}?timeout=4", zookeeper.addresses());
    let driver = tooz_zookeeper::ZookeeperDriver::new();
    Mixed::new(driver, &zookeeper.url(), &python).await.come_and_go().await;
}
