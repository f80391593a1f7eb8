//! Groups and memberships.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod common;

use bytes::Bytes;
use common::*;
use tooz_core::backend::{Created, Deleted, Enrolment, Joined, Left, RosterFact, Updated};
use tooz_core::{ErrorKind, SessionId};

async fn joiner(root: &Root, member: &str) -> (Session, Enrolment) {
    let opening = opening();
    let session = open_with(&root.path(), "", &opening).await.unwrap();
    let enrolment = enrolment("g", member, opening.session);
    (session, enrolment)
}

async fn roster(session: &Session) -> RosterFact {
    groups(session).members(&name("g")).await.unwrap().expect("the group exists")
}

#[tokio::test]
async fn a_group_is_created_once_listed_exactly_and_deleted() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let (long, dots) = ("é".repeat(127), "/".repeat(255));
    let names = ["g", "G", "..", "a/b", "a\0b\n", "=x", "%61", &long, &dots];
    for text in names {
        assert_eq!(groups(&a).create(&name(text)).await.unwrap(), Created::New, "{text:?}");
        assert_eq!(groups(&a).create(&name(text)).await.unwrap(), Created::Existed, "{text:?}");
    }
    let mut listed: Vec<String> =
        groups(&a).list().await.unwrap().iter().map(|name| name.as_str().to_owned()).collect();
    listed.sort();
    let mut wanted = names.map(str::to_owned);
    wanted.sort();
    assert_eq!(listed, wanted);
    for text in names {
        assert_eq!(groups(&a).delete(&name(text)).await.unwrap(), Deleted::Gone);
        assert_eq!(groups(&a).delete(&name(text)).await.unwrap(), Deleted::Missing);
        assert_eq!(groups(&a).members(&name(text)).await.unwrap(), None);
    }
    assert!(groups(&a).list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_member_is_seen_with_its_session_capabilities_and_time() {
    let root = Root::new();
    let (a, mut me) = joiner(&root, "we/ird\nmember").await;
    assert_eq!(groups(&a).join(&me).await.unwrap(), Joined::NoGroup);
    groups(&a).create(&me.group).await.unwrap();
    assert_eq!(roster(&a).await.members, []);
    me.capabilities = Bytes::from_static(b"\x81\xa6weight\x03");
    assert_eq!(groups(&a).join(&me).await.unwrap(), Joined::Done);
    assert_eq!(groups(&a).join(&me).await.unwrap(), Joined::Done, "sent again");

    let seen = roster(&a).await.members.remove(0);
    assert_eq!((&seen.member, seen.session), (&me.member, Some(me.session)));
    assert_eq!(seen.capabilities, me.capabilities);
    assert!(seen.joined_at.unwrap() <= std::time::SystemTime::now());

    me.capabilities = Bytes::from(vec![0xC0; 64 * 1024]);
    assert_eq!(groups(&a).update(&me).await.unwrap(), Updated::Done);
    let updated = roster(&a).await.members.remove(0);
    assert_eq!(updated.capabilities, me.capabilities);
    assert_eq!(updated.joined_at, seen.joined_at, "an update is no new membership");
    me.capabilities = Bytes::from(vec![0xC0; 64 * 1024 + 1]);
    assert_eq!(groups(&a).update(&me).await.unwrap_err().kind(), ErrorKind::InvalidValue);

    assert_eq!(groups(&a).leave(&me).await.unwrap(), Left::Done);
    assert_eq!(groups(&a).leave(&me).await.unwrap(), Left::Absent);
    assert_eq!(groups(&a).update(&me).await.unwrap(), Updated::Absent);
    assert_eq!(roster(&a).await.members, []);
}

#[tokio::test]
async fn a_living_namesake_is_never_replaced_or_removed() {
    let root = Root::new();
    let (a, first) = joiner(&root, "m").await;
    let (b, second) = joiner(&root, "m").await;
    groups(&a).create(&first.group).await.unwrap();
    assert_eq!(groups(&a).join(&first).await.unwrap(), Joined::Done);

    assert_eq!(groups(&b).join(&second).await.unwrap(), Joined::Taken);
    let mut wrong = second.clone();
    wrong.replaces = Some(SessionId::random());
    assert_eq!(groups(&b).join(&wrong).await.unwrap(), Joined::Taken);
    assert_eq!(groups(&b).leave(&second).await.unwrap(), Left::Absent);
    assert_eq!(groups(&b).leave(&first).await.unwrap(), Left::Absent);
    assert_eq!(groups(&b).update(&first).await.unwrap(), Updated::Absent);
    assert_eq!(roster(&b).await.members[0].session, Some(first.session));
    drop(a);
    assert_eq!(groups(&b).join(&second).await.unwrap(), Joined::Done, "closed files are dead files");
}

/// Interleaving 22: re-joining after a loss replaces the own earlier entry, nobody else's.
#[tokio::test]
async fn a_lost_predecessor_gives_way_and_is_told() {
    let root = Root::new();
    let (a, first) = joiner(&root, "m").await;
    let (b, mut second) = joiner(&root, "m").await;
    groups(&a).create(&first.group).await.unwrap();
    groups(&a).join(&first).await.unwrap();
    let mut vigil = groups(&a).expelled(&first);
    assert!(is_pending(&mut vigil).await);

    second.replaces = Some(first.session);
    assert_eq!(groups(&b).join(&second).await.unwrap(), Joined::Done);
    soon(vigil).await;
    assert_eq!(groups(&a).leave(&first).await.unwrap(), Left::Absent);
    assert_eq!(roster(&a).await.members.len(), 1);
    assert_eq!(roster(&a).await.members[0].session, Some(second.session));
}

#[tokio::test]
async fn updating_expels_nobody_and_a_removed_file_does() {
    let root = Root::new();
    let (a, me) = joiner(&root, "m").await;
    groups(&a).create(&me.group).await.unwrap();
    soon(groups(&a).expelled(&me)).await;
    groups(&a).join(&me).await.unwrap();
    let mut vigil = groups(&a).expelled(&me);
    assert!(is_pending(&mut vigil).await);
    let before = roster(&a).await;
    groups(&a).update(&Enrolment { capabilities: Bytes::from_static(b"\x80"), ..me.clone() }).await.unwrap();
    soon(groups(&a).stirred(&me.group, Some(before.mark))).await;
    assert!(is_pending(&mut vigil).await);
    std::fs::remove_file(root.path().join("groups/g/m-m")).unwrap();
    soon(vigil).await;
}

#[tokio::test]
async fn a_group_with_a_living_member_is_not_deleted() {
    let root = Root::new();
    let (a, me) = joiner(&root, "m").await;
    let b = open(&root.path()).await;
    groups(&a).create(&me.group).await.unwrap();
    groups(&a).join(&me).await.unwrap();
    assert_eq!(groups(&b).delete(&me.group).await.unwrap(), Deleted::NotEmpty);
    assert_eq!(roster(&b).await.members.len(), 1);
    drop(a);
    assert_eq!(groups(&b).delete(&me.group).await.unwrap(), Deleted::Gone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_joins_while_the_group_is_deleted_is_in_it_or_told_so() {
    let root = Root::new();
    let deleter = open(&root.path()).await;
    let (a, me) = joiner(&root, "m").await;
    let (mut joined, mut missed) = (0, 0);
    for round in 0..200 {
        groups(&deleter).create(&me.group).await.unwrap();
        let (session, enrolment) = (a.clone(), me.clone());
        let join = tokio::spawn(async move { groups(&session).join(&enrolment).await.unwrap() });
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        let deleted = groups(&deleter).delete(&me.group).await.unwrap();
        match join.await.unwrap() {
            Joined::Done => {
                assert_eq!(deleted, Deleted::NotEmpty);
                assert_eq!(roster(&deleter).await.members.len(), 1);
                assert_eq!(groups(&a).leave(&me).await.unwrap(), Left::Done);
                groups(&deleter).delete(&me.group).await.unwrap();
                joined += 1;
            }
            Joined::NoGroup => {
                assert_eq!(deleted, Deleted::Gone);
                missed += 1;
            }
            Joined::Taken => panic!("nobody else is there"),
        }
    }
    assert_eq!(joined + missed, 200);
}

#[tokio::test]
async fn whoever_waits_at_the_gate_of_a_group_that_goes_does_not_join_its_ghost() {
    let root = Root::new();
    let (a, me) = joiner(&root, "m").await;
    groups(&a).create(&me.group).await.unwrap();
    let folder = root.path().join("groups/g");
    let gate = std::fs::File::options().write(true).open(folder.join("gate")).unwrap();
    gate.try_lock().unwrap();
    let mut join = groups(&a).join(&me);
    assert!(is_pending(&mut join).await);

    // As a deletion does, which holds the gate.
    std::fs::rename(&folder, root.beside("ghost")).unwrap();
    drop(gate);
    assert_eq!(soon(join).await.unwrap(), Joined::NoGroup);
    assert_eq!(std::fs::read_dir(root.beside("ghost")).unwrap().count(), 2, "only its gate and its name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_live_member_is_never_seen_gone_nor_its_capabilities_torn() {
    let root = Root::new();
    let (a, me) = joiner(&root, "m").await;
    groups(&a).create(&me.group).await.unwrap();
    let caps = |n: u8| Bytes::from(vec![n; 5000]);
    groups(&a).join(&Enrolment { capabilities: caps(0), ..me.clone() }).await.unwrap();
    let writer = tokio::spawn(async move {
        for n in (0..=255).cycle().take(1500) {
            groups(&a).update(&Enrolment { capabilities: caps(n), ..me.clone() }).await.unwrap();
        }
        a
    });
    let b = open(&root.path()).await;
    let mut looks = 0;
    while !writer.is_finished() || looks == 0 {
        let members = roster(&b).await.members;
        assert_eq!(members.len(), 1, "a live member was reported gone");
        let seen = &members[0].capabilities;
        assert!(seen.len() == 5000 && seen.iter().all(|byte| *byte == seen[0]), "torn");
        looks += 1;
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn watchers_hear_creation_joins_updates_leaves_and_deletion() {
    let root = Root::new();
    let (a, me) = joiner(&root, "m").await;
    let b = open(&root.path()).await;
    let group = me.group.clone();
    let mut wait = groups(&b).stirred(&group, None);
    assert!(is_pending(&mut wait).await);
    groups(&a).create(&name("other")).await.unwrap();
    groups(&a).create(&group).await.unwrap();
    soon(wait).await;

    let mut mark = roster(&b).await.mark;
    let mut wait = groups(&b).stirred(&group, Some(mark));
    assert!(is_pending(&mut wait).await);
    groups(&a).join(&me).await.unwrap();
    soon(wait).await;
    for step in 0..3 {
        mark = roster(&b).await.mark;
        match step {
            0 => drop(
                groups(&a)
                    .update(&Enrolment { capabilities: Bytes::from_static(b"\x80"), ..me.clone() })
                    .await,
            ),
            1 => drop(groups(&a).leave(&me).await),
            _ => drop(groups(&a).delete(&group).await),
        }
        // The wait begins after the change, and still hears of it.
        soon(groups(&b).stirred(&group, Some(mark))).await;
    }
    assert_eq!(groups(&b).members(&group).await.unwrap(), None);
}

#[tokio::test]
async fn planted_entries_are_no_members_and_stall_nobody() {
    let root = Root::new();
    let (a, me) = joiner(&root, "m").await;
    groups(&a).create(&me.group).await.unwrap();
    groups(&a).join(&me).await.unwrap();
    let folder = root.path().join("groups/g");
    std::fs::write(folder.join("m-dead"), "garbage").unwrap();
    std::fs::create_dir(folder.join("m-folder")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("m-link")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, folder.join("m-fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    let open = std::fs::File::create(folder.join("m-garbage")).unwrap();
    open.try_lock().unwrap();
    std::fs::create_dir(root.path().join("groups/%zz")).unwrap();
    std::fs::create_dir(root.path().join("groups/planted")).unwrap();
    std::fs::write(root.path().join("groups/notes"), "").unwrap();
    std::os::unix::fs::symlink("/etc", root.path().join("groups/elsewhere")).unwrap();
    let open_to_all = root.path().join("groups/open");
    std::fs::create_dir(&open_to_all).unwrap();
    std::fs::set_permissions(&open_to_all, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();

    assert_eq!(roster(&a).await.members.len(), 1);
    assert_eq!(groups(&a).list().await.unwrap(), [name("g")]);
    groups(&a).leave(&me).await.unwrap();
    drop(open);
    assert_eq!(groups(&a).delete(&me.group).await.unwrap(), Deleted::Gone);
    std::fs::remove_file(root.path().join("groups/notes")).unwrap();
    std::fs::remove_file(root.path().join("groups/elsewhere")).unwrap();
    a.close().await.unwrap();
    assert_eq!(leftovers(&root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_group_whose_gate_was_removed_is_none_and_can_be_made_anew() {
    let root = Root::new();
    let (a, me) = joiner(&root, "m").await;
    groups(&a).create(&me.group).await.unwrap();
    std::fs::remove_file(root.path().join("groups/g/gate")).unwrap();
    assert_eq!(groups(&a).join(&me).await.unwrap(), Joined::NoGroup);

    assert_eq!(groups(&a).create(&me.group).await.unwrap(), Created::New);
    assert_eq!(groups(&a).create(&me.group).await.unwrap(), Created::Existed);
    assert_eq!(groups(&a).join(&me).await.unwrap(), Joined::Done);
    assert_eq!(groups(&a).list().await.unwrap(), [me.group]);
}
