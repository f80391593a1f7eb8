//! Fencing tokens, and the counter they come from.
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
use tooz_core::backend::{Doubt, Standing};
use tooz_core::{ErrorKind, FencingToken};

#[tokio::test]
async fn tokens_go_on_when_the_wall_clock_was_set_back() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let claim = exclusive("x");
    take(&a, &claim).await;
    locks(&a).withdraw(&claim, Doubt::None).await.unwrap();

    // As after a reboot whose clock is a century behind: the counter is ahead of it.
    let ahead = 4_900_000_000_000_000_u64;
    std::fs::write(root.path().join("locks/x/counter"), format!("{ahead:020}\n")).unwrap();
    for nth in 1..=2 {
        let claim = exclusive("x");
        assert_eq!(take(&a, &claim).await.token, FencingToken::new(ahead + nth));
        locks(&a).withdraw(&claim, Doubt::None).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_counter_is_an_error_that_says_what_to_do_and_holds_nothing() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let claim = exclusive("x");
    let token = take(&a, &claim).await.token;
    locks(&a).withdraw(&claim, Doubt::None).await.unwrap();
    let counter = root.path().join("locks/x/counter");

    for damage in ["garbage", "17", "99999999999999999999\n", "18446744073709551615\n"] {
        std::fs::write(&counter, damage).unwrap();
        let error = locks(&a).claim(&exclusive("x")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.to_string().contains("20 digits"), "{error}");
        assert_eq!(locks(&a).queue(&lock("x")).await.unwrap().holders, []);
    }
    // Emptied, as a power cut may leave it: the wall clock carries on.
    std::fs::write(&counter, "").unwrap();
    assert!(take(&a, &exclusive("x")).await.token > token);
}

#[tokio::test]
async fn a_stopped_owner_of_the_counter_costs_a_claim_its_time_and_not_the_thread() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let claim = exclusive("x");
    take(&a, &claim).await;
    locks(&a).withdraw(&claim, Doubt::None).await.unwrap();
    let mut opening = opening();
    opening.timeout = std::time::Duration::from_millis(50);
    let b = open_with(&root.path(), "", &opening).await.unwrap();

    let counter = std::fs::File::options().write(true).open(root.path().join("locks/x/counter")).unwrap();
    counter.try_lock().unwrap();
    let error = locks(&b).claim(&exclusive("x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.to_string().contains("locks/x/counter"), "{error}");

    let waiting = exclusive("x");
    let (standing, ()) = tokio::join!(locks(&a).claim(&waiting), async { drop(counter) });
    assert!(matches!(standing.unwrap(), Standing::Held(_)), "the failed claim kept something");
}

/// Interleaving 20: two readers must not read the same "last".
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_that_come_at_once_draw_different_tokens() {
    let root = Root::new();
    let mut readers = Vec::new();
    for _ in 0..16 {
        let session = open(&root.path()).await;
        readers.push(tokio::spawn(async move { (take(&session, &shared("x")).await.token, session) }));
    }
    let mut tokens = Vec::new();
    let mut sessions = Vec::new();
    for reader in readers {
        let (token, session) = reader.await.unwrap();
        tokens.push(token);
        sessions.push(session);
    }
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 16);
}
