//! A process that forks and goes on in both: each hears for itself.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use common::*;
use fork::{Fork, fork, waitpid};
use tokio::runtime::{Builder, Runtime};
use tooz_core::Cause;
use tooz_core::backend::Doubt;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Waits for the parent's lock in a session of its own.
fn in_the_child(root: &Path, inherited: Session) {
    runtime().block_on(async {
        let session = open(root).await;
        drop(inherited);
        let claim = exclusive("x");
        acquire(&session, &claim).await;
        locks(&session).withdraw(&claim, Doubt::None).await.unwrap();
    });
}

#[test]
fn a_forked_child_hears_for_itself_and_leaves_its_parent_hearing() {
    let root = Root::new();
    let runtime = runtime();
    let held = exclusive("x");
    let parent = runtime.block_on(async {
        let parent = open(&root.path()).await;
        take(&parent, &held).await;
        parent
    });
    let child = match fork().unwrap() {
        Fork::Child => {
            let done = catch_unwind(AssertUnwindSafe(|| in_the_child(&root.path(), parent)));
            std::process::exit(i32::from(done.is_err()));
        }
        Fork::Parent(child) => child,
    };

    runtime.block_on(async {
        queue_when(&parent, &held.seat, |queue| !queue.waiting.is_empty()).await;
        locks(&parent).withdraw(&held, Doubt::None).await.unwrap();
    });
    assert_eq!(waitpid(child).unwrap(), 0, "the child heard nothing");

    runtime.block_on(async {
        let mut lost = parent.lost();
        assert!(is_pending(&mut lost).await);
        std::fs::remove_dir_all(root.path()).unwrap();
        assert_eq!(soon(lost).await, Cause::SessionEnded);
    });
}
