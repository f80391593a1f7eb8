//! The hash ring: the same as Python's, the same as a naive one, and moving only what must move.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed assumption is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use md5::{Digest, Md5};
use proptest::prelude::*;
use tooz_core::{HashRing, Name};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn ring(partitions: u32, members: &BTreeMap<String, u32>) -> HashRing {
    HashRing::with_partitions(partitions, members.iter().map(|(member, weight)| (name(member), *weight)))
}

fn sorted(owners: Vec<&Name>) -> Vec<&str> {
    let mut owners: Vec<_> = owners.into_iter().map(Name::as_str).collect();
    owners.sort_unstable();
    owners
}

/// A ring as the description of the format has it, with no thought for speed.
struct Naive {
    points: BTreeMap<u128, String>,
    members: BTreeSet<String>,
}

impl Naive {
    fn new(partitions: u32, members: &BTreeMap<String, u32>) -> Self {
        let mut points = BTreeMap::new();
        for (member, weight) in members {
            for times in 2..partitions * weight + 2 {
                points.insert(Self::hash(&member.repeat(times as usize)), member.clone());
            }
        }
        Self { points, members: members.keys().cloned().collect() }
    }

    fn hash(text: &str) -> u128 {
        u128::from_be_bytes(Md5::digest(text).into())
    }

    fn owners(&self, key: &str, replicas: usize, ignored: &[String]) -> BTreeSet<&str> {
        let wanted = replicas.min(self.members.iter().filter(|member| !ignored.contains(member)).count());
        let behind = self.points.range(Self::hash(key) + 1..);
        let mut owners = BTreeSet::new();
        for member in behind.chain(&self.points).map(|(_, member)| member) {
            if owners.len() == wanted {
                break;
            }
            if !ignored.contains(member) {
                owners.insert(member.as_str());
            }
        }
        owners
    }
}

#[test]
fn every_vector_of_python_is_met() {
    let vectors: serde_json::Value = serde_json::from_str(include_str!("data/hashring.json")).unwrap();
    let texts = |list: &serde_json::Value| -> Vec<String> { serde_json::from_value(list.clone()).unwrap() };
    let mut objects = 0;
    for vector in vectors["rings"].as_array().unwrap() {
        let partitions = u32::try_from(vector["partitions"].as_u64().unwrap()).unwrap();
        let ring = ring(partitions, &serde_json::from_value(vector["nodes"].clone()).unwrap());
        assert_eq!(ring.len() as u64, vector["ring_size"].as_u64().unwrap());
        for object in vector["objects"].as_array().unwrap() {
            let key = object["object"].as_str().unwrap();
            let replicas = usize::try_from(object["replicas"].as_u64().unwrap()).unwrap();
            let owners = ring.owners_ignoring(key, replicas, &texts(&object["ignore"]));
            let mut wanted = texts(&object["owners"]);
            wanted.sort();
            assert_eq!(sorted(owners), wanted, "{key} of {ring:?}");
            objects += 1;
        }
    }
    assert!(objects > 100, "{objects} vectors only");
}

#[test]
fn asking_for_the_owner_takes_no_memory() {
    let members = (0..100).map(|index| (name(&format!("worker-{index}")), 1));
    let ring = HashRing::new(members);
    let mut owned = 0;
    let used = allocation_counter::measure(|| {
        for key in 0_u32..1_000 {
            owned += usize::from(ring.owner(key.to_be_bytes()).is_some());
            owned += usize::from(ring.is_owner("worker-7", key.to_be_bytes()));
        }
    });
    assert!(owned > 1_000, "worker-7 owns nothing");
    assert_eq!(used.count_total, 0, "{used:?}");
    assert!(allocation_counter::measure(|| drop(ring.owners("key", 2))).count_total > 0, "counts nothing");
}

#[test]
fn asking_whether_a_key_is_mine_takes_no_memory() {
    let store = tooz_core::memory::Store::named("ring-memory");
    let builder = tooz_core::Registry::embedded().builder(store.url()).member("worker-1");
    let coord = tooz_core::blocking::connect(builder).unwrap();
    let part = coord.group("workers").join_partitioned(1).unwrap();
    assert!(part.is_mine("job"));

    let used = allocation_counter::measure(|| {
        for key in 0_u32..1_000 {
            assert!(part.is_mine(key.to_be_bytes()));
        }
    });
    assert_eq!(used.count_total, 0, "{used:?}");

    part.leave().unwrap();
    coord.close().unwrap();
}

fn members() -> impl Strategy<Value = BTreeMap<String, u32>> {
    let member = prop_oneof!["[a-c]{1,3}", "worker-[0-9]{1,4}", "\\PC{1,20}"];
    prop::collection::btree_map(member, 0_u32..4, 0..12)
}

fn keys() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(prop_oneof!["job-[0-9]{1,6}", "\\PC{0,20}"], 1..40)
}

proptest! {
    #[test]
    fn the_ring_agrees_with_a_naive_one(
        members in members(),
        partitions in 1_u32..40,
        keys in keys(),
        replicas in 0_usize..5,
        ignored in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        let names: Vec<_> = members.keys().cloned().collect();
        let known = |index: prop::sample::Index| names.get(index.index(names.len().max(1))).cloned();
        let ignored: Vec<String> = ignored.into_iter().filter_map(known).collect();
        let (ring, naive) = (ring(partitions, &members), Naive::new(partitions, &members));
        prop_assert_eq!(ring.len(), naive.points.len());
        for key in &keys {
            let owners = ring.owners_ignoring(key, replicas, &ignored);
            let wanted: Vec<_> = naive.owners(key, replicas, &ignored).into_iter().collect();
            prop_assert_eq!(sorted(owners), wanted, "{}", key);
            let first = ring.owners(key, 1).first().copied();
            prop_assert_eq!(ring.owner(key), first);
        }
    }

    #[test]
    fn owners_are_different_and_the_first_stay_first(members in members(), keys in keys()) {
        let ring = ring(32, &members);
        for key in &keys {
            let all = ring.owners(key, usize::MAX);
            prop_assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
            for replicas in 0..all.len() {
                prop_assert_eq!(&ring.owners(key, replicas), &all[..replicas]);
            }
        }
    }

    #[test]
    fn a_newcomer_takes_its_keys_and_nothing_else_moves(
        members in prop::collection::btree_map("worker-[0-9]{1,4}", 1_u32..4, 1..12),
        weight in 1_u32..4,
        keys in keys(),
    ) {
        let before = ring(32, &members);
        let mut more = members;
        more.insert("newcomer".to_owned(), weight);
        let after = ring(32, &more);
        for key in &keys {
            // Read the other way around it is what a leaving member does.
            if !after.is_owner("newcomer", key) {
                prop_assert_eq!(before.owner(key), after.owner(key));
            }
            let without = after.owners_ignoring(key, 3, &["newcomer"]);
            prop_assert_eq!(before.owners(key, 3), without);
        }
    }
}

/// One of n equal members has about a share of 1/n, and that is what moves when it comes or goes.
#[test]
fn no_more_moves_than_the_share_of_who_comes_or_goes() {
    for count in [2_usize, 5, 10, 50] {
        let all: Vec<_> = (0..count).map(|index| (name(&format!("worker-{index}")), 1)).collect();
        let (few, many) = (HashRing::new(all[1..].to_vec()), HashRing::new(all));
        let keys: Vec<_> = (0..20_000).map(|key| format!("job-{key}")).collect();
        let moved = keys.iter().filter(|key| few.owner(key) != many.owner(key)).count();
        let share = keys.iter().filter(|key| many.is_owner("worker-0", key)).count();
        assert_eq!(moved, share, "more moves than worker-0 owns among {count}");
        assert!(moved * count < keys.len() * 2 && moved * count > keys.len() / 2, "{moved} among {count}");
    }
}
