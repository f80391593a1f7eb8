//! Groups over coordinators.

use serde::{Deserialize, Serialize};
use tooz_core::{ErrorKind, Event, Group, MembershipState, View};

use super::names;
use crate::{World, within};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Caps {
    weight: u32,
}

async fn ids(group: &Group) -> Vec<String> {
    let roster = group.members().await.unwrap();
    let mut ids: Vec<_> = roster.names().map(str::to_owned).collect();
    ids.sort();
    ids
}

async fn seen(view: &mut View, wanted: &[&str]) {
    within("see the members", async {
        loop {
            let mut ids: Vec<_> = view.borrow().names().map(str::to_owned).collect();
            ids.sort();
            if ids == wanted {
                return;
            }
            view.changed().await.unwrap();
        }
    })
    .await;
}

/// Groups are created, listed and deleted, and each impossible wish is refused by kind.
pub(super) async fn groups_are_created_and_deleted(world: &World) {
    let coord = world.connect("a").await;
    let blue = coord.group("blue");
    assert!(!blue.exists().await.unwrap());
    assert_eq!(blue.members().await.unwrap_err().kind(), ErrorKind::NoSuchGroup);
    assert_eq!(blue.join(&()).await.unwrap_err().kind(), ErrorKind::NoSuchGroup);
    assert_eq!(blue.watch().await.unwrap_err().kind(), ErrorKind::NoSuchGroup);
    let made = blue.create_if_missing().await.unwrap();
    // Behind a bad network an attempt that went unanswered may have made it.
    assert!(made || world.is_faulty());
    assert!(!blue.create_if_missing().await.unwrap());
    assert_eq!(blue.create().await.unwrap_err().kind(), ErrorKind::GroupExists);
    assert_eq!(coord.groups().await.unwrap(), ["blue"]);

    let me = blue.join(&()).await.unwrap();
    assert_eq!(blue.delete().await.unwrap_err().kind(), ErrorKind::GroupNotEmpty);
    me.leave().await.unwrap();
    let deleted = blue.delete().await;
    assert!(deleted.is_ok() || world.is_faulty(), "{deleted:?}");
    assert_eq!(blue.delete().await.unwrap_err().kind(), ErrorKind::NoSuchGroup);
    assert!(coord.groups().await.unwrap().is_empty());
}

/// Members join with capabilities, update them and leave.
pub(super) async fn members_join_update_and_leave(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let blue = a.group("blue");
    blue.create_if_missing().await.unwrap();
    let one = blue.join(&Caps { weight: 3 }).await.unwrap();
    let two = b.group("blue").join(&Caps { weight: 5 }).await.unwrap();
    assert_eq!(ids(&blue).await, ["a", "b"]);
    let weight = async |id: &str| {
        let roster = blue.members().await.unwrap();
        roster.get(id).unwrap().capabilities().read::<Caps>().unwrap().weight
    };
    assert_eq!((weight("a").await, weight("b").await), (3, 5));
    two.update(&Caps { weight: 8 }).await.unwrap();
    assert_eq!((weight("a").await, weight("b").await), (3, 8));

    one.leave().await.unwrap();
    assert_eq!(ids(&blue).await, ["b"]);
    two.leave().await.unwrap();
    assert!(ids(&blue).await.is_empty());
}

/// A member id is in a group once, whichever coordinator asks.
pub(super) async fn a_member_id_joins_once(world: &World) {
    let (one, two) = (world.connect("same").await, world.connect("same").await);
    one.group("blue").create_if_missing().await.unwrap();
    let me = one.group("blue").join(&Caps { weight: 1 }).await.unwrap();
    assert_eq!(one.group("blue").join(&()).await.unwrap_err().kind(), ErrorKind::AlreadyMember);
    assert_eq!(two.group("blue").join(&()).await.unwrap_err().kind(), ErrorKind::AlreadyMember);
    assert_eq!(ids(&one.group("blue")).await, ["same"]);
    me.leave().await.unwrap();
    two.group("blue").join(&()).await.unwrap().leave().await.unwrap();
}

/// Dropping a membership leaves the group; closing the coordinator does too.
pub(super) async fn dropping_a_membership_leaves(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    a.group("blue").create_if_missing().await.unwrap();
    let mut view = a.group("blue").watch().await.unwrap();
    drop(b.group("blue").join(&()).await.unwrap());
    seen(&mut view, &[]).await;

    let me = b.group("blue").join(&()).await.unwrap();
    seen(&mut view, &["b"]).await;
    let mut state = me.state();
    b.close().await.unwrap();
    within("news of the end", state.wait_for(|state| *state == MembershipState::Left)).await.unwrap();
    assert!(ids(&a.group("blue")).await.is_empty());
}

/// A join right after a drop or a leave on the same coordinator succeeds, each time.
pub(super) async fn a_join_right_after_a_drop_succeeds(world: &World) {
    let coord = world.connect("a").await;
    let blue = coord.group("blue");
    blue.create_if_missing().await.unwrap();
    // Behind a bad network a leave may take its time: see to it that no late join lands after it.
    for _ in 0..if world.is_faulty() { 3 } else { 20 } {
        drop(blue.join(&()).await.unwrap());
        blue.join(&()).await.unwrap().leave().await.unwrap();
    }
    assert!(ids(&blue).await.is_empty());
}

/// A watch tells who joined, changed and left, in order.
pub(super) async fn a_watch_tells_joins_updates_and_leaves(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    a.group("blue").create_if_missing().await.unwrap();
    let mut view = a.group("blue").watch().await.unwrap();
    let mut next = async || within("the next event", view.next_event()).await.unwrap();

    let me = b.group("blue").join(&Caps { weight: 1 }).await.unwrap();
    assert!(matches!(next().await, Event::Joined(member) if *member.name() == "b"));
    me.update(&Caps { weight: 2 }).await.unwrap();
    let Event::Updated(member) = next().await else { panic!("no update") };
    assert_eq!(member.capabilities().read::<Caps>().unwrap(), Caps { weight: 2 });
    me.leave().await.unwrap();
    assert!(matches!(next().await, Event::Left(member) if *member.name() == "b"));
}

/// Clones of a view have places of their own; a view that nobody reads shows the present all the same.
pub(super) async fn views_are_level_triggered(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    a.group("blue").create_if_missing().await.unwrap();
    let mut view = a.group("blue").watch().await.unwrap();
    let mut other = view.clone();
    for weight in 0..if world.is_faulty() { 4 } else { 20 } {
        let me = b.group("blue").join(&Caps { weight }).await.unwrap();
        me.leave().await.unwrap();
    }
    let me = b.group("blue").join(&Caps { weight: 99 }).await.unwrap();
    seen(&mut view, &["b"]).await;
    seen(&mut other, &["b"]).await;
    me.leave().await.unwrap();
    seen(&mut view, &[]).await;
    seen(&mut other, &[]).await;
}

/// Capabilities beyond the limits and impossible names are refused and change nothing.
pub(super) async fn impossible_wishes_are_refused(world: &World) {
    let coord = world.connect("a").await;
    let blue = coord.group("blue");
    blue.create_if_missing().await.unwrap();
    let huge = vec![0_u8; 70_000];
    assert_eq!(blue.join(&huge).await.unwrap_err().kind(), ErrorKind::InvalidValue);
    let me = blue.join(&Caps { weight: 1 }).await.unwrap();
    assert_eq!(me.update(&huge).await.unwrap_err().kind(), ErrorKind::InvalidValue);
    let roster = blue.members().await.unwrap();
    assert_eq!(roster.get("a").unwrap().capabilities().read::<Caps>().unwrap(), Caps { weight: 1 });
    me.leave().await.unwrap();
    for bad in [String::new(), "x".repeat(256)] {
        assert_eq!(coord.group(&bad).create().await.unwrap_err().kind(), ErrorKind::InvalidName);
        assert_eq!(coord.group(&bad).members().await.unwrap_err().kind(), ErrorKind::InvalidName);
    }
}

/// Groups of every name are groups of their own.
pub(super) async fn names_of_every_shape_are_groups_of_their_own(world: &World) {
    let coord = world.connect("a").await;
    for name in names() {
        let made = coord.group(&name).create_if_missing().await.unwrap();
        assert!(made || world.is_faulty(), "{name} met another group");
    }
    let mut wanted = names();
    wanted.sort();
    assert_eq!(coord.groups().await.unwrap(), wanted);
    for name in names() {
        let deleted = coord.group(&name).delete().await;
        assert!(deleted.is_ok() || world.is_faulty(), "{deleted:?}");
    }
    assert!(coord.groups().await.unwrap().is_empty());
}
