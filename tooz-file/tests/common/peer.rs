//! A second process: this test binary again, told over its standard input what to do.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tooz_core::backend::{Joined, Left, Standing, Withdrawn};
use tooz_core::{Claim, ClaimId, Mode};

use super::{Session, enrolment, exclusive, groups, locks, open_with, opening};

/// Longer than any pause between the looks that a wait begins with.
const CALM: Duration = Duration::from_secs(1);

pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    pub fn start(root: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["second_process", "--exact", "--ignored", "--nocapture", "--test-threads=1"])
            .env("TOOZ_FILE_TEST_ROOT", root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut peer = Self { child, input, output: BufReader::new(output).lines() };
        assert_eq!(peer.hear(), "ready");
        peer
    }

    pub fn say(&mut self, text: &str) {
        writeln!(self.input, "{text}").unwrap();
    }

    /// The next answer; the test harness of the other side prints lines of its own.
    pub fn hear(&mut self) -> String {
        loop {
            let line = self.output.next().expect("the other process ended").unwrap();
            if let Some((_, answer)) = line.split_once("> ") {
                return answer.to_owned();
            }
        }
    }

    pub fn ask(&mut self, text: &str) -> String {
        self.say(text);
        self.hear()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// `kill -9`, and until it is really gone.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// How often its threads went to sleep or were put to sleep so far.
    pub fn switches(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        tasks
            .map(|task| {
                let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
                let counts = status.lines().filter(|line| line.contains("ctxt_switches"));
                counts
                    .map(|line| line.split_whitespace().last().unwrap().parse::<u64>().unwrap())
                    .sum::<u64>()
            })
            .sum()
    }

    /// Until all its threads have slept in the kernel for a while.
    pub fn wait_until_asleep(&self) {
        let asleep = |task: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            stat.rsplit(')').next().unwrap().trim_start().starts_with('S')
        };
        let tasks = || std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let (mut switches, mut since) = (self.switches(), Instant::now());
        while since.elapsed() < CALM {
            let now = self.switches();
            if now != switches || !tasks().all(asleep) {
                (switches, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the second process does. Commands: `claim NAME N`, `share NAME N`, `acquire NAME N`, `try NAME N`, `withdraw NAME N`,
/// `join GROUP MEMBER`, `attend GROUP MEMBER`, `leave GROUP MEMBER`, `cycle NAME COUNT`, `publish TOPIC COUNT SIZE`, `starve NAME DESCRIPTORS`.
pub async fn serve() {
    let root = std::env::var("TOOZ_FILE_TEST_ROOT").unwrap();
    let opening = opening();
    let session = open_with(Path::new(&root), "", &opening).await.unwrap();
    let mut waits = Vec::new();
    answer("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["claim", name, n] => told(&session, &numbered(name, n, Mode::Exclusive)).await,
            ["share", name, n] => told(&session, &numbered(name, n, Mode::Shared)).await,
            ["acquire", name, n] => {
                let claim = numbered(name, n, Mode::Exclusive);
                told(&session, &claim).await;
                answer(&format!("held {}", super::acquire(&session, &claim).await.0.token));
            }
            ["try", name, n] => {
                let granted = locks(&session).try_claim(&numbered(name, n, Mode::Exclusive)).await.unwrap();
                answer(granted.map_or("none", |_| "held"));
            }
            ["withdraw", name, n] => {
                let doubt = tooz_core::backend::Doubt::None;
                let found =
                    locks(&session).withdraw(&numbered(name, n, Mode::Exclusive), doubt).await.unwrap();
                answer(if found == Withdrawn::Removed { "removed" } else { "absent" });
            }
            ["join", group, member] => {
                let joined = groups(&session).join(&enrolment(group, member, opening.session)).await.unwrap();
                answer(if joined == Joined::Done { "joined" } else { "not joined" });
            }
            ["attend", group, member] => {
                let enrolment: &_ = Box::leak(Box::new(enrolment(group, member, opening.session)));
                let mut wait = groups(&session).expelled(enrolment);
                answer(if super::is_pending(&mut wait).await { "attends" } else { "no member" });
                waits.push(wait);
            }
            ["leave", group, member] => {
                let left = groups(&session).leave(&enrolment(group, member, opening.session)).await.unwrap();
                answer(if left == Left::Done { "left" } else { "absent" });
            }
            ["starve", name, free] => answer(&starve(&session, name, free.parse().unwrap()).await),
            ["publish", topic, count, size] => {
                let channel = tooz_core::Channel::Topic(super::name(topic));
                for _ in 0..count.parse::<usize>().unwrap() {
                    let publication = tooz_core::backend::Publication {
                        id: tooz_core::MessageId::random(),
                        channel: channel.clone(),
                        sender: super::name("peer"),
                        body: vec![b'x'; size.parse().unwrap()].into(),
                    };
                    session.topics().unwrap().publish(&publication).await.unwrap();
                }
                answer("published");
            }
            ["cycle", name, count] => {
                let mut tokens = Vec::new();
                for _ in 0..count.parse::<usize>().unwrap() {
                    let claim = exclusive(name);
                    tokens.push(super::acquire(&session, &claim).await.0.token.to_string());
                    locks(&session).withdraw(&claim, tooz_core::backend::Doubt::None).await.unwrap();
                }
                answer(&tokens.join(","));
            }
            _ => panic!("unknown command {line:?}"),
        }
    }
}

async fn told(session: &Session, claim: &Claim) {
    match locks(session).claim(claim).await.unwrap() {
        Standing::Held(grant) => answer(&format!("held {}", grant.token)),
        Standing::Waiting(_) => answer("waiting"),
    }
}

fn numbered(name: &str, n: &str, mode: Mode) -> Claim {
    let id = ClaimId::from_bytes(n.parse::<u128>().unwrap().to_be_bytes());
    Claim { id, mode, ..exclusive(name) }
}

fn answer(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "> {text}").unwrap();
    out.flush().unwrap();
}

/// Claims with no more than so many free descriptors: tells the error's kind, or `held`.
async fn starve(session: &Session, name: &str, free: usize) -> String {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = Some(128);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    let mut hogs = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hogs.push(file);
    }
    hogs.truncate(hogs.len() - free);
    let claim = exclusive(name);
    let outcome = locks(session).claim(&claim).await;
    drop(hogs);
    let queue = locks(session).queue(&claim.seat).await.unwrap();
    match outcome {
        Ok(Standing::Held(_)) => {
            assert_eq!(queue.holders.len(), 1);
            locks(session).withdraw(&claim, tooz_core::backend::Doubt::None).await.unwrap();
            "held".to_owned()
        }
        Ok(Standing::Waiting(_)) => "waiting".to_owned(),
        Err(error) => {
            assert!(queue.holders.is_empty() && queue.waiting.is_empty(), "something stayed: {queue:?}");
            format!("{:?}", error.kind())
        }
    }
}
