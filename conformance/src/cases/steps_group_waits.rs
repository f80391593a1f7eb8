//! Waits for changes of a group.

use tooz_core::Name;
use tooz_core::backend::{Enrolment, Joined, Liveness};

use crate::world::{Session, name};
use crate::{World, within};

/// A change that came before the wait began ends it.
async fn stirs<T>(watcher: &Session, group: &Name, change: impl AsyncFnOnce() -> T) {
    let mark = watcher.members(group).await.map(|roster| roster.mark);
    change().await;
    within("news of a group from before the wait", watcher.groups().stirred(group, mark)).await;
}

/// Joining, updating and leaving end the wait, also when they came before it began.
pub(super) async fn every_change_of_a_group_stirs(world: &World) {
    let (a, watcher) = (world.open("a").await, world.open("watcher").await);
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    let (plain, updated) = (a.enrolment(&blue, b"\xc0"), a.enrolment(&blue, b"\x01"));

    stirs(&watcher, &blue, async || a.groups().join(&plain).await.unwrap()).await;
    stirs(&watcher, &blue, async || a.groups().update(&updated).await.unwrap()).await;
    stirs(&watcher, &blue, async || a.groups().leave(&updated).await.unwrap()).await;
}

/// A watcher that waits is woken, and sees what changed.
pub(super) async fn a_change_wakes_the_watcher(world: &World) {
    let (a, watcher) = (world.open("a").await, world.open("watcher").await);
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    let enrolment = a.enrolment(&blue, b"\xc0");
    let watching = within("see the member come and go", async {
        let mut came = false;
        loop {
            let roster = watcher.members(&blue).await.expect("the group stays");
            match (came, roster.members.is_empty()) {
                (true, true) => return,
                (false, false) => {
                    came = true;
                    a.groups().leave(&enrolment).await.unwrap();
                }
                _ => {}
            }
            watcher.group_stirred(&blue, Some(&roster)).await;
        }
    });
    tokio::join!(watching, async {
        tokio::task::yield_now().await;
        a.groups().join(&enrolment).await.unwrap();
    });
}

/// Who waits for a group to appear is woken when it does, before and during the wait.
pub(super) async fn a_group_that_appears_stirs(world: &World) {
    let (a, watcher) = (world.open("a").await, world.open("watcher").await);
    stirs(&watcher, &name("early"), async || a.groups().create(&name("early")).await.unwrap()).await;

    let blue = name("blue");
    let watching = within("see the group appear", async {
        while watcher.members(&blue).await.is_none() {
            watcher.group_stirred(&blue, None).await;
        }
    });
    tokio::join!(watching, async {
        tokio::task::yield_now().await;
        a.groups().create(&blue).await.unwrap();
    });
}

/// Who watches a group is woken when it is deleted, before and during the wait.
pub(super) async fn a_deleted_group_stirs(world: &World) {
    let (a, watcher) = (world.open("a").await, world.open("watcher").await);
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    stirs(&watcher, &blue, async || a.groups().delete(&blue).await.unwrap()).await;
    assert!(watcher.members(&blue).await.is_none());

    a.groups().create(&blue).await.unwrap();
    let watching = within("see the group go", async {
        while let Some(roster) = watcher.members(&blue).await {
            watcher.group_stirred(&blue, Some(&roster)).await;
        }
    });
    tokio::join!(watching, async {
        tokio::task::yield_now().await;
        a.groups().delete(&blue).await.unwrap();
    });
}

/// A killed member wakes the watcher.
pub(super) async fn a_dead_member_stirs(world: &World) {
    let (a, watcher) = (world.open("a").await, world.open("watcher").await);
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    a.groups().join(&a.enrolment(&blue, b"\xc0")).await.unwrap();
    let watching = within("see the dead member gone", async {
        loop {
            let roster = watcher.members(&blue).await.expect("the group stays");
            if roster.members.is_empty() {
                return;
            }
            watcher.group_stirred(&blue, Some(&roster)).await;
        }
    });
    tokio::join!(watching, world.crash(a));
}

/// A wait for changes ends with its own session.
pub(super) async fn a_wait_for_a_group_ends_with_the_session(world: &World) {
    let watcher = world.open("watcher").await;
    let blue = name("blue");
    watcher.groups().create(&blue).await.unwrap();
    let mark = watcher.members(&blue).await.map(|roster| roster.mark);
    let wait = within("the end of a wait", watcher.groups().stirred(&blue, mark));
    let ((), closed) = tokio::join!(wait, async {
        tokio::task::yield_now().await;
        watcher.backend.close().await
    });
    closed.unwrap();
}

/// A member whose entry was replaced is told: by its wait, or by its next beat where only those tell.
pub(super) async fn a_replaced_member_is_told(world: &World) {
    let old = world.open("a").await;
    let blue = name("blue");
    old.groups().create(&blue).await.unwrap();
    let enrolment = old.enrolment(&blue, b"\x01");
    old.groups().join(&enrolment).await.unwrap();

    let new = world.open_after("a", Some(old.id)).await;
    let successor = Enrolment { replaces: Some(old.id), ..new.enrolment(&blue, b"\x02") };
    assert_eq!(new.groups().join(&successor).await.unwrap(), Joined::Done);
    let beats = async {
        if old.backend.profile().liveness == Liveness::Kernel {
            return std::future::pending().await;
        }
        loop {
            let renewal = old.backend.renew(&[], std::slice::from_ref(&enrolment)).await.unwrap();
            if renewal.expelled.contains(&blue) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        () = within("news of the expulsion", old.groups().expelled(&enrolment)) => {}
        () = beats => {}
    }
}
