//! Who starts the workers, looks on, and kills one of them.

use std::collections::BTreeMap;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use tokio::time::sleep;
use tooz::{Coordinator, From, HashRing, Name, Retention};

use crate::{JOBS, Outcome, announced, connect, key};

const WORKERS: [&str; 3] = ["worker-1", "worker-2", "worker-3"];
const VICTIM: &str = "worker-2";

pub(crate) async fn run(url: &str) -> Outcome {
    let pool = format!("example-pool-{}", std::process::id());
    let coord = connect(url, "lead").await?;
    println!("{JOBS} jobs for {} workers; for one more, in another terminal:", WORKERS.len());
    println!("  {} {} {pool} worker-4", std::env::current_exe()?.display(), coord.endpoint());
    tooz::scope(coord, |coord| async move {
        watch(&coord, url, &pool).await?;
        tidy_up(&coord, &pool).await
    })
    .await
}

async fn watch(coord: &Coordinator, url: &str, pool: &str) -> Outcome {
    let group = coord.group(pool);
    group.create_if_missing().await?;
    // Who only looks on sees the same ring as the members.
    let ring = group.partitioner().await?;
    let mut changes = ring.changes();
    let mut announcements = coord.topic(pool).subscribe(From::Beginning).await?;
    let mut workers = Workers::start(url, pool)?;
    let mut done = Done::default();

    while done.jobs.len() < JOBS as usize {
        tokio::select! {
            delivery = announcements.next() => {
                let (job, worker) = announced(delivery?)?;
                done.note(job, worker);
            }
            moves = changes.next() => {
                let moves = moves?;
                show_shares(moves.before(), moves.after());
            }
            // None may fail. Whoever is killed did not fail, also when you killed it.
            () = sleep(Duration::from_millis(200)) => workers.check()?,
        }
        let all_are_here = ring.ring().shares().len() >= WORKERS.len();
        if done.jobs.len() >= 300 && all_are_here && workers.kill_victim()? {
            println!("{VICTIM} is killed; it did {} jobs", done.by(VICTIM));
        }
    }
    workers.finish()?;

    let parts = done.by_worker().into_iter().map(|(worker, jobs)| format!("{jobs} by {worker}"));
    println!("all {JOBS} jobs are done: {}", parts.collect::<Vec<_>>().join(", "));
    println!("{} of them were done twice, which no announcement can prevent", done.again);
    Ok(())
}

/// Lets go of this pool; how long a store remembers the ids of messages is its own affair.
async fn tidy_up(coord: &Coordinator, pool: &str) -> Outcome {
    coord.topic(pool).retain(Retention { count: 0, age: Duration::ZERO }).trim().await?;
    let mut view = coord.group(pool).watch().await?;
    while !view.borrow().is_empty() {
        view.changed().await?;
    }
    Ok(coord.group(pool).delete().await?)
}

/// How many jobs are whose, and how many more or fewer than before.
fn show_shares(before: &HashRing, after: &HashRing) {
    let (had, has) = (shares(before), shares(after));
    let parts = has.iter().map(|(worker, jobs)| match had.get(worker) {
        Some(earlier) => format!("{worker} has {jobs} ({:+})", jobs - earlier),
        None => format!("{worker} has {jobs}"),
    });
    println!("{} share the jobs: {}", has.len(), parts.collect::<Vec<_>>().join(", "));
}

fn shares(ring: &HashRing) -> BTreeMap<Name, i32> {
    let mut shares: BTreeMap<Name, i32> =
        ring.shares().iter().map(|share| (share.member.clone(), 0)).collect();
    for owner in (1..=JOBS).filter_map(|job| ring.owner(key(job))) {
        *shares.entry(owner.clone()).or_default() += 1;
    }
    shares
}

/// What is done, and by whom.
#[derive(Default)]
struct Done {
    jobs: BTreeMap<u32, Name>,
    again: u32,
}

impl Done {
    fn note(&mut self, job: u32, worker: Name) {
        if self.jobs.contains_key(&job) {
            self.again += 1;
            return;
        }
        self.jobs.insert(job, worker);
        if self.jobs.len().is_multiple_of(100) {
            println!("  {} done", self.jobs.len());
        }
    }

    fn by_worker(&self) -> BTreeMap<&Name, usize> {
        self.jobs.values().fold(BTreeMap::new(), |mut sums, worker| {
            *sums.entry(worker).or_default() += 1;
            sums
        })
    }

    fn by(&self, worker: &str) -> usize {
        self.jobs.values().filter(|by| *by == worker).count()
    }
}

/// The processes; those that are left end with this one.
struct Workers(BTreeMap<&'static str, Child>);

impl Workers {
    fn start(url: &str, pool: &str) -> Outcome<Self> {
        let mut workers = Self(BTreeMap::new());
        for name in WORKERS {
            let child = Command::new(std::env::current_exe()?).args([url, pool, name]).spawn()?;
            println!("{name} is process {}", child.id());
            workers.0.insert(name, child);
        }
        Ok(workers)
    }

    /// As `kill -9` does: it says goodbye to nobody. Whether it was alive.
    fn kill_victim(&mut self) -> Outcome<bool> {
        let Some(mut victim) = self.0.remove(VICTIM) else { return Ok(false) };
        victim.kill()?;
        victim.wait()?;
        Ok(true)
    }

    fn check(&mut self) -> Outcome {
        for (name, child) in &mut self.0 {
            if let Some(status) = child.try_wait()? {
                judge(name, status)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Outcome {
        for (name, child) in &mut self.0 {
            judge(name, child.wait()?)?;
        }
        Ok(())
    }
}

/// Who was killed has no exit code.
fn judge(name: &str, status: ExitStatus) -> Outcome {
    match status.code() {
        None | Some(0) => Ok(()),
        Some(_) => Err(format!("{name} ended with {status}").into()),
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for child in self.0.values_mut() {
            let _ = child.kill().and_then(|()| child.wait()); // it may have ended already
        }
    }
}
