//! The parts of those who hold locks and leave them without a word: a worker's side of the row `deserted`.

use std::os::unix::process::CommandExt;
use std::process::{Command, exit};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fork::{Fork, fork, waitpid};
use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;
use tooz_core::{ErrorKind, Guard};

use super::Outcome;
use super::crew::say;
use super::parts::Player;
use crate::history::now;

/// Between two looks for those who wait.
const LOOK: Duration = Duration::from_millis(5);

/// How the guards are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The task that has them panics.
    Panics,
    /// The task that has them is aborted.
    Aborts,
    /// The runtime of the task that has them is dropped.
    Unplugs,
    /// The process becomes another program.
    Execs,
    /// The process forks: the child holds nothing and takes nothing with it when it ends. Then they are given back.
    Forks,
}

impl Way {
    pub(super) const ALL: [Self; 5] = [Self::Panics, Self::Aborts, Self::Unplugs, Self::Execs, Self::Forks];

    /// The part of a worker that leaves this way.
    pub(super) fn part(self) -> &'static str {
        match self {
            Self::Panics => "panics",
            Self::Aborts => "aborts",
            Self::Unplugs => "unplugs",
            Self::Execs => "execs",
            Self::Forks => "forks",
        }
    }
}

impl FromStr for Way {
    type Err = ();

    fn from_str(part: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|way| way.part() == part).ok_or(())
    }
}

type Held = Vec<(String, Guard)>;

/// Takes so many locks, waits until somebody waits for each, leaves them and says when.
pub(super) async fn desert(player: Arc<Player>, way: Way) -> Outcome<()> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let taker = Arc::clone(&player);
    let held = runtime.spawn(async move { taker.take_all().await }).await??;
    say("ready")?;
    for (_, lock) in player.locks() {
        while lock.queue().await?.waiting.is_empty() {
            sleep(LOOK).await;
        }
    }
    for (name, guard) in &held {
        player.look(name, guard)?;
    }
    leave(&player, way, held, runtime).await?;
    player.until_over().await;
    Ok(())
}

async fn leave(player: &Player, way: Way, held: Held, runtime: Runtime) -> Outcome<()> {
    match way {
        Way::Panics => {
            std::panic::set_hook(Box::new(|_| {})); // it is meant
            left()?;
            let task = runtime.spawn(async move {
                let _held = held;
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            task.await.err().ok_or("the task did not panic")?;
            runtime.shutdown_background();
        }
        Way::Aborts => {
            let task = runtime.spawn(keep(held));
            left()?;
            task.abort();
            task.await.err().ok_or("the task was not aborted")?;
            runtime.shutdown_background();
        }
        Way::Unplugs => {
            runtime.spawn(keep(held));
            left()?;
            tokio::task::spawn_blocking(move || drop(runtime)).await?;
        }
        Way::Execs => {
            left()?;
            // It ends when the worker is told to.
            return Err(Command::new("cat").exec().into());
        }
        Way::Forks => {
            match fork()? {
                Fork::Child => exit(i32::from(in_the_child(player, held))),
                Fork::Parent(child) => {
                    if waitpid(child)? != 0 {
                        return Err("a child of the process takes what it does not hold for its own".into());
                    }
                }
            }
            for (name, guard) in &held {
                player.look(name, guard)?.then_some(()).ok_or("the child took something with it")?;
            }
            left()?;
            for (name, guard) in held {
                player.release(&name, guard).await?;
            }
            runtime.shutdown_background();
        }
    }
    Ok(())
}

/// Whether the copy of a process takes itself for a holder. Gives back or drops what it has, as code that knows nothing
/// of this would, and closes.
fn in_the_child(player: &Player, mut held: Held) -> bool {
    let claims = held.iter().any(|(_, guard)| guard.is_held());
    let given_back = held.split_off(held.len() / 2).into_iter().any(|(_, guard)| {
        let told = guard.release().now_or_never();
        !told.is_some_and(|told| told.is_err_and(|error| error.kind() == ErrorKind::Lost))
    });
    drop(held);
    let told = player.coord.close().now_or_never();
    let closes = !told.is_some_and(|told| told.is_err_and(|error| error.kind() == ErrorKind::Closed));
    claims || given_back || closes
}

async fn keep(held: Held) {
    let _held = held;
    std::future::pending::<()>().await;
}

fn left() -> Outcome<()> {
    say(&now().to_string())
}
