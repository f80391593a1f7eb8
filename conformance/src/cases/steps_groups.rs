//! Groups: existence, membership and capabilities as facts.

use bytes::Bytes;
use tooz_core::backend::{Created, Deleted, Enrolment, Joined, Left, Updated};

use super::names;
use crate::World;
use crate::eventually;
use crate::world::{Session, name};

async fn ids(session: &Session, group: &str) -> Option<Vec<String>> {
    let roster = session.members(&name(group)).await?;
    let mut ids: Vec<_> = roster.members.iter().map(|entry| entry.member.as_str().to_owned()).collect();
    ids.sort();
    Some(ids)
}

/// A group is new once.
pub(super) async fn a_group_is_created_once(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    assert_eq!(a.groups().create(&name("blue")).await.unwrap(), Created::New);
    assert_eq!(a.groups().create(&name("blue")).await.unwrap(), Created::Existed);
    assert_eq!(b.groups().create(&name("blue")).await.unwrap(), Created::Existed);
    assert_eq!(ids(&b, "blue").await, Some(vec![]));
}

/// A group goes only when it is empty, and can be made again.
pub(super) async fn a_group_is_deleted_when_empty(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let (groups, blue) = (a.groups(), name("blue"));
    assert_eq!(groups.delete(&blue).await.unwrap(), Deleted::Missing);
    groups.create(&blue).await.unwrap();
    let enrolment = b.enrolment(&blue, b"\xc0");
    b.groups().join(&enrolment).await.unwrap();
    assert_eq!(groups.delete(&blue).await.unwrap(), Deleted::NotEmpty);
    assert_eq!(ids(&a, "blue").await, Some(vec!["b".into()]));

    b.groups().leave(&enrolment).await.unwrap();
    assert_eq!(groups.delete(&blue).await.unwrap(), Deleted::Gone);
    assert_eq!(groups.delete(&blue).await.unwrap(), Deleted::Missing);
    assert_eq!(ids(&a, "blue").await, None);
    assert_eq!(groups.create(&blue).await.unwrap(), Created::New);
    assert_eq!(ids(&a, "blue").await, Some(vec![]));
}

/// The list has every group and nothing else, whatever else stands in the store.
pub(super) async fn groups_are_listed_exactly(world: &World) {
    let a = world.open("a").await;
    assert!(a.groups().list().await.unwrap().is_empty());
    let mut made = names();
    for group in &made {
        a.groups().create(group).await.unwrap();
    }
    a.groups().join(&a.enrolment(&made[0], b"\xc0")).await.unwrap();
    if a.backend.locks().is_some() {
        a.take(&a.claim_on(&tooz_core::Seat::Leader(name("led")))).await;
        a.take(&a.claim_on(&tooz_core::Seat::Lock(name("locked")))).await;
    }
    let mut listed = a.groups().list().await.unwrap();
    listed.sort();
    made.sort();
    assert_eq!(listed, made);
}

/// Joining needs a group and makes none.
pub(super) async fn joining_needs_a_group(world: &World) {
    let a = world.open("a").await;
    let enrolment = a.enrolment(&name("blue"), b"\xc0");
    assert_eq!(a.groups().join(&enrolment).await.unwrap(), Joined::NoGroup);
    assert_eq!(ids(&a, "blue").await, None);
    assert_eq!(a.groups().leave(&enrolment).await.unwrap(), Left::Absent);
    assert_eq!(a.groups().update(&enrolment).await.unwrap(), Updated::Absent);
    assert!(a.groups().list().await.unwrap().is_empty());
}

/// A repeated join is the same membership, under this session.
pub(super) async fn joining_again_is_the_same_membership(world: &World) {
    let a = world.open("a").await;
    a.groups().create(&name("blue")).await.unwrap();
    let enrolment = a.enrolment(&name("blue"), b"\xc0");
    for _ in 0..3 {
        assert_eq!(a.groups().join(&enrolment).await.unwrap(), Joined::Done);
    }
    let roster = a.members(&name("blue")).await.unwrap();
    assert_eq!(roster.members.len(), 1, "{roster:?}");
    assert!(roster.members[0].session.is_none_or(|session| session == a.id), "{roster:?}");
}

/// Interleaving 22: a live session under the same member id is never replaced, and nothing is changed.
pub(super) async fn a_live_namesake_is_never_replaced(world: &World) {
    let (one, two) = (world.open("a").await, world.open("a").await);
    let blue = name("blue");
    one.groups().create(&blue).await.unwrap();
    one.groups().join(&one.enrolment(&blue, b"\x01")).await.unwrap();

    let rival = two.enrolment(&blue, b"\x02");
    assert_eq!(two.groups().join(&rival).await.unwrap(), Joined::Taken);
    let stranger = Enrolment { replaces: Some(tooz_core::SessionId::random()), ..rival.clone() };
    assert_eq!(two.groups().join(&stranger).await.unwrap(), Joined::Taken);
    assert_eq!(two.groups().update(&rival).await.unwrap(), Updated::Absent);
    assert_eq!(two.groups().leave(&rival).await.unwrap(), Left::Absent);

    let roster = one.members(&blue).await.unwrap();
    assert_eq!(roster.members.len(), 1, "{roster:?}");
    assert_eq!(roster.members[0].capabilities.as_ref(), b"\x01");
    assert!(roster.members[0].session.is_none_or(|session| session == one.id));
}

/// Interleaving 22: the entry of the coordinator's own lost session gives way.
pub(super) async fn a_lost_predecessor_gives_way(world: &World) {
    let old = world.open("a").await;
    let blue = name("blue");
    old.groups().create(&blue).await.unwrap();
    old.groups().join(&old.enrolment(&blue, b"\x01")).await.unwrap();

    let new = world.open_after("a", Some(old.id)).await;
    let enrolment = Enrolment { replaces: Some(old.id), ..new.enrolment(&blue, b"\x02") };
    for _ in 0..2 {
        assert_eq!(new.groups().join(&enrolment).await.unwrap(), Joined::Done);
    }
    assert_eq!(old.groups().leave(&old.enrolment(&blue, b"\x01")).await.unwrap(), Left::Absent);
    let roster = new.members(&blue).await.unwrap();
    assert_eq!(roster.members.len(), 1, "{roster:?}");
    assert_eq!(roster.members[0].capabilities.as_ref(), b"\x02");
    assert!(roster.members[0].session.is_none_or(|session| session == new.id));
}

/// Leaving ends this session's membership and is absent afterwards.
pub(super) async fn leaving_ends_only_ones_own_membership(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    let (one, two) = (a.enrolment(&blue, b"\xc0"), b.enrolment(&blue, b"\xc0"));
    a.groups().join(&one).await.unwrap();
    b.groups().join(&two).await.unwrap();

    assert_eq!(a.groups().leave(&one).await.unwrap(), Left::Done);
    assert_eq!(a.groups().leave(&one).await.unwrap(), Left::Absent);
    assert_eq!(ids(&a, "blue").await, Some(vec!["b".into()]));
    assert_eq!(a.groups().join(&one).await.unwrap(), Joined::Done);
    assert_eq!(ids(&b, "blue").await, Some(vec!["a".into(), "b".into()]));
}

/// Capabilities come back byte for byte, up to the largest, at joining and at each update.
pub(super) async fn capabilities_are_carried_exactly(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    let mut largest = vec![0xc5, 0xff, 0xf0];
    largest.resize(3 + 0xfff0, 0);
    let all = [b"\xc0".to_vec(), b"\x80".to_vec(), b"\x81\xa6weight\x03".to_vec(), largest];
    let mut enrolment = a.enrolment(&blue, b"\xc0");
    a.groups().join(&enrolment).await.unwrap();
    for bytes in all {
        enrolment.capabilities = Bytes::from(bytes.clone());
        for _ in 0..2 {
            assert_eq!(a.groups().update(&enrolment).await.unwrap(), Updated::Done);
        }
        let roster = b.members(&blue).await.unwrap();
        assert_eq!(roster.members[0].capabilities, bytes);
    }
}

/// Who is no member updates nothing.
pub(super) async fn updating_needs_a_membership(world: &World) {
    let a = world.open("a").await;
    a.groups().create(&name("blue")).await.unwrap();
    let enrolment = a.enrolment(&name("blue"), b"\x01");
    assert_eq!(a.groups().update(&enrolment).await.unwrap(), Updated::Absent);
    assert_eq!(ids(&a, "blue").await, Some(vec![]));
}

/// A group that does not exist and one without members are different facts.
pub(super) async fn no_group_and_no_member_are_two_facts(world: &World) {
    let a = world.open("a").await;
    assert!(a.members(&name("blue")).await.is_none());
    a.groups().create(&name("blue")).await.unwrap();
    assert!(a.members(&name("blue")).await.is_some_and(|roster| roster.members.is_empty()));
}

/// A look at a group that does not exist does not make it exist, and neither does a wait for it.
pub(super) async fn looking_creates_nothing(world: &World) {
    let (a, blue) = (world.open("a").await, name("blue"));
    for _ in 0..2 {
        assert!(a.members(&blue).await.is_none());
    }
    tokio::select! {
        biased;
        () = a.groups().stirred(&blue, None) => {}
        () = tokio::task::yield_now() => {}
    }
    assert!(a.groups().list().await.unwrap().is_empty());
    assert_eq!(a.groups().create(&name("blue")).await.unwrap(), Created::New);
}

/// Names of every shape are groups and members of their own: `a` never sees `ab`.
pub(super) async fn names_of_every_shape_are_groups_and_members(world: &World) {
    let a = world.open("a").await;
    for group in names() {
        a.groups().create(&group).await.unwrap();
    }
    for (i, member) in names().into_iter().enumerate() {
        let session = world.open(member.as_str()).await;
        let group = names()[i].clone();
        session.groups().join(&session.enrolment(&group, b"\xc0")).await.unwrap();
    }
    for group in names() {
        let roster = a.members(&group).await.unwrap();
        let members: Vec<_> = roster.members.iter().map(|entry| entry.member.clone()).collect();
        assert_eq!(members, std::slice::from_ref(&group));
    }
}

/// A killed member is gone, the others and the group stay.
pub(super) async fn a_dead_member_is_gone_and_the_group_stays(world: &World) {
    let (a, b) = (world.open("a").await, world.open("b").await);
    let blue = name("blue");
    a.groups().create(&blue).await.unwrap();
    for session in [&a, &b] {
        session.groups().join(&session.enrolment(&blue, b"\xc0")).await.unwrap();
    }
    world.crash(b).await;
    eventually("see the dead member gone", async || match ids(&a, "blue").await {
        Some(ids) if ids == ["a"] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let heir = world.open("b").await;
    assert_eq!(heir.groups().join(&heir.enrolment(&blue, b"\xc0")).await.unwrap(), Joined::Done);
}
