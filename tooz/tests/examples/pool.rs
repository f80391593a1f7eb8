//! `worker_pool`: whatever is killed, all jobs are done, and only the share of the dead moves.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tooz::{Coordinator, Delivery, From, HashRing, Name};

use super::{program, run};

const JOBS: u32 = 1_000;

/// `worker-1 has 437 (-563), worker-3 has 330` by worker.
fn shares(line: &str) -> BTreeMap<String, u32> {
    let (_, shares) = line.split_once(": ").unwrap();
    let share = |text: &str| {
        let words: Vec<&str> = text.split(' ').collect();
        (words.first().unwrap().to_string(), words.get(2).unwrap().parse().unwrap())
    };
    shares.split(", ").map(share).collect()
}

#[test]
fn worker_pool_does_all_jobs_and_shows_whose_share_moved() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/store", folder.path().display());
    let text = run("worker_pool", &url);

    let lines: Vec<&str> = text.lines().collect();
    let killed = lines.iter().position(|line| line.starts_with("worker-2 is killed")).unwrap();
    let (before, after) = lines.split_at(killed);
    let shown = |lines: &[&str]| {
        let of_ring = |line: &&&str| line.contains(" share the jobs: ");
        shares(lines.iter().rfind(of_ring).unwrap())
    };
    let (before, after) = (shown(before), shown(after));
    assert_eq!((before.len(), after.len()), (3, 2), "{text}");
    assert!([&before, &after].iter().all(|shares| shares.values().sum::<u32>() == JOBS), "{text}");
    assert!(after.iter().all(|(worker, share)| share > &before[worker]), "nothing moved: {text}");
    assert!(text.contains("  1000 done\nall 1000 jobs are done: "), "{text}");
}

/// Processes that the test started itself, and kills.
struct Pool {
    workers: BTreeMap<&'static str, Child>,
}

impl Pool {
    fn start(url: &str, pool: &str) -> Self {
        let start = |name| {
            let child = Command::new(program("worker_pool")).args([url, pool, name]).spawn().unwrap();
            (name, child)
        };
        Self { workers: ["ada", "bob", "cleo"].map(start).into() }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for child in self.workers.values_mut() {
            let _ = child.kill().and_then(|()| child.wait()); // it may have ended already
        }
    }
}

/// Starts three workers, kills one in the middle of its work, and follows what they announce.
async fn a_killed_workers_jobs_are_done_by_the_others(coord: Coordinator) {
    let name = "pool";
    let mut announcements = coord.topic(name).subscribe(From::Beginning).await.unwrap();
    let group = coord.group(name);
    group.create_if_missing().await.unwrap();
    let ring = group.partitioner().await.unwrap();
    let mut pool = Pool::start(&coord.endpoint().to_string(), name);

    let mut all_here = None;
    let (mut done, mut known) = (Vec::<(String, Name)>::new(), BTreeSet::new());
    let mut killed_at = None;
    let begun = Instant::now();
    while done.len() < JOBS as usize {
        assert!(begun.elapsed() < Duration::from_secs(60), "{} done", done.len());
        let next = tokio::time::timeout(Duration::from_secs(1), announcements.next()).await;
        match next.map(Result::unwrap) {
            Ok(Delivery::Message(message)) => {
                let job = String::from_utf8(message.payload.to_vec()).unwrap();
                if known.insert(job.clone()) {
                    done.push((job, message.sender));
                }
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => {} // while a lease runs out
        }
        if ring.ring().shares().len() == 3 {
            all_here = Some(ring.ring());
        }
        let is_busy = |worker: &&str| done.iter().filter(|(_, by)| by == *worker).count() > 20;
        if killed_at.is_none() && all_here.is_some() && pool.workers.keys().all(is_busy) {
            let mut bob = pool.workers.remove("bob").unwrap();
            bob.kill().unwrap();
            bob.wait().unwrap();
            killed_at = Some(done.len());
        }
    }
    let killed_at = killed_at.unwrap();
    assert!(killed_at < JOBS as usize * 9 / 10, "too late to prove anything: {killed_at}");
    for (worker, child) in &mut pool.workers {
        assert!(child.wait().unwrap().success(), "{worker}");
    }

    // What was announced some time after the kill was done by whom it belongs to, with the dead or without.
    let before = all_here.unwrap();
    let living = ["ada", "cleo"].map(|worker| (Name::new(worker).unwrap(), 1));
    let after = HashRing::new(living);
    let mut heirs = BTreeSet::new();
    for (job, worker) in done.iter().skip(killed_at + 50).filter(|(_, worker)| *worker != "bob") {
        let (had, has) = (before.owner(job).unwrap(), after.owner(job).unwrap());
        assert!(had == "bob" || had == has, "{job} moved from {had} to {has}");
        assert_eq!(worker, has, "{job} of {had}");
        if had == "bob" {
            heirs.insert(worker.as_str());
        }
    }
    assert_eq!(heirs, BTreeSet::from(["ada", "cleo"]), "the share of the dead is done by both");
    coord.close().await.unwrap();
}

async fn connect(url: &str) -> Coordinator {
    tooz::connect(url, "looker").await.unwrap()
}

#[tokio::test]
async fn workers_on_files_take_over_from_one_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let coord = connect(&format!("file://{}/store", folder.path().display())).await;
    a_killed_workers_jobs_are_done_by_the_others(coord).await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn workers_on_redis_take_over_from_one_that_is_killed() {
    let redis = conformance::servers::Redis::start();
    a_killed_workers_jobs_are_done_by_the_others(connect(&redis.url()).await).await;
}
