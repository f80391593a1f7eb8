//! What the ring costs: a lookup, and building it.

#![allow(missing_docs, reason = "Criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a failed assumption is a failed bench")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tooz_core::{HashRing, Name};

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

fn building(criterion: &mut Criterion) {
    for count in [100, 1_000] {
        let members = members(count);
        criterion.bench_function(&format!("build a ring of {count}"), |bencher| {
            bencher.iter(|| HashRing::new(black_box(members.clone())));
        });
    }
}

criterion_group!(benches, lookups, building);
criterion_main!(benches);
