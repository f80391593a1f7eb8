//! What taking and giving back a free lock costs, beside a bare `open` + `flock` + `close` in the same folder.
//!
//! ```sh
//! cargo run --release -p tooz-file --example free_path [FOLDER [ROUNDS]]
//! strace -f -c target/release/examples/free_path /tmp/x 1000 2>&1 | less   # and again with 2000: the difference
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tooz_core::backend::{Doubt, Driver, LockSteps, Opening, Standing};
use tooz_core::{BootClock, Claim, ClaimId, Endpoint, Mode, Name, Seat, SessionId};
use tooz_file::FileDriver;

/// Each round is this many cycles; the fastest round counts, for the machine has other things to do.
const CYCLES: u32 = 100;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let rounds: u32 = arguments.next().map_or(100, |text| text.parse().unwrap());
    let folder = folder.join(format!("tooz-free-path-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(measure(&folder, rounds));
    std::fs::remove_dir_all(folder).unwrap();
}

async fn measure(folder: &std::path::Path, rounds: u32) {
    let endpoint = Endpoint::parse(&format!("file://{}/root", folder.display())).unwrap();
    let opening = Opening {
        member: Name::new("me").unwrap(),
        session: SessionId::random(),
        predecessor: None,
        ttl: Duration::from_secs(30),
        membership_ttl: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        clock: Arc::new(BootClock),
    };
    let session = FileDriver::new().open(&endpoint, &opening).await.unwrap().backend;
    let locks = session.locks().unwrap();
    let plain = folder.join("plain");
    File::create(&plain).unwrap();

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
            let file = File::options().read(true).write(true).open(&plain).unwrap();
            file.try_lock().unwrap();
        }
        bares.push(began.elapsed());
        acquires.push(acquire);
        releases.push(release);
    }
    for (what, mut times) in [("acquire", acquires), ("release", releases), ("bare", bares)] {
        times.sort();
        let us = |time: Option<&Duration>| time.unwrap().as_secs_f64() * 1e6 / f64::from(CYCLES);
        println!(
            "{what:8} fastest {:6.1} µs  median {:6.1} µs",
            us(times.first()),
            us(times.get(times.len() / 2))
        );
    }
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
