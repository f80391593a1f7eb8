//! What somebody else put where our files belong, and directories nobody should use.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::*;
use rustix::fs::{CWD, FileType, Mode as Bits, mknodat};
use tooz_core::backend::{Deleted, Doubt, Joined, Left};
use tooz_core::{ErrorKind, Mode};

async fn refused(root: &Path) -> tooz_core::Error {
    match open_with(root, "", &opening()).await {
        Ok(_) => panic!("{root:?} was accepted"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_root_that_is_unsafe_is_refused_with_a_sentence() {
    let root = Root::new();
    let real = root.beside("real");
    std::fs::create_dir(&real).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o700)).unwrap();

    symlink(&real, root.beside("link")).unwrap();
    let error = refused(&root.beside("link")).await;
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("symbolic link"), "{error}");

    std::fs::write(root.beside("file"), "").unwrap();
    let error = refused(&root.beside("file")).await;
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("not a directory"), "{error}");
    let error = refused(&root.beside("file/below")).await;
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("not a directory"), "{error}");

    for mode in [0o777, 0o770, 0o702] {
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = refused(&real).await;
        assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("chmod 700"), "{error}");
    }
    assert_eq!(std::fs::read_dir(&real).unwrap().count(), 0, "nothing was put into a refused root");
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o1777)).unwrap();
    open(&real).await.close().await.unwrap();
}

#[tokio::test]
async fn a_root_of_somebody_else_is_refused() {
    assert_root();
    let root = Root::new();
    std::fs::create_dir(root.path()).unwrap();
    std::os::unix::fs::chown(root.path(), Some(4711), None).unwrap();
    let error = refused(&root.path()).await;
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("somebody else"), "{error}");
}

#[tokio::test]
async fn a_missing_root_is_made_with_its_parents_for_us_alone() {
    let root = Root::new();
    let deep = root.path().join("a/b");
    let a = open(&deep).await;
    take(&a, &exclusive("x")).await;
    let mut folders = vec![root.path()];
    while let Some(folder) = folders.pop() {
        assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o7777, 0o700, "{folder:?}");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600, "{path:?}");
            }
        }
    }
}

/// Interleaving 29: a newer format is refused, with what to do.
#[tokio::test]
async fn a_newer_or_foreign_format_is_refused_and_nothing_is_changed() {
    let root = Root::new();
    open(&root.path()).await.close().await.unwrap();
    let format = root.path().join("format");
    assert_eq!(std::fs::read_to_string(&format).unwrap(), "tooz-file 1\n");
    std::fs::write(&format, "tooz-file 2\n").unwrap();
    let error = refused(&root.path()).await;
    assert!(error.kind() == ErrorKind::Unsupported && error.to_string().contains("update"), "{error}");
    for text in ["tooz-file 0\n", "something else"] {
        std::fs::write(&format, text).unwrap();
        assert_eq!(refused(&root.path()).await.kind(), ErrorKind::Corrupt);
        assert_eq!(std::fs::read_to_string(&format).unwrap(), text);
    }
}

/// Plants one thing of each kind at a path and hands it to the check.
async fn with_planted(path: &Path, victim: &Path, mut check: impl AsyncFnMut(&str)) {
    for kind in ["symlink", "dangling symlink", "fifo", "folder", "hard link", "device", "socket"] {
        let _ = std::fs::remove_file(path);
        match kind {
            "symlink" => symlink(victim, path).unwrap(),
            "dangling symlink" => symlink(victim.with_extension("none"), path).unwrap(),
            "fifo" => mknodat(CWD, path, FileType::Fifo, Bits::RWXU, 0).unwrap(),
            "folder" => std::fs::create_dir(path).unwrap(),
            "hard link" => std::fs::hard_link(victim, path).unwrap(),
            "socket" => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
            _ => {
                assert_root();
                mknodat(CWD, path, FileType::CharacterDevice, Bits::RWXU, rustix::fs::makedev(1, 5)).unwrap()
            }
        }
        check(kind).await;
        assert!(path.symlink_metadata().is_ok(), "the planted {kind} was removed");
        if kind == "folder" {
            std::fs::remove_dir(path).unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
        assert_eq!(std::fs::read_to_string(victim).unwrap(), "precious");
        assert!(!victim.with_extension("none").exists());
    }
}

#[tokio::test]
async fn planted_locks_counters_and_formats_are_errors_and_never_followed() {
    let root = Root::new();
    let victim = root.beside("victim");
    std::fs::write(&victim, "precious").unwrap();
    let a = open(&root.path()).await;
    for file in ["lock", "counter"] {
        let seat = root.path().join("locks/x");
        std::fs::create_dir_all(&seat).unwrap();
        std::fs::set_permissions(&seat, std::fs::Permissions::from_mode(0o700)).unwrap();
        with_planted(&seat.join(file), &victim, async |kind| {
            let error = soon(locks(&a).claim(&exclusive("x"))).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{file} is a {kind}: {error}");
            let error = soon(locks(&a).try_claim(&shared("x"))).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{file} is a {kind}: {error}");
            assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders, []);
        })
        .await;
    }
    std::fs::remove_file(root.path().join("format")).unwrap();
    with_planted(&root.path().join("format"), &victim, async |kind| {
        let error = refused(&root.path()).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "format is a {kind}: {error}");
    })
    .await;
    take(&a, &exclusive("x")).await;
}

#[tokio::test]
async fn planted_tickets_and_records_stall_nobody() {
    let root = Root::new();
    let victim = root.beside("victim");
    std::fs::write(&victim, "precious").unwrap();
    let a = open(&root.path()).await;
    let first = exclusive("x");
    take(&a, &first).await;
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    for place in ["q", "h", "t", "x"] {
        let name = format!("{place}-00000000000000000001-{}-x-0000000000000000", "a".repeat(32));
        with_planted(&root.path().join("locks/x").join(name), &victim, async |_| {
            let claim = exclusive("x");
            assert!(locks(&a).try_claim(&claim).await.unwrap().is_some());
            assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders.len(), 1);
            let next = exclusive("x");
            queue_up(&a, &next).await;
            locks(&a).withdraw(&claim, Doubt::None).await.unwrap();
            acquire(&a, &next).await;
            locks(&a).withdraw(&next, Doubt::None).await.unwrap();
        })
        .await;
    }
}

/// In a group's folder too: no member, and nobody waits for it.
#[tokio::test]
async fn planted_members_are_none_and_stall_nobody() {
    let root = Root::new();
    let victim = root.beside("victim");
    std::fs::write(&victim, "precious").unwrap();
    let opening = opening();
    let a = open_with(&root.path(), "", &opening).await.unwrap();
    let me = enrolment("g", "me", opening.session);
    groups(&a).create(&me.group).await.unwrap();
    let ghost = root.path().join("groups/g/m-ghost");
    let alone = async |kind: &str| {
        assert_eq!(soon(groups(&a).join(&me)).await.unwrap(), Joined::Done, "beside a {kind}");
        let roster = soon(groups(&a).members(&me.group)).await.unwrap().unwrap();
        let members: Vec<_> = roster.members.iter().map(|entry| entry.member.as_str()).collect();
        assert_eq!(members, ["me"], "a {kind} is a member");
        assert_eq!(soon(groups(&a).delete(&me.group)).await.unwrap(), Deleted::NotEmpty);
        assert_eq!(soon(groups(&a).leave(&me)).await.unwrap(), Left::Done, "beside a {kind}");
    };
    with_planted(&ghost, &victim, async |kind| alone(kind).await).await;
    for (kind, content) in [("empty record", String::new()), ("giant", "1 ".repeat(1 << 20))] {
        std::fs::write(&ghost, content).unwrap();
        alone(kind).await;
    }
}

#[tokio::test]
async fn an_unreadable_record_of_a_living_holder_still_holds() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    let first = exclusive("x");
    take(&a, &first).await;
    for entry in std::fs::read_dir(root.path().join("locks/x")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("h-") {
            std::fs::write(path, vec![b'\n'; 1 << 20]).unwrap();
        }
    }
    let queue = locks(&b).queue(&lock("x")).await.unwrap();
    assert_eq!((queue.holders[0].claim, queue.holders[0].member.clone()), (Some(first.id), None));
    assert_eq!(locks(&b).try_claim(&exclusive("x")).await.unwrap(), None);
}

#[tokio::test]
async fn a_planted_seat_folder_is_an_error() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let outside = root.beside("outside");
    std::fs::create_dir(&outside).unwrap();
    symlink(&outside, root.path().join("locks/x")).unwrap();
    assert_eq!(locks(&a).claim(&exclusive("x")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::write(root.path().join("groups/g"), "").unwrap();
    assert_eq!(groups(&a).create(&name("g")).await.unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::create_dir(root.path().join("locks/open")).unwrap();
    std::fs::set_permissions(root.path().join("locks/open"), std::fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(
        locks(&a).claim(&claim(&lock("open"), Mode::Shared)).await.unwrap_err().kind(),
        ErrorKind::Denied
    );
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
}
