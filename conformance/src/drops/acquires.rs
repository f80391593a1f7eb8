//! Acquires dropped at random awaits, while others do the same.

use std::ops::AddAssign;
use std::time::Duration;

use futures_util::future::join_all;
use tooz_core::{Coordinator, Guard};

use crate::cancel::{Cut, after};
use crate::faulty::Dice;

/// What became of many acquires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Dropped at one of their awaits.
    pub cut: usize,
    /// Dropped while they waited in the queue.
    pub parked: usize,
    /// Granted, their guards then dropped.
    pub granted: usize,
    /// Failed.
    pub failed: usize,
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, more: Self) {
        self.cut += more.cut;
        self.parked += more.parked;
        self.granted += more.granted;
        self.failed += more.failed;
    }
}

/// Tasks that acquire at the same time.
const TASKS: usize = 8;

/// How long an acquire may wait in the queue before it is dropped.
const PATIENCE: Duration = Duration::from_millis(2);

/// Begins `count` acquires of one lock over the coordinators and drops each at a random await, its guard
/// right away where it was granted. Which await is drawn from the seed.
pub async fn drop_acquires(coords: &[Coordinator], name: &str, count: usize, seed: u64) -> Dropped {
    let tasks = coords.iter().cycle().take(TASKS).enumerate().map(|(index, coord)| {
        let lock = coord.lock(name);
        let mut dice = Dice::new(seed.wrapping_add(u64::try_from(index).unwrap_or(0)));
        let share = count / TASKS + usize::from(index < count % TASKS);
        async move {
            let mut dropped = Dropped::default();
            for _ in 0..share {
                let polls = 1 + dice.below(6);
                match after(polls, PATIENCE, lock.acquire()).await {
                    Cut::Dropped => dropped.cut += 1,
                    Cut::Parked => dropped.parked += 1,
                    Cut::Ended(Ok(guard)) => {
                        dropped.granted += 1;
                        linger(&guard, &mut dice).await;
                    }
                    Cut::Ended(Err(_)) => dropped.failed += 1,
                }
            }
            dropped
        }
    });
    let mut sum = Dropped::default();
    join_all(tasks).await.into_iter().for_each(|one| sum += one);
    sum
}

/// Holds for a few turns of the others, so that they queue.
async fn linger(guard: &Guard, dice: &mut Dice) {
    for _ in 0..dice.below(4) {
        if guard.is_held() {
            tokio::task::yield_now().await;
        }
    }
}
