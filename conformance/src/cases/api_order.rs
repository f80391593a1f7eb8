//! Waiters are served in the order in which they came, across tasks and coordinators.

use std::sync::{Arc, Mutex};

use super::queued;
use crate::{World, within};

/// First come, first served, over tasks and coordinators, with growing tokens.
pub(super) async fn first_come_first_served(world: &World) {
    let coords = [world.connect("a").await, world.connect("b").await, world.connect("c").await];
    let guard = coords[0].lock("nightly").acquire().await.unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for i in 0..9_usize {
        let (lock, served) = (coords[i % 3].lock("nightly"), Arc::clone(&served));
        tasks.push(tokio::spawn(async move {
            let guard = lock.acquire().await.unwrap();
            served.lock().unwrap().push((i, guard.fencing_token()));
            guard.release().await.unwrap();
        }));
        queued(&coords[0], "nightly", i + 1).await;
    }
    guard.release().await.unwrap();
    for task in tasks {
        within("every waiter's turn", task).await.unwrap();
    }
    let served = served.lock().unwrap();
    assert_eq!(served.iter().map(|(i, _)| *i).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    assert!(served.windows(2).all(|two| two[0].1 < two[1].1), "{served:?}");
}
