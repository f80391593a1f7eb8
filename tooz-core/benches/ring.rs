//! What the ring costs: a lookup, on a ring and in a live group, and building it.

#![allow(missing_docs, reason = "Criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a failed assumption is a failed bench")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tooz_core::{HashRing, Name, Registry};

fn members(count: usize) -> Vec<(Name, u32)> {
    (0..count).map(|index| (Name::new(format!("worker-{index}")).unwrap(), 1)).collect()
}

fn lookups(criterion: &mut Criterion) {
    let ring = HashRing::new(members(100));
    let keys: Vec<String> = (0..4_096).map(|index| format!("job-{index}")).collect();
    let mut group = criterion.benchmark_group("ring of 100");
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function("owner", |bencher| {
        bencher.iter(|| keys.iter().filter(|key| ring.owner(black_box(key)).is_some()).count());
    });
    group.bench_function("three owners", |bencher| {
        bencher.iter(|| keys.iter().map(|key| ring.owners(black_box(key), 3).len()).sum::<usize>());
    });
    group.finish();
}

fn live(criterion: &mut Criterion) {
    let store = tooz_core::memory::Store::named("bench-ring");
    let join = |(member, weight): (Name, u32)| {
        let builder = Registry::embedded().builder(store.url()).member(member.as_str());
        let coord = tooz_core::blocking::connect(builder).unwrap();
        let part = coord.group("workers").join_partitioned(weight).unwrap();
        (coord, part)
    };
    let joined: Vec<_> = members(100).into_iter().map(join).collect();
    let part = joined.last().unwrap().1.partitioner();
    let keys: Vec<String> = (0..4_096).map(|index| format!("job-{index}")).collect();
    let mut group = criterion.benchmark_group("live group of 100");
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function("is_mine", |bencher| {
        bencher.iter(|| keys.iter().filter(|key| part.is_mine(black_box(key))).count());
    });
    group.finish();
    for (coord, _) in &joined {
        coord.close().unwrap();
    }
}

fn building(criterion: &mut Criterion) {
    for count in [100, 1_000] {
        let members = members(count);
        criterion.bench_function(&format!("build a ring of {count}"), |bencher| {
            bencher.iter(|| HashRing::new(black_box(members.clone())));
        });
    }
}

criterion_group!(benches, lookups, live, building);
criterion_main!(benches);
