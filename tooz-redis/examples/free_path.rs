//! What taking and giving back a free lock costs, beside two bare `EVALSHA` of a script that does nothing.
//!
//! ```sh
//! redis-server --port 7777 --save '' &
//! cargo run --release -p tooz-redis --example free_path redis://127.0.0.1:7777 [ROUNDS]
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tooz_core::backend::{Doubt, Driver, LockSteps, Opening, Standing};
use tooz_core::{BootClock, Claim, ClaimId, Endpoint, Mode, Name, Seat, SessionId};
use tooz_redis::RedisDriver;

/// Each round is this many cycles; the fastest round counts, for the machine has other things to do.
const CYCLES: u32 = 100;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let rounds: u32 = arguments.next().map_or(100, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&url, rounds));
}

async fn measure(url: &str, rounds: u32) {
    let endpoint = Endpoint::parse(url).unwrap();
    let opening = Opening {
        member: Name::new("me").unwrap(),
        session: SessionId::random(),
        predecessor: None,
        ttl: Duration::from_secs(30),
        membership_ttl: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        clock: Arc::new(BootClock),
    };
    let session = RedisDriver::new().open(&endpoint, &opening).await.unwrap().backend;
    let locks = session.locks().unwrap();
    let client = redis::Client::open(url).unwrap();
    let mut bare = client.get_multiplexed_async_connection().await.unwrap();
    let sha: String = redis::cmd("SCRIPT").arg("LOAD").arg("return 1").query_async(&mut bare).await.unwrap();

    let (mut acquires, mut releases, mut bares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (mut acquire, mut release) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..CYCLES {
            let (taken, given) = cycle(locks).await;
            acquire += taken;
            release += given;
        }
        let began = Instant::now();
        for _ in 0..CYCLES {
            let _: i64 = redis::cmd("EVALSHA").arg(&sha).arg(0).query_async(&mut bare).await.unwrap();
        }
        bares.push(began.elapsed());
        acquires.push(acquire);
        releases.push(release);
    }
    let [acquire, release, bare] =
        [("acquire", acquires), ("release", releases), ("bare", bares)].map(|(what, mut times)| {
            times.sort();
            let us = |time: Option<&Duration>| time.unwrap().as_secs_f64() * 1e6 / f64::from(CYCLES);
            let (fastest, median) = (us(times.first()), us(times.get(times.len() / 2)));
            println!("{what:8} fastest {fastest:6.1} µs  median {median:6.1} µs");
            (fastest, median)
        });
    println!(
        "acquire and release, as a multiple of two bare calls: fastest {:.2}, median {:.2}",
        (acquire.0 + release.0) / (2.0 * bare.0),
        (acquire.1 + release.1) / (2.0 * bare.1)
    );
    session.close().await.unwrap();
}

async fn cycle(locks: &dyn LockSteps) -> (Duration, Duration) {
    let claim = Claim {
        id: ClaimId::random(),
        seat: Seat::Lock(Name::new("x").unwrap()),
        mode: Mode::Exclusive,
        member: Name::new("me").unwrap(),
        value: Bytes::new(),
    };
    let began = Instant::now();
    let Standing::Held(_) = locks.claim(&claim).await.unwrap() else { panic!("somebody else holds it") };
    let taken = began.elapsed();
    let began = Instant::now();
    locks.withdraw(&claim, Doubt::None).await.unwrap();
    (taken, began.elapsed())
}
