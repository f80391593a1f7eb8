//! The instant between what the kernel announces and what it does: a file of somebody who is killed is closed first,
//! and unlocked a little later, without a word. Here a lock is given back by a descriptor that only reads, whose
//! closing nobody hears.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::*;
use rustix::fs::FlockOperation;
use tooz_core::backend::{Doubt, Joined, Limit, Publication, Turn};
use tooz_core::{Channel, MessageId};

/// Locks a file through a descriptor that only reads.
fn lock_silently(path: &Path) -> File {
    let file = File::open(path).unwrap();
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    file
}

/// Announces a closing.
fn close_a_writer(path: &Path) {
    drop(File::options().write(true).open(path).unwrap());
}

#[tokio::test]
async fn a_waiter_that_is_woken_before_the_lock_is_free_still_gets_it() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let first = exclusive("x");
    take(&a, &first).await;
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    let path = root.path().join("locks/x/lock");
    let dying = lock_silently(&path);
    let second = exclusive("x");
    let mut position = queue_up(&a, &second).await;
    for _ in 0..3 {
        assert!(position.revisit.is_some(), "a wait begins with looks");
        position = queue_up(&a, &second).await;
    }
    assert_eq!(position.revisit, None, "a waiter that was not woken polls");

    close_a_writer(&path);
    assert_eq!(soon(locks(&a).turn(&second, &position)).await, Turn::AskAgain);
    let position = queue_up(&a, &second).await;
    drop(dying);

    assert_eq!(wait(&a, &second, &position).await, Turn::AskAgain);
    take(&a, &second).await;
}

/// The closing is not heard by a claim that comes after it, and the unlocking by nobody.
#[tokio::test]
async fn a_waiter_that_comes_between_the_closing_and_the_unlocking_still_gets_the_lock() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let first = exclusive("x");
    take(&a, &first).await;
    locks(&a).withdraw(&first, Doubt::None).await.unwrap();
    let dying = lock_silently(&root.path().join("locks/x/lock"));
    let second = exclusive("x");
    let position = queue_up(&a, &second).await;
    drop(dying);

    assert_eq!(wait(&a, &second, &position).await, Turn::AskAgain);
    take(&a, &second).await;
}

/// The one in the middle is killed: its ticket is closed, and still locked for an instant.
#[tokio::test]
async fn a_waiter_passes_over_a_ticket_that_is_closed_before_it_is_unlocked() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    let (holder, dying, last) = (exclusive("x"), exclusive("x"), exclusive("x"));
    take(&a, &holder).await;
    queue_up(&b, &dying).await;
    let seat = root.path().join("locks/x");
    let tickets = std::fs::read_dir(&seat).unwrap().map(|entry| entry.unwrap().path());
    let ticket = tickets.into_iter().find(|path| path.display().to_string().contains("/q-")).unwrap();
    // The same ticket, but its owner is a descriptor of ours.
    locks(&b).withdraw(&dying, Doubt::None).await.unwrap();
    File::create(&ticket).unwrap();
    let dying = lock_silently(&ticket);
    let position = queue_up(&a, &last).await;
    locks(&a).withdraw(&holder, Doubt::None).await.unwrap();

    close_a_writer(&ticket);
    assert_eq!(soon(locks(&a).turn(&last, &position)).await, Turn::AskAgain);
    let position = queue_up(&a, &last).await;
    drop(dying);

    assert_eq!(wait(&a, &last, &position).await, Turn::AskAgain);
    take(&a, &last).await;
}

#[tokio::test]
async fn a_watcher_sees_a_member_go_that_is_unlocked_without_a_word() {
    let root = Root::new();
    let opening = opening();
    let a = open_with(&root.path(), "", &opening).await.unwrap();
    groups(&a).create(&name("g")).await.unwrap();
    let ghost = enrolment("g", "ghost", opening.session);
    groups(&a).join(&ghost).await.unwrap();
    let path = root.path().join("groups/g/m-ghost");
    let record = std::fs::read(&path).unwrap();
    groups(&a).leave(&ghost).await.unwrap();
    std::fs::write(&path, record).unwrap();
    let dying = lock_silently(&path);
    let group = name("g");
    let roster = groups(&a).members(&group).await.unwrap().unwrap();
    assert_eq!(roster.members.len(), 1);

    let mut stirred = groups(&a).stirred(&group, Some(roster.mark));
    assert!(is_pending(&mut stirred).await);
    drop(dying);

    soon(stirred).await;
    assert_eq!(groups(&a).members(&group).await.unwrap().unwrap().members, []);
}

#[tokio::test]
async fn an_observer_sees_a_holder_go_that_is_unlocked_without_a_word() {
    let root = Root::new();
    let (a, b) = (open(&root.path()).await, open(&root.path()).await);
    let holder = exclusive("x");
    take(&b, &holder).await;
    let seat = root.path().join("locks/x");
    let records = std::fs::read_dir(&seat).unwrap().map(|entry| entry.unwrap().path());
    let record = records.into_iter().find(|path| path.display().to_string().contains("/h-")).unwrap();
    locks(&b).withdraw(&holder, Doubt::None).await.unwrap();
    File::create(&record).unwrap();
    let dying = lock_silently(&record);
    let queue = locks(&a).queue(&holder.seat).await.unwrap();
    assert_eq!(queue.holders.len(), 1);

    let mut stirred = locks(&a).stirred(&holder.seat, queue.mark);
    assert!(is_pending(&mut stirred).await);
    drop(dying);

    soon(stirred).await;
    assert_eq!(locks(&a).queue(&holder.seat).await.unwrap().holders, []);
}

#[tokio::test]
async fn whoever_waits_at_a_gate_that_is_unlocked_without_a_word_gets_in() {
    let root = Root::new();
    let opening = opening();
    let a = open_with(&root.path(), "", &opening).await.unwrap();
    groups(&a).create(&name("g")).await.unwrap();
    let owner = lock_silently(&root.path().join("groups/g/gate"));
    let me = enrolment("g", "me", opening.session);

    let mut join = groups(&a).join(&me);
    assert!(is_pending(&mut join).await);
    drop(owner);

    assert_eq!(soon(join).await.unwrap(), Joined::Done);
}

/// A child that another thread forks while a message is written has a copy of the index, and closes it when it ends.
#[tokio::test]
async fn a_message_is_heard_of_when_it_is_written_however_long_its_file_stays_open() {
    let root = Root::new();
    let a = open(&root.path()).await;
    let channel = Channel::Topic(name("news"));
    let path = root.path().join("topics/t-news/x-00000000000000000001");
    let mut indexes = Vec::new();
    for text in ["one", "two"] {
        let publication = Publication {
            id: MessageId::random(),
            channel: channel.clone(),
            sender: name("me"),
            body: text.into(),
        };
        a.topics().unwrap().publish(&publication).await.unwrap();
        indexes.push(std::fs::read(&path).unwrap());
    }
    // The same once more, by somebody who does not close.
    let end = indexes[0].len() as u64;
    let open = File::options().write(true).open(&path).unwrap();
    open.set_len(end).unwrap();
    let all = Limit { messages: usize::MAX, bytes: usize::MAX };
    let before = a.topics().unwrap().fetch(&channel, None, all).await.unwrap();
    assert_eq!(before.messages.len(), 1);
    let mut stirred = a.topics().unwrap().stirred(&channel, before.mark);
    assert!(is_pending(&mut stirred).await);

    open.write_all_at(&indexes[1][indexes[0].len()..], end).unwrap();

    soon(stirred).await;
    let now = a.topics().unwrap().fetch(&channel, None, all).await.unwrap();
    assert_eq!(now.messages.len(), 2);
}
