//! A session's life: closing, orphaning, losing the root, running out of things.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod common;

use common::*;
use tooz_core::backend::{Doubt, Joined, Turn, WakeUp};
use tooz_core::{Cause, ErrorKind};

#[tokio::test]
async fn close_gives_everything_back_and_ends_every_wait() {
    let root = Root::new();
    let opening = opening();
    let a = open_with(&root.path(), "", &opening).await.unwrap();
    let b = open(&root.path()).await;
    let (held, waits) = (exclusive("x"), exclusive("y"));
    take(&a, &held).await;
    take(&b, &exclusive("y")).await;
    let position = queue_up(&a, &waits).await;
    groups(&a).create(&name("g")).await.unwrap();
    let me = enrolment("g", "m", opening.session);
    assert_eq!(groups(&a).join(&me).await.unwrap(), Joined::Done);

    let (seat, group) = (lock("x"), name("g"));
    let mark = locks(&a).queue(&seat).await.unwrap().mark;
    let roster = groups(&a).members(&group).await.unwrap().unwrap().mark;
    let (turn, ousted, stirred, expelled, members, lost, closed) = tokio::join!(
        soon(locks(&a).turn(&waits, &position)),
        soon(locks(&a).ousted(&held)),
        soon(locks(&a).stirred(&seat, mark)),
        soon(groups(&a).expelled(&me)),
        soon(groups(&a).stirred(&group, Some(roster))),
        soon(a.lost()),
        a.close(),
    );
    closed.unwrap();
    assert_eq!((turn, ousted, stirred, expelled, members), (Turn::AskAgain, (), (), (), ()));
    assert_eq!(lost, Cause::Closed);

    assert_eq!(groups(&b).members(&group).await.unwrap().unwrap().members, []);
    take(&b, &exclusive("x")).await;
    assert_eq!(locks(&a).claim(&exclusive("z")).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(groups(&a).join(&me).await.unwrap_err().kind(), ErrorKind::Closed);
    a.close().await.unwrap();
    b.close().await.unwrap();
    assert_eq!(leftovers(&root.path()), Vec::<String>::new());
}

#[tokio::test]
async fn dropping_a_session_frees_what_it_held_at_once() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    take(&a, &exclusive("x")).await;
    let claim = exclusive("x");
    let position = queue_up(&b, &claim).await;
    drop(a);
    soon(locks(&b).turn(&claim, &position)).await;
    acquire(&b, &claim).await;
}

#[tokio::test]
async fn a_root_that_is_removed_or_moved_ends_the_session_and_a_touched_one_does_not() {
    for moved in [false, true] {
        let root = Root::new();
        let a = open(&root.path()).await;
        let (held, waits) = (exclusive("x"), exclusive("x"));
        take(&a, &held).await;
        let position = queue_up(&a, &waits).await;
        let (mut lost, mut turn) = (a.lost(), locks(&a).turn(&waits, &position));
        assert!(is_pending(&mut lost).await && is_pending(&mut turn).await);
        // Another session that comes and goes is no loss.
        open(&root.path()).await.close().await.unwrap();
        let other = exclusive("other");
        take(&a, &other).await;
        locks(&a).evict(&lock("other"), tooz_core::backend::Eviction::Notice, &[]).await.unwrap();
        soon(locks(&a).ousted(&other)).await;
        assert!(is_pending(&mut lost).await && is_pending(&mut turn).await);

        if moved {
            std::fs::rename(root.path(), root.beside("elsewhere")).unwrap();
        } else {
            std::fs::remove_dir_all(root.path()).unwrap();
        }
        assert_eq!(soon(lost).await, Cause::SessionEnded);
        soon(turn).await;
        soon(locks(&a).ousted(&held)).await;
        assert_eq!(locks(&a).claim(&exclusive("y")).await.unwrap_err().kind(), ErrorKind::SessionLost);
        let _ = a.close().await;
        assert!(!root.path().exists(), "nothing is made anew where the root was");
    }
}

#[tokio::test]
async fn a_runtime_that_ends_leaves_no_other_session_deaf() {
    let root = Root::new();
    let path = root.path();
    let first = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { open(&path).await })
    });
    let a = first.join().unwrap();
    let b = open(&root.path()).await;
    let (held, waits) = (exclusive("x"), exclusive("x"));
    take(&a, &held).await;
    let position = queue_up(&b, &waits).await;
    let turn = locks(&b).turn(&waits, &position);
    let (_, turn) = tokio::join!(locks(&a).withdraw(&held, Doubt::None), soon(turn));
    assert_eq!(turn, Turn::AskAgain);
    acquire(&b, &waits).await;
}

#[tokio::test]
async fn polling_is_declared_and_does_the_same() {
    let root = Root::new();
    let a = open_with(&root.path(), "?polling=true", &opening()).await.unwrap();
    assert_eq!(open(&root.path()).await.profile().locks.unwrap().wake_up, WakeUp::Push);
    assert_eq!(a.profile().locks.unwrap().wake_up, WakeUp::Poll);
    assert_eq!(a.profile().groups.unwrap().wake_up, WakeUp::Poll);
    let (first, second) = (exclusive("x"), exclusive("x"));
    take(&a, &first).await;
    queue_up(&a, &second).await;
    let seat = lock("x");
    let queue = locks(&a).queue(&seat).await.unwrap();
    let (_, (), _) = tokio::join!(
        acquire(&a, &second),
        async { soon(locks(&a).stirred(&seat, queue.mark)).await },
        locks(&a).withdraw(&first, Doubt::None)
    );
    let evicted = locks(&a).evict(&seat, tooz_core::backend::Eviction::Notice, &[]).await.unwrap();
    assert_eq!(evicted, [second.id]);
    soon(locks(&a).ousted(&second)).await;
    std::fs::remove_dir_all(root.path()).unwrap();
    assert_eq!(soon(a.lost()).await, Cause::SessionEnded);
}

/// The descriptors of this process that lead into a root.
fn descriptors(root: &std::path::Path) -> usize {
    let fds = std::fs::read_dir("/proc/self/fd").unwrap();
    fds.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
        .filter(|path| path.starts_with(root))
        .count()
}

#[tokio::test]
async fn every_descriptor_is_closed_on_exec_and_none_outlives_its_claim() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let idle = descriptors(&root.path());
    let (held, waits) = (exclusive("x"), exclusive("x"));
    take(&a, &held).await;
    queue_up(&a, &waits).await;
    locks(&a).try_claim(&shared("x")).await.unwrap();
    locks(&a).queue(&lock("x")).await.unwrap();
    let listed = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&listed.stdout).contains(root.path().to_str().unwrap()));

    assert_eq!(descriptors(&root.path()), idle + 4, "lock and record, lock and ticket");
    locks(&a).withdraw(&waits, Doubt::None).await.unwrap();
    locks(&a).withdraw(&held, Doubt::None).await.unwrap();
    assert_eq!(descriptors(&root.path()), idle);
    drop(a);
    assert_eq!(descriptors(&root.path()), 0);
}

#[tokio::test]
async fn a_value_too_large_is_refused_before_anything_happens() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let mut large = exclusive("x");
    large.value = vec![0; 64 * 1024 + 1].into();
    assert_eq!(locks(&a).claim(&large).await.unwrap_err().kind(), ErrorKind::InvalidValue);
    assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders, []);
    take(&a, &exclusive("x")).await;
}

/// Whoever opens a session sweeps up what dead ones left, and must not sweep one that is just being made.
#[test]
fn sessions_opened_and_ended_by_many_at_once_do_not_sweep_each_other_away() {
    let root = Root::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..60 {
                        let session = open(&root.path()).await;
                        session.close().await.unwrap();
                    }
                });
            });
        }
    });
}

#[tokio::test]
async fn what_a_maker_left_that_was_killed_half_way_is_swept_after_a_minute() {
    let root = Root::new();
    open(&root.path()).await.close().await.unwrap();
    let unborn = |id: char| root.path().join("sessions").join(format!(".{}", id.to_string().repeat(32)));
    for id in ['a', 'b'] {
        std::fs::create_dir(unborn(id)).unwrap();
    }
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(120);
    std::fs::File::open(unborn('a')).unwrap().set_modified(old).unwrap();

    open(&root.path()).await.close().await.unwrap();

    assert!(!unborn('a').exists() && unborn('b').exists());
}
