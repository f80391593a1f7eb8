//! What a message costs, beside bare files in the same folder: publish until received against a write to a
//! file until inotify tells another thread, and 10,000 pipelined messages of 100 bytes against as many bare
//! `open` + `flock` + `write` + `close`.
//!
//! ```sh
//! cargo run --release -p tooz-file --example messages [FOLDER [ROUNDS]]
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use tooz_core::{Coordinator, Delivery, From, Registry, Subscription};
use tooz_file::FileDriver;

const PAYLOAD: [u8; 100] = [b'x'; 100];
const PIPELINED: usize = 10_000;
const AT_ONCE: usize = 64;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let rounds: usize = arguments.next().map_or(2_000, |text| text.parse().unwrap());
    let folder = folder.join(format!("tooz-messages-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(&folder, rounds));
    std::fs::remove_dir_all(folder).unwrap();
}

async fn connect(folder: &Path, member: &str) -> Coordinator {
    let url = format!("file://{}/root", folder.display());
    Registry::new().with(FileDriver::new()).builder(url).member(member).connect().await.unwrap()
}

async fn measure(folder: &Path, rounds: usize) {
    let (a, b) = (connect(folder, "a").await, connect(folder, "b").await);
    let topic = a.topic("latency");
    let mut reading = b.topic("latency").subscribe(From::Now).await.unwrap();
    let (tell, mut received) = tokio::sync::mpsc::unbounded_channel();
    let reader = tokio::spawn(async move {
        for _ in 0..rounds {
            receive(&mut reading).await;
            tell.send(Instant::now()).unwrap();
        }
    });
    let bare = Bare::start(&folder.join("plain"));
    let (mut ours, mut bares) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let began = Instant::now();
        topic.publish(&PAYLOAD[..]).await.unwrap();
        ours.push(received.recv().await.unwrap().duration_since(began));
        // Also gives the reader time to wait again.
        bares.push(bare.round());
    }
    reader.await.unwrap();
    let (ours, bares) = (Quantiles::of(ours), Quantiles::of(bares));
    println!("publish until received: {ours}");
    println!("write until inotify:    {bares}");
    println!("ratio of the medians:   {:.2}", ours.half.as_secs_f64() / bares.half.as_secs_f64());

    let began = Instant::now();
    let bulk = a.topic("bulk");
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let bulk = bulk.clone();
        publishers.spawn(async move {
            for _ in 0..PIPELINED / AT_ONCE {
                bulk.publish(&PAYLOAD[..]).await.unwrap();
            }
        });
    }
    publishers.join_all().await;
    let ours = rate(PIPELINED, began);
    let began = Instant::now();
    for _ in 0..PIPELINED {
        append_plainly(&folder.join("bulk"));
    }
    let bare = rate(PIPELINED, began);
    println!(
        "published, {AT_ONCE} at once:   {ours:.0} per second; bare {bare:.0}; ratio {:.2}",
        bare / ours
    );

    let began = Instant::now();
    let mut all = b.topic("bulk").subscribe(From::Beginning).await.unwrap();
    for _ in 0..PIPELINED / AT_ONCE * AT_ONCE {
        receive(&mut all).await;
    }
    println!("read from the beginning: {:.0} per second", rate(PIPELINED, began));
    a.close().await.unwrap();
    b.close().await.unwrap();
}

async fn receive(reading: &mut Subscription) {
    match reading.next().await.unwrap() {
        Delivery::Message(message) => assert_eq!(message.payload.len(), PAYLOAD.len()),
        other => panic!("{other:?}"),
    }
}

fn append_plainly(path: &Path) {
    let mut file = File::options().create(true).append(true).open(path).unwrap();
    file.lock().unwrap();
    file.write_all(&PAYLOAD).unwrap();
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(count: usize, began: Instant) -> f64 {
    count as f64 / began.elapsed().as_secs_f64()
}

/// A thread that waits in inotify.
struct Bare {
    path: PathBuf,
    heard: Receiver<Instant>,
}

impl Bare {
    fn start(path: &Path) -> Self {
        File::create(path).unwrap();
        let events = inotify::init(CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&events, path, WatchFlags::CLOSE_WRITE).unwrap();
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = Reader::new(&events, &mut buffer);
            while reader.next().is_ok() {
                if tell.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
        Self { path: path.to_owned(), heard }
    }

    fn round(&self) -> Duration {
        let began = Instant::now();
        append_plainly(&self.path);
        self.heard.recv().unwrap().duration_since(began)
    }
}

struct Quantiles {
    half: Duration,
    most: Duration,
}

impl Quantiles {
    fn of(mut spans: Vec<Duration>) -> Self {
        spans.sort();
        let at = |share: usize| spans.get(spans.len() * share / 100).copied().unwrap_or_default();
        Self { half: at(50), most: at(99) }
    }
}

impl std::fmt::Display for Quantiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:?}, p99 {:?}", self.half, self.most)
    }
}
