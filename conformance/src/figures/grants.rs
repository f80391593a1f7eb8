//! How long grants take: free, handed over, taken over from the dead.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use tooz_core::Coordinator;

use super::{Bare, Outcome, Samples};

/// Acquire and release of a free lock, and as many bare pairs, in turns: `(ours, bare)`.
///
/// # Errors
/// If the store fails.
pub async fn uncontended(coord: &Coordinator, bare: &dyn Bare, pairs: usize) -> Outcome<(Samples, Samples)> {
    let lock = coord.lock("figures-free");
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for round in 0..pairs {
        let begun = Instant::now();
        lock.acquire().await?.release().await?;
        let between = Instant::now();
        bare.pair(0).await?;
        // The first rounds open connections and load scripts.
        if round >= pairs / 20 {
            ours.push(between - begun);
            theirs.push(between.elapsed());
        }
    }
    Ok((ours, theirs))
}

/// `tasks` tasks, each with its own lock, `cycles` acquires and releases each; and the same number of bare
/// pairs by as many tasks: `(ours, bare)` per second.
///
/// # Errors
/// If the store fails.
pub async fn together(
    coord: &Coordinator,
    bare: &Arc<dyn Bare>,
    tasks: usize,
    cycles: usize,
) -> Outcome<(f64, f64)> {
    let ours = (0..tasks).map(|task| {
        let lock = coord.lock(format!("figures-of-{task}"));
        async move {
            for _ in 0..cycles {
                lock.acquire().await?.release().await?;
            }
            Ok::<_, tooz_core::Error>(())
        }
    });
    let begun = Instant::now();
    try_join_all(ours).await?;
    let spent = begun.elapsed();
    let bare_pairs = (0..tasks).map(|task| async move {
        for _ in 0..cycles {
            bare.pair(task).await?;
        }
        Outcome::Ok(())
    });
    let begun = Instant::now();
    try_join_all(bare_pairs).await?;
    Ok((per_second(tasks * cycles, spent), per_second(tasks * cycles, begun.elapsed())))
}

/// From the call of release to the waiter's return from acquire, and as many bare events: `(ours, bare)`.
///
/// # Errors
/// If the store fails.
pub async fn hand_over(
    coords: [&Coordinator; 2],
    bare: &dyn Bare,
    turns: usize,
) -> Outcome<(Samples, Samples)> {
    const NAME: &str = "figures-handed-over";
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    let [first, _] = coords;
    let mut guard = first.lock(NAME).acquire().await?;
    for (turn, next) in coords.into_iter().cycle().skip(1).take(turns).enumerate() {
        let lock = next.lock(NAME);
        let waiting = tokio::spawn(async move {
            let granted = lock.acquire().await;
            (granted, Instant::now())
        });
        until_somebody_waits(first, NAME).await?;
        let begun = Instant::now();
        guard.release().await?;
        let (granted, at) = waiting.await?;
        guard = granted?;
        let between = Instant::now();
        bare.event().await?;
        if turn >= turns / 20 {
            ours.push(at - begun);
            theirs.push(between.elapsed());
        }
    }
    guard.release().await?;
    Ok((ours, theirs))
}

async fn until_somebody_waits(coord: &Coordinator, name: &str) -> Outcome<()> {
    while coord.lock(name).queue().await?.waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Processes that hold a lock each are killed with -9; how long their waiters wait from then on.
///
/// # Errors
/// If a process cannot be started or the store fails.
pub async fn take_over(coord: &Coordinator, url: &str, processes: usize) -> Outcome<Samples> {
    let mut holders = Vec::new();
    for process in 0..processes {
        holders.push(Holder::start(url, &format!("figures-dies-{process}"))?);
    }
    let mut waits = Vec::new();
    for holder in &holders {
        let lock = coord.lock(&holder.name);
        waits.push(tokio::spawn(async move {
            let granted = lock.acquire().await;
            (granted, Instant::now())
        }));
    }
    for holder in &holders {
        until_somebody_waits(coord, &holder.name).await?;
    }
    let mut killed = Vec::new();
    for holder in &mut holders {
        holder.child.kill()?;
        killed.push(Instant::now());
    }
    let mut samples = Samples::default();
    for (wait, killed) in waits.into_iter().zip(killed) {
        let (granted, at) = wait.await?;
        granted?.release().await?;
        samples.push(at.saturating_duration_since(killed));
    }
    Ok(samples)
}

/// A process of this same program that holds a lock until it is killed.
struct Holder {
    child: Child,
    name: String,
}

impl Holder {
    fn start(url: &str, name: &str) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(["--url", url, "--hold", name]).stdout(Stdio::piped()).spawn()?;
        let told = child.stdout.take().map(|out| BufReader::new(out).lines().next());
        match told.flatten() {
            Some(Ok(_)) => Ok(Self { child, name: name.to_owned() }),
            _ => Err(format!("the process that was to hold {name:?} ended first").into()),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Fails where it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The part of a process that is to be killed: takes the lock, runs `told`, and holds on for an hour.
///
/// # Errors
/// If the store fails.
pub async fn hold_for_others(coord: &Coordinator, name: &str, told: impl FnOnce()) -> Outcome<()> {
    let guard = coord.lock(name).acquire().await?;
    told();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    Ok(guard.release().await?)
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
pub(super) fn per_second(count: usize, spent: Duration) -> f64 {
    count as f64 / spent.as_secs_f64().max(1e-9)
}
