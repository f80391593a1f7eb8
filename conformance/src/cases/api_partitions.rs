//! Partitioning over coordinators.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use tooz_core::backend::Joined;
use tooz_core::{Changes, ErrorKind, HashRing, Move, Moves, Name, Partitioner};

use crate::world::name;
use crate::{World, within};

fn keys() -> Vec<String> {
    (0..1_000).map(|key| format!("job-{key}")).collect()
}

/// Reads changes until these members share the keys.
async fn shared_by(changes: &mut Changes, members: &[(&str, u32)]) -> Moves {
    let wanted: Vec<_> = members.iter().map(|(member, weight)| (name(member), *weight)).collect();
    let wanted = HashRing::new(wanted);
    within("see who shares the keys", async {
        loop {
            let moves = changes.next().await.unwrap();
            if **moves.after() == wanted {
                return moves;
            }
        }
    })
    .await
}

/// Waits until the partitioner shows these members.
async fn settled(part: &Partitioner, members: &[(&str, u32)]) {
    let wanted = HashRing::new(members.iter().map(|(member, weight)| (name(member), *weight)));
    let mut changes = part.changes();
    within("settle", async {
        while *part.ring() != wanted {
            changes.next().await.unwrap();
        }
    })
    .await;
}

/// Members, and who only looks on, agree on the owners of every key, and each key has one owner.
pub(super) async fn members_agree_on_every_key(world: &World) {
    let coords = [world.connect("a").await, world.connect("b").await, world.connect("c").await];
    let a = coords[0].group("blue").join_partitioned(1).await.unwrap();
    let b = coords[1].group("blue").join_partitioned(2).await.unwrap();
    let looker = coords[2].group("blue").partitioner().await.unwrap();
    let parts = [a.partitioner(), b.partitioner(), &looker];
    for part in parts {
        settled(part, &[("a", 1), ("b", 2)]).await;
    }

    for key in keys() {
        let owners = looker.owners(&key, 2);
        assert_eq!(owners.iter().collect::<BTreeSet<_>>().len(), 2);
        assert!(parts.iter().all(|part| part.owners(&key, 2) == owners), "{key}");
        assert_eq!(parts.iter().filter(|part| part.is_mine(&key)).count(), 1, "{key}");
        assert!(a.is_one_of_mine(&key, 2) && !looker.is_one_of_mine(&key, 2));
        let other = if owners[0] == "a" { "b" } else { "a" };
        assert_eq!(looker.owners_ignoring(&key, 1, &[&owners[0]]), [name(other)]);
    }
    b.leave().await.unwrap();
    a.leave().await.unwrap();
}

/// A member that joins takes over its keys from those who had them, and gives them back when it leaves.
pub(super) async fn a_join_moves_only_what_it_takes(world: &World) {
    let (one, two) = (world.connect("a").await, world.connect("b").await);
    let a = one.group("blue").join_partitioned(1).await.unwrap();
    let mut changes = a.changes();
    assert!(keys().iter().all(|key| a.is_mine(key)));

    let b = two.group("blue").join_partitioned(1).await.unwrap();
    let moves = shared_by(&mut changes, &[("a", 1), ("b", 1)]).await;
    let told = moves.away();
    assert!(told.len() == 1 && told[0].member == Some(name("b")), "{moves:?}");
    assert!(moves.to_me().is_empty() && told[0].part > 0.2 && told[0].part < 0.8, "{moves:?}");
    for key in keys() {
        let away = (b.is_mine(&key)).then(|| Move::Away(Some(name("b"))));
        assert_eq!(moves.of(&key), away, "{key}");
    }

    b.leave().await.unwrap();
    let moves = shared_by(&mut changes, &[("a", 1)]).await;
    assert_eq!(moves.to_me().into_iter().map(|moved| moved.member).collect::<Vec<_>>(), [Some(name("b"))]);
    assert!(moves.away().is_empty() && keys().iter().all(|key| a.is_mine(key)));
    a.leave().await.unwrap();
}

/// The keys of a member that dies go to those who are left, and only its keys move.
pub(super) async fn the_keys_of_a_dead_member_move_to_the_living(world: &World) {
    let (one, two) = (world.connect("a").await, world.connect("c").await);
    let a = one.group("blue").join_partitioned(1).await.unwrap();
    let c = two.group("blue").join_partitioned(1).await.unwrap();
    let dying = world.open("b").await;
    let enrolment = dying.enrolment(&name("blue"), b"\x81\xa6weight\x02");
    assert_eq!(dying.groups().join(&enrolment).await.unwrap(), Joined::Done);
    settled(&a, &[("a", 1), ("b", 2), ("c", 1)]).await;
    let before: Vec<Name> = keys().iter().filter_map(|key| a.owner(key)).collect();
    let mut changes = a.changes();

    world.crash(dying).await;

    let moves = shared_by(&mut changes, &[("a", 1), ("c", 1)]).await;
    settled(&c, &[("a", 1), ("c", 1)]).await;
    for (key, owner) in keys().iter().zip(before) {
        let now = c.owner(key);
        assert!(owner == "b" || now == Some(owner.clone()), "{key} moved from {owner} to {now:?}");
        let mine = (owner == "b" && now == Some(name("a"))).then(|| Move::ToMe(Some(name("b"))));
        assert_eq!(moves.of(key), mine, "{key}");
    }
    a.leave().await.unwrap();
    c.leave().await.unwrap();
}

/// A new weight moves keys; what no member can have counts as something that it can.
pub(super) async fn weights_are_followed_and_bounded(world: &World) {
    let (one, two) = (world.connect("a").await, world.connect("b").await);
    let a = one.group("blue").join_partitioned(1).await.unwrap();
    let b = two.group("blue").join_partitioned(1).await.unwrap();
    settled(&a, &[("a", 1), ("b", 1)]).await;

    b.set_weight(3).await.unwrap();
    settled(&a, &[("a", 1), ("b", 3)]).await;
    b.membership().update(&std::collections::BTreeMap::from([("weight", "much")])).await.unwrap();
    settled(&a, &[("a", 1), ("b", 1)]).await;
    b.set_weight(0).await.unwrap();
    settled(&a, &[("a", 1), ("b", 0)]).await;
    assert!(keys().iter().all(|key| a.is_mine(key)));
    b.set_weight(1_000_000_000).await.unwrap();
    let mut changes = a.changes();
    within("see the greedy member", async {
        while a.ring().share("b").unwrap().weight < 2 {
            changes.next().await.unwrap();
        }
    })
    .await;
    let ring = a.ring();
    assert_eq!(ring.share("b").unwrap().weight, tooz_core::MAX_WEIGHT);
    assert!(ring.share("b").unwrap().is_corrected() && ring.len() as u64 <= tooz_core::MAX_POINTS);
    b.leave().await.unwrap();
    a.leave().await.unwrap();
}

/// Changes tell the difference to the ring told last, whatever happened between, also to who reads late or
/// drops the wait; they end with the coordinator.
pub(super) async fn changes_are_level_triggered(world: &World) {
    let (one, two) = (world.connect("a").await, world.connect("b").await);
    let a = one.group("blue").join_partitioned(1).await.unwrap();
    let mut changes = a.changes();
    for weight in 1..4 {
        let b = two.group("blue").join_partitioned(weight).await.unwrap();
        b.leave().await.unwrap();
    }
    let b = two.group("blue").join_partitioned(9).await.unwrap();
    let mut late = changes.clone();
    // Polled once and dropped: what it was about to tell, it tells again.
    let early = changes.next().now_or_never().map(Result::unwrap);
    let both = [("a", 1), ("b", 9)];
    settled(&a, &both).await;
    if early.is_none_or(|moves| *moves.after() != a.ring()) {
        shared_by(&mut changes, &both).await;
    }
    shared_by(&mut late, &both).await;
    b.leave().await.unwrap();
    shared_by(&mut changes, &[("a", 1)]).await;

    one.close().await.unwrap();
    let end = within("the end of changes", async {
        loop {
            if let Err(end) = changes.next().await {
                return end;
            }
        }
    });
    assert_eq!(end.await.kind(), ErrorKind::Closed);
}

/// A group that is not there is not made by looking; joining makes it, and leaving takes one call.
pub(super) async fn joining_makes_the_group_and_leaving_empties_it(world: &World) {
    let coord = world.connect("a").await;
    let blue = coord.group("blue");
    assert_eq!(blue.partitioner().await.unwrap_err().kind(), ErrorKind::NoSuchGroup);
    assert!(!blue.exists().await.unwrap());

    let part = blue.join_partitioned(3).await.unwrap();
    let roster = blue.members().await.unwrap();
    let capabilities = roster.get("a").unwrap().capabilities();
    assert_eq!(capabilities.as_bytes().as_ref(), b"\x81\xa6weight\x03", "not as Python members say it");
    part.leave().await.unwrap();
    assert!(blue.members().await.unwrap().is_empty());
}
