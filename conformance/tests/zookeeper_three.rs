//! The ZooKeeper driver on three nodes that are cut off from each other, killed and restarted while many contend for
//! one lock: the histories are checked. `TOOZ_ROUNDS=5` cuts off ten followers and five leaders.

#![allow(clippy::unwrap_used, clippy::panic)] // a failed assumption here is a failed test
#![allow(clippy::print_stderr)] // how much was put to the test is worth seeing

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use conformance::checkers::{Least, Register, Traffic, Violation, check, grants};
use conformance::history::{Op, Outcome, Recorder, merge, now};
use conformance::servers::Zookeeper;
use conformance::servers::zookeeper::ZookeeperNode;
use conformance::volume;
use conformance::{eventually, within};
use tokio::task::JoinHandle;
use tooz_core::{Coordinator, Guard, Registry, State};
use tooz_zookeeper::ZookeeperDriver;

/// Four ticks of half a second: the least there is.
const TTL: Duration = Duration::from_secs(2);
/// Contenders that know all nodes, beside one for each node that knows no other.
const ROAMING: usize = 2;
/// What passes between two faults.
const TURNS: usize = 20;
const NOBODY: usize = usize::MAX;

/// How often all kinds of faults are gone through.
fn rounds() -> usize {
    usize::try_from(volume::rounds(1)).unwrap()
}

/// Ensembles run one after the other: each has a leader to elect in time.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Waits for what takes an election or two.
fn until(what: &str, reached: impl Fn() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(120), "not after two minutes: {what}");
        std::thread::sleep(Duration::from_millis(1)); // looks at counters, waits for nothing
    }
}

/// What contenders and faults know of each other.
#[derive(Debug)]
struct Board {
    over: AtomicBool,
    /// Who is not to let go of the lock once it holds.
    keeps: AtomicUsize,
    /// Whether it holds.
    kept: AtomicBool,
    turns: Vec<AtomicUsize>,
}

impl Board {
    /// The turns of all but this one.
    fn turns_beside(&self, number: usize) -> usize {
        let others = self.turns.iter().enumerate().filter(|(other, _)| *other != number);
        others.map(|(_, turns)| turns.load(Ordering::SeqCst)).sum()
    }

    fn turns_of(&self, number: usize) -> &AtomicUsize {
        self.turns.get(number).unwrap()
    }

    fn pass(&self, beside: usize, turns: usize, when: &str) {
        let before = self.turns_beside(beside);
        until(&format!("the lock passes on {when}"), || self.turns_beside(beside) >= before + turns);
    }
}

/// An ensemble and those who contend on it: the first three through one node each, the others through all.
struct Arena {
    zookeeper: Arc<Zookeeper>,
    board: Arc<Board>,
    folder: tempfile::TempDir,
    contenders: Vec<JoinHandle<()>>,
}

impl Arena {
    async fn open(driver: &ZookeeperDriver) -> Self {
        // A node that is cut off notices after eight ticks, twice the time to live: until then it answers.
        let plan = Zookeeper::plan().nodes(3).partable().option("syncLimit", "8").option("initLimit", "8");
        let zookeeper = tokio::task::spawn_blocking(|| Arc::new(plan.start())).await.unwrap();
        let mut doors: Vec<_> = zookeeper.nodes().iter().map(ZookeeperNode::address).collect();
        doors.resize(doors.len() + ROAMING, zookeeper.addresses());
        let board = Arc::new(Board {
            over: AtomicBool::new(false),
            keeps: AtomicUsize::new(NOBODY),
            kept: AtomicBool::new(false),
            turns: doors.iter().map(|_| AtomicUsize::new(0)).collect(),
        });
        let folder = tempfile::tempdir().unwrap();
        let mut contenders = Vec::new();
        for (number, door) in doors.iter().enumerate() {
            let coord = connect(driver.clone(), door, &format!("c{number}")).await;
            let (board, folder) = (Arc::clone(&board), folder.path().to_owned());
            contenders.push(tokio::spawn(async move { compete(&coord, number, &board, &folder).await }));
        }
        Self { zookeeper, board, folder, contenders }
    }

    /// Lets a fault come over one who holds through this node, and waits until others hold after it.
    fn strike(&self, node: &ZookeeperNode, fault: impl FnOnce(), cure: impl FnOnce()) -> Duration {
        let board = &self.board;
        let victim = self.zookeeper.nodes().iter().position(|other| other.port() == node.port()).unwrap();
        board.keeps.store(victim, Ordering::SeqCst);
        until("its contender holds", || board.kept.load(Ordering::SeqCst));
        let struck = Instant::now();
        fault();
        board.pass(victim, 1, "to who is not cut off");
        let passed = struck.elapsed();
        board.pass(victim, TURNS, "among who is not cut off");
        board.keeps.store(NOBODY, Ordering::SeqCst);
        cure();
        self.zookeeper.serving();
        let turns = || board.turns_of(victim).load(Ordering::SeqCst);
        let before = turns();
        until("who was cut off holds again", || turns() > before);
        passed
    }

    fn cut_off(&self, node: &ZookeeperNode) -> Duration {
        self.strike(node, || self.zookeeper.isolate(node), || self.zookeeper.rejoin(node))
    }

    fn cut_off_follower(&self) -> Duration {
        let leader = self.zookeeper.leader().port();
        self.cut_off(self.zookeeper.nodes().iter().find(|node| node.port() != leader).unwrap())
    }

    fn cut_off_leader(&self) -> Duration {
        self.cut_off(self.zookeeper.leader())
    }

    fn kill_leader(&self) -> Duration {
        let leader = self.zookeeper.leader();
        self.strike(leader, || leader.process().kill(), || leader.process().restart())
    }

    fn restart_all(&self) {
        for node in self.zookeeper.nodes() {
            node.process().restart();
            self.zookeeper.serving();
            self.board.pass(NOBODY, TURNS, "after a restart");
        }
    }

    /// Ends the contest; what was wrong with it.
    async fn close(self, least: &Least) -> Vec<Violation> {
        self.board.over.store(true, Ordering::SeqCst);
        for contender in self.contenders {
            within("the end of a contender", contender).await.unwrap();
        }
        let records = merge(self.folder.path()).unwrap();
        eprintln!("{:?}", Traffic::of(&records, &grants(&records)));
        check(&records, least)
    }
}

async fn connect(driver: ZookeeperDriver, addresses: &str, member: &str) -> Coordinator {
    let registry = Registry::new().with(driver);
    let url = format!("zookeeper://{addresses}");
    let mut connected = None;
    // Servers that have only just started may take longer than a sixth of the time to live.
    eventually("connect", async || {
        let connecting = registry.builder(&url).member(member).ttl(TTL).connect();
        connected = Some(connecting.await.map_err(|error| error.to_string())?);
        Ok(())
    })
    .await;
    connected.unwrap()
}

/// One contender's part: turn after turn, each recorded.
async fn compete(coord: &Coordinator, number: usize, board: &Board, folder: &Path) {
    const NAME: &str = "contended";
    let recorder = Recorder::to_file(format!("c{number}"), &folder.join(format!("c{number}.jsonl"))).unwrap();
    let mut register = Register::open(&folder.join("register")).unwrap();
    let lock = coord.lock(NAME);
    while !board.over.load(Ordering::SeqCst) {
        let call = now();
        let guard = match lock.acquire().await {
            Ok(guard) => guard,
            Err(error) => {
                let outcome = Outcome::Error(error.to_string());
                recorder.note(Op::Acquire, NAME, call, outcome, None, None).unwrap();
                let mut state = coord.state();
                within("a session", state.wait_for(|state| *state == State::Connected)).await.unwrap();
                continue;
            }
        };
        let (token, until) = (Some(guard.fencing_token().get()), guard.deadline());
        recorder.note(Op::Acquire, NAME, call, Outcome::Yes, token, until).unwrap();
        let call = now();
        let outcome = register.write(guard.fencing_token().get()).unwrap();
        recorder.note(Op::Write, NAME, call, outcome, token, until).unwrap();
        if let Some(last) = keep(&guard, number, board).await {
            recorder.note(Op::IsHeld, NAME, last, Outcome::Yes, token, guard.deadline()).unwrap();
        }
        let call = now();
        let outcome = match guard.release().await {
            Ok(()) => Outcome::Yes,
            Err(error) => Outcome::Error(error.to_string()),
        };
        recorder.note(Op::Release, NAME, call, outcome, token, None).unwrap();
        board.turns_of(number).fetch_add(1, Ordering::SeqCst);
    }
    coord.close().await.unwrap();
}

/// Looks at a guard until it is lost or need not be kept; when it was last asked and said to be held.
async fn keep(guard: &Guard, number: usize, board: &Board) -> Option<u64> {
    let mut last = None;
    loop {
        let asked = now();
        let is_held = guard.is_held();
        let is_kept = is_held && board.keeps.load(Ordering::SeqCst) == number;
        if is_kept || last.is_some() {
            board.kept.store(is_kept, Ordering::SeqCst);
        }
        last = if is_held { Some(asked) } else { last };
        if !is_kept {
            return last;
        }
        // Samples, waits for nothing: a millisecond is fine enough, and leaves the machine to the servers.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The faults are gone through on a thread of their own.
async fn under_faults<T: Send + 'static>(
    arena: Arena,
    faults: impl FnOnce(&Arena) -> T + Send + 'static,
) -> (Arena, T) {
    let script = tokio::task::spawn_blocking(move || {
        let outcome = faults(&arena);
        (arena, outcome)
    });
    script.await.unwrap()
}

/// Exclusion in the order of tokens, tokens that grow, and guards that stop claiming before the lock is granted to
/// anybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_exclude_while_nodes_are_cut_off_killed_and_restarted() {
    let _turn = TURN.lock().await;
    let arena = Arena::open(&ZookeeperDriver::new()).await;
    let (arena, passed) = under_faults(arena, |arena| {
        let mut passed = Vec::new();
        for _ in 0..rounds() {
            passed.push(("follower cut off", arena.cut_off_follower()));
            passed.push(("leader cut off", arena.cut_off_leader()));
            passed.push(("follower cut off", arena.cut_off_follower()));
            passed.push(("leader killed", arena.kill_leader()));
            arena.restart_all();
        }
        passed
    })
    .await;
    passed.iter().for_each(|(fault, after)| eprintln!("{fault}: another held after {after:.2?}"));
    let turns = TURNS * rounds() * 4;
    let least =
        Least { procs: 3 + ROAMING, grants: turns, hand_overs: turns, contended: turns, writes: turns };
    let violations = arena.close(&least).await;
    assert!(violations.is_empty(), "{}", violations.iter().map(|v| format!("{v}\n")).collect::<String>());
}

/// What the rule is there for: with reads taken as proofs of life the same contest shows two holders.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_trusts_reads_is_caught() {
    let _turn = TURN.lock().await;
    let arena = Arena::open(&ZookeeperDriver::credulous()).await;
    let (arena, _) = under_faults(arena, Arena::cut_off_follower).await;
    let violations = arena.close(&Least::default()).await;
    assert!(
        violations.iter().any(|violation| violation.promise == "C3"),
        "nothing was caught: {violations:?}"
    );
}
