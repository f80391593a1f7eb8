//! Rows: one named fault each, against real servers and real processes, with a volume, a gate and a time cap.
//!
//! A run of a row starts its store, lets processes work on it, does its fault to them so many times, and then judges
//! the history that they wrote. It fails when a promise was broken, when not all was done in time, and when its fault
//! did not really [hit](faults::met) often enough. What it counted and measured is one [`Line`] of figures.
//!
//! | row | fault |
//! |---|---|
//! | `contended` | none: processes contend as fast as they can |
//! | `killed` | holders are killed with -9 |
//! | `stopped` | holders are stopped for 0.3 to 3 times to live |
//! | `lost-acquires`, `lost-releases` | the store does what was asked, its answer is lost |
//! | `deserted` | tasks panic or are aborted, runtimes are dropped, processes fork and become other programs |
//! | `parted` | the network is cut both ways or one way, reset, half open, slow |
//! | `commands` | `tooz lock` is killed, stopped, cut off; its child ignores TERM |
//! | `groups` | members join, leave and are killed |
//! | `published` | all connections are broken while processes publish and read; readers connect again |
//! | `dropped` | every future of the library is dropped at each of its awaits |
//! | `hoarded` | none: very much is held by one process |
//! | `soak` | all of them at once, for so many minutes |
//! | `failed-over` | of several servers the first is killed, frozen, or replaced |
//! | `jumped` | the server's wall clock jumps by two minutes, forth and back |
//! | `restarted` | the server is killed with -9 and started again |

pub mod crew;
pub mod faults;
mod line;
pub mod parts;
mod store;
mod table;

pub mod child;
mod commands;
mod contended;
mod desert;
mod deserted;
mod dropped;
mod failed_over;
mod groups;
mod hoarded;
mod jumped;
mod killed;
mod left;
mod lost;
mod parted;
mod published;
mod restarted;
mod scene;
mod soak;
mod stopped;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use self::line::Line;
pub use self::soak::replay;
pub use self::store::{Kind, Store};
pub use self::table::{put, table};

use self::faults::Log;
pub use crate::figures::Outcome;
use crate::servers::redis::Fsync;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Order {
    /// On which store.
    pub kind: Kind,
    /// How often the fault is done.
    pub volume: u64,
    /// What chance there is, is drawn from it.
    pub seed: u64,
    /// How long it may take.
    pub cap: Duration,
    /// How long something is watched that lasts.
    pub span: Duration,
    /// How much later than promised things may come: nothing, but for machines that are busy with something else.
    pub slack: Duration,
}

impl Order {
    fn ttl(&self) -> Duration {
        self.kind.ttl()
    }
}

/// A row.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// The stores it is run on, and how often its fault is done on each, unless told otherwise.
    pub volumes: &'static [(Kind, u64)],
    run: fn(&Order) -> Outcome<Line>,
}

/// The row whose volume is minutes, and which is run apart from the others.
pub const SOAK: &str = "soak";

/// All rows.
pub const ROWS: &[Row] = &[
    Row { name: "contended", volumes: &every(10_000), run: contended::run },
    Row { name: "killed", volumes: &every(1_000), run: killed::run },
    Row { name: "deserted", volumes: &every(200), run: deserted::run },
    Row { name: "stopped", volumes: &every(200), run: stopped::run },
    Row { name: "lost-acquires", volumes: &served(1_000), run: lost::acquires },
    Row { name: "lost-releases", volumes: &served(1_000), run: lost::releases },
    Row { name: "parted", volumes: &served(600), run: parted::run },
    Row {
        name: "restarted",
        volumes: &[
            (Kind::Redis(None), 13),
            (Kind::Redis(Some(Fsync::Everysec)), 10),
            (Kind::Redis(Some(Fsync::Always)), 10),
            (Kind::Etcd, 10),
            (Kind::Zookeeper, 10),
        ],
        run: restarted::run,
    },
    Row {
        name: "failed-over",
        volumes: &[(Kind::EtcdThree, 14), (Kind::ZookeeperThree, 12), (Kind::Sentinels, 10)],
        run: failed_over::run,
    },
    Row { name: "jumped", volumes: &[(Kind::RedisClock, 20)], run: jumped::run },
    Row { name: "commands", volumes: &every(200), run: commands::run },
    Row { name: "groups", volumes: &every(500), run: groups::run },
    Row { name: "published", volumes: &every(20_000), run: published::run },
    Row {
        name: "dropped",
        volumes: &[
            (Kind::Memory, 100_000),
            (Kind::File, 10_000),
            (Kind::Redis(None), 20_000),
            (Kind::Etcd, 2_000),
            (Kind::Zookeeper, 2_000),
        ],
        run: dropped::run,
    },
    Row { name: "hoarded", volumes: &every(10_000), run: hoarded::run },
    Row {
        name: SOAK,
        volumes: &[
            (Kind::File, 30),
            (Kind::Redis(None), 30),
            (Kind::Redis(Some(Fsync::Always)), 30),
            (Kind::Etcd, 30),
            (Kind::Zookeeper, 30),
        ],
        run: soak::run,
    },
];

/// On every driver.
const fn every(volume: u64) -> [(Kind, u64); 4] {
    [(Kind::File, volume), (Kind::Redis(None), volume), (Kind::Etcd, volume), (Kind::Zookeeper, volume)]
}

/// On those with a server, which a network can come between.
const fn served(volume: u64) -> [(Kind, u64); 3] {
    [(Kind::Redis(None), volume), (Kind::Etcd, volume), (Kind::Zookeeper, volume)]
}

impl Row {
    /// The row of this name.
    ///
    /// # Errors
    /// If there is none, naming those there are.
    pub fn find(name: &str) -> Result<&'static Self, String> {
        let names = || ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
        ROWS.iter()
            .find(|row| row.name == name)
            .ok_or_else(|| format!("no row {name:?}; there are {}", names()))
    }

    /// Runs it.
    ///
    /// # Errors
    /// If it could not be run to its end. Broken promises are no errors: they stand in the line.
    pub fn run(&self, order: &Order) -> Outcome<Line> {
        (self.run)(order)
    }
}

/// A run that is under way: a store, a folder for its history, and how long it may take.
struct Run {
    store: Store,
    log: Log,
    folder: PathBuf,
    began: Instant,
    cap: Duration,
}

impl Run {
    fn start(row: &str, order: &Order) -> Outcome<Self> {
        let began = Instant::now();
        let stem = format!("tooz-{row}-{}-{}", order.kind, std::process::id());
        let folder = std::env::temp_dir().join(crate::unique(&stem));
        std::fs::create_dir_all(&folder)?;
        let log = Log::create(&folder)?;
        Ok(Self { store: order.kind.start(), log, folder, began, cap: order.cap })
    }

    /// Where the history is written.
    fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether another fault may be begun.
    fn has_time(&self) -> bool {
        self.began.elapsed() < self.cap
    }

    /// The history of a run that failed stays, and the line says where.
    fn end(self, mut line: Line) -> Line {
        line.seconds = self.began.elapsed().as_secs();
        if line.passes() {
            let _ = std::fs::remove_dir_all(&self.folder); // a folder for temporary files is emptied some day
        } else {
            line.fact("history", self.folder.display());
        }
        line
    }
}

/// What a thread of a run came to.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Outcome<T>>) -> Outcome<T> {
    thread.join().map_err(|_| "a thread of the run panicked")?
}
