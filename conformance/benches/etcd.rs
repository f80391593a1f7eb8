//! Figures of the etcd driver, each as a ratio to something plain in the same run: `cargo bench -p
//! conformance --features servers --bench etcd`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)] // a bench that cannot run has failed; it speaks

use std::time::{Duration, Instant};

use conformance::servers::Etcd;
use etcd_client::{Client, Compare, CompareOp, LockOptions, PutOptions, Txn, TxnOp};
use tooz_core::{Coordinator, Registry};

const ROUNDS: usize = 500;
const CONTENDERS: usize = 16;
const CONTEST: Duration = Duration::from_secs(4);

fn main() {
    let etcd = Etcd::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect([etcd.node().address()], None).await.unwrap();
        alone(&etcd, client.clone()).await;
        side_by_side(&etcd, client.clone()).await;
        contest(&etcd, client.clone()).await;
        hand_over(&etcd, client).await;
    });
}

async fn connect(etcd: &Etcd, member: &str) -> Coordinator {
    let registry = Registry::embedded().with(tooz_etcd::EtcdDriver::new());
    registry.builder(etcd.url()).member(member).connect().await.unwrap()
}

/// Acquire and release against two puts and against what they ask of the server, taken in turns.
async fn alone(etcd: &Etcd, mut client: Client) {
    let coord = connect(etcd, "alone").await;
    let lock = coord.lock("alone");
    let (mut ours, mut puts, mut same) = (Vec::new(), Vec::new(), Vec::new());
    let lease = client.lease_grant(600, None).await.unwrap().id();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        lock.acquire().await.unwrap().release().await.unwrap();
        ours.push(start.elapsed());
        let start = Instant::now();
        client.put("bare", "x", None).await.unwrap();
        client.put("bare", "y", None).await.unwrap();
        puts.push(start.elapsed());
        let start = Instant::now();
        for txn in transactions(lease) {
            assert!(client.txn(txn).await.unwrap().succeeded());
        }
        same.push(start.elapsed());
    }
    let [ours, puts, same] = [ours, puts, same].map(|mut times| median(&mut times));
    println!("acquire+release {ours:?}, two puts {puts:?}: {:.2}", ours.as_secs_f64() / puts.as_secs_f64());
    println!(
        "the same transactions by hand {same:?}: {:.2} puts, of which acquire+release is {:.2}",
        same.as_secs_f64() / puts.as_secs_f64(),
        ours.as_secs_f64() / same.as_secs_f64()
    );
    coord.close().await.unwrap();
}

/// What taking and giving back a free lock asks of the server, as `docs/wire/etcd.md` has it.
fn transactions(lease: i64) -> [Txn; 2] {
    const MAIN: &str = "/bare/locksalone";
    const HOLDER: &str = "/bare/v1/lock/alone/h/0123456789abcdef0123456789abcdef";
    const PLACE: &str = "/bare/v1/lock/alone/q/";
    let absent = |key: &str| Compare::create_revision(key, CompareOp::Equal, 0);
    let none = |from: &str| absent(from).with_range("/bare/v1/lock/alone/q0");
    let put = |key: &str, value: Vec<u8>| TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)));
    let free =
        [absent("/bare/v1/void/0123456789abcdef0123456789abcdef"), absent(HOLDER), absent(MAIN), none(PLACE)];
    let take = Txn::new().when(free).and_then([put(MAIN, vec![7; 16]), put(HOLDER, vec![7; 20])]);
    let mine = [Compare::value(MAIN, CompareOp::Equal, vec![7; 16]), none("/bare/v1/lock/alone/n/")];
    [take, Txn::new().when(mine).and_then([TxnOp::delete(HOLDER, None), TxnOp::delete(MAIN, None)])]
}

/// 64 tasks on 64 locks against 64 tasks of bare transactions.
async fn side_by_side(etcd: &Etcd, client: Client) {
    let coord = connect(etcd, "many").await;
    let start = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let lock = coord.lock(format!("side-{n}"));
            tokio::spawn(async move {
                for _ in 0..50 {
                    lock.acquire().await.unwrap().release().await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let ours = start.elapsed();
    let start = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|n| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let key = format!("bare-{n}");
                for _ in 0..50 {
                    let free = Compare::create_revision(key.as_str(), CompareOp::Equal, 0);
                    let take = Txn::new().when([free]).and_then([TxnOp::put(key.as_str(), "x", None)]);
                    client.txn(take).await.unwrap();
                    let mine = Compare::value(key.as_str(), CompareOp::Equal, "x");
                    let give = Txn::new().when([mine]).and_then([TxnOp::delete(key.as_str(), None)]);
                    client.txn(give).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let bare = start.elapsed();
    println!(
        "64 tasks on 64 locks {ours:?}, bare transactions {bare:?}: {:.2}",
        ours.as_secs_f64() / bare.as_secs_f64()
    );
    coord.close().await.unwrap();
}

/// 16 contenders of two coordinators against 16 of the server's lock RPC.
async fn contest(etcd: &Etcd, client: Client) {
    let coords = [connect(etcd, "left").await, connect(etcd, "right").await];
    let until = Instant::now() + CONTEST;
    let tasks: Vec<_> = (0..CONTENDERS)
        .map(|n| {
            let lock = coords[n % 2].lock("contest");
            tokio::spawn(async move {
                let mut turns = 0_u32;
                while Instant::now() < until {
                    lock.acquire().await.unwrap().release().await.unwrap();
                    turns += 1;
                }
                turns
            })
        })
        .collect();
    let mut ours = Vec::new();
    for task in tasks {
        ours.push(task.await.unwrap());
    }
    let until = Instant::now() + CONTEST;
    let tasks: Vec<_> = (0..CONTENDERS)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let lease = client.lease_grant(60, None).await.unwrap().id();
                let mut turns = 0_u32;
                while Instant::now() < until {
                    let options = LockOptions::new().with_lease(lease);
                    let key = client.lock("rpc", Some(options)).await.unwrap().key().to_vec();
                    client.unlock(key).await.unwrap();
                    turns += 1;
                }
                turns
            })
        })
        .collect();
    let mut rpc = 0;
    for task in tasks {
        rpc += task.await.unwrap();
    }
    let sum: u32 = ours.iter().sum();
    println!(
        "16 contenders: {} turns per second (each {} to {}), lock RPC {}: {:.1} times",
        f64::from(sum) / CONTEST.as_secs_f64(),
        ours.iter().min().unwrap(),
        ours.iter().max().unwrap(),
        f64::from(rpc) / CONTEST.as_secs_f64(),
        f64::from(sum) / f64::from(rpc)
    );
    for coord in coords {
        coord.close().await.unwrap();
    }
}

/// From the release to the waiter's return, against put to watch event.
async fn hand_over(etcd: &Etcd, mut client: Client) {
    let coords = [connect(etcd, "giver").await, connect(etcd, "taker").await];
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let mut stream = client.watch("event", None).await.unwrap();
    stream.message().await.unwrap();
    for round in 0..200 {
        let (giver, taker) = (coords[0].lock("hand-over"), coords[1].lock("hand-over"));
        let guard = giver.acquire().await.unwrap();
        let waiting = tokio::spawn(async move {
            let guard = taker.acquire().await.unwrap();
            let at = Instant::now();
            guard.release().await.unwrap();
            at
        });
        while giver.queue().await.unwrap().waiting.is_empty() {}
        let start = Instant::now();
        guard.release().await.unwrap();
        let took = waiting.await.unwrap() - start;
        let start = Instant::now();
        client.put("event", format!("{round}"), None).await.unwrap();
        stream.message().await.unwrap();
        ours.push(took);
        bare.push(start.elapsed());
    }
    let (ours, bare) = (median(&mut ours), median(&mut bare));
    println!("hand-over {ours:?}, put to event {bare:?}: {:.2}", ours.as_secs_f64() / bare.as_secs_f64());
    for coord in coords {
        coord.close().await.unwrap();
    }
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
