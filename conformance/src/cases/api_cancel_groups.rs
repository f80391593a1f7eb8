//! Futures of groups and looks dropped at every await leave nothing behind.

use std::time::Duration;

use tooz_core::Coordinator;

use crate::World;
use crate::cancel::at_every_await;

/// Longer than any step takes when nothing is in its way.
const IDLE: Duration = Duration::from_millis(300);

/// A join that is cut leaves no member behind, whatever it had done.
pub(super) async fn a_join_cut_anywhere_leaves_no_member(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let blue = a.group("blue");
    blue.create_if_missing().await.unwrap();
    at_every_await(IDLE, || blue.join(&1), async |cut| {
        drop(cut);
        world_is_empty(&b).await;
    })
    .await;
}

async fn world_is_empty(coord: &Coordinator) {
    crate::eventually("see no member", async || {
        let roster = coord.group("blue").members().await.map_err(|e| e.to_string())?;
        if roster.is_empty() { Ok(()) } else { Err(format!("{roster:?}")) }
    })
    .await;
}

/// An update that is cut leaves the old or the new capabilities; a leave that is cut goes on.
pub(super) async fn a_leave_cut_anywhere_goes_on(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let blue = a.group("blue");
    blue.create_if_missing().await.unwrap();
    for polls in 1..6 {
        let me = loop {
            // The leave before may still be under way.
            match blue.join(&1).await {
                Ok(me) => break me,
                Err(error) => assert_eq!(error.kind(), tooz_core::ErrorKind::AlreadyMember),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        drop(crate::cancel::after(polls, IDLE, me.update(&2)).await);
        let roster = b.group("blue").members().await.unwrap();
        let caps = roster.get("a").expect("a member").capabilities().read::<u32>().unwrap();
        assert!([1, 2].contains(&caps));
        drop(crate::cancel::after(polls, IDLE, me.leave()).await);
        world_is_empty(&b).await;
    }
}

/// Looks and watches that are cut disturb nothing.
pub(super) async fn looks_cut_anywhere_disturb_nothing(world: &World) {
    let coord = world.connect("a").await;
    let blue = coord.group("blue");
    blue.create_if_missing().await.unwrap();
    let (lock, election) = (coord.lock("nightly"), blue.election());
    at_every_await(IDLE, || blue.members(), async |cut| drop(cut)).await;
    at_every_await(IDLE, || blue.watch(), async |cut| drop(cut)).await;
    at_every_await(IDLE, || lock.queue(), async |cut| drop(cut)).await;
    at_every_await(IDLE, || lock.watch(), async |cut| drop(cut)).await;
    at_every_await(IDLE, || election.leader(), async |cut| drop(cut)).await;
    at_every_await(IDLE, || election.observe(), async |cut| drop(cut)).await;
    at_every_await(IDLE, || coord.groups(), async |cut| drop(cut)).await;
    assert!(blue.members().await.unwrap().is_empty());
}
