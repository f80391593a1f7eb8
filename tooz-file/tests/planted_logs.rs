//! Logs of topics that somebody wrote by hand, checks and all: they are read or refused, and never a panic.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use common::*;
use rustix::fs::{CWD, FileType, Mode as Bits, makedev, mknodat};
use tooz_core::backend::{Limit, Publication, Retention, TopicSteps};
use tooz_core::{Channel, MessageId, Offset};

const ALL: Limit = Limit { messages: usize::MAX, bytes: usize::MAX };

fn topics(session: &Session) -> &dyn TopicSteps {
    session.topics().unwrap()
}

fn publication(topic: &str) -> Publication {
    Publication { id: MessageId::random(), channel: channel(topic), sender: name("me"), body: "x".into() }
}

fn channel(topic: &str) -> Channel {
    Channel::Topic(name(topic))
}

/// A block as the driver writes it: its content and the check that belongs to it.
fn block(content: &[&[u8]]) -> Vec<u8> {
    let mut block = content.concat();
    block.resize(60, 0);
    let check = crc32fast::hash(&block).to_le_bytes();
    [block, check.to_vec()].concat()
}

fn header(first: u64) -> Vec<u8> {
    block(&[b"tooz-file log 1\n", &[7; 16], &first.to_le_bytes()])
}

fn entry(number: u64, position: u64, length: u32, sender: u16) -> Vec<u8> {
    block(&[
        &[9; 16],
        &number.to_le_bytes(),
        &u64::MAX.to_le_bytes(),
        &position.to_le_bytes(),
        &length.to_le_bytes(),
        &sender.to_le_bytes(),
        &[0; 2],
        &crc32fast::hash(b"me").to_le_bytes(),
    ])
}

fn folder(root: &Path, topic: &str) -> std::path::PathBuf {
    let folder = root.join(format!("topics/t-{topic}"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::set_permissions(root.join("topics"), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    folder
}

/// Everything that a member does with a topic. Errors are welcome, panics are not.
async fn use_it(session: &Session, topic: &str) {
    let (topics, channel) = (topics(session), channel(topic));
    let first = soon(topics.fetch(&channel, None, ALL)).await;
    let mut known: Vec<Offset> = first.iter().flat_map(|batch| &batch.messages).map(|it| it.offset).collect();
    known.extend(first.iter().filter_map(|batch| batch.last));
    known.extend(soon(topics.publish(&publication(topic))).await.ok());
    let known_life = known.first().map(|offset| offset.incarnation());
    known.extend(
        known_life.into_iter().flat_map(|life| [0, 1, u64::MAX].map(|number| Offset::new(life, number, 0))),
    );
    for offset in known {
        let _ = soon(topics.fetch(&channel, Some(offset), ALL)).await;
    }
    for count in [0, 1, u64::MAX] {
        let _ = soon(topics.trim(&channel, Retention { count, age: Duration::ZERO })).await;
    }
    let _ = soon(topics.publish(&publication(topic))).await;
}

#[tokio::test]
async fn logs_whose_numbers_come_to_an_end_are_read_or_refused() {
    let root = Root::new();
    let session = open(&root.path()).await;
    let mut nth = 0;
    for first in [0, 1, 2, u64::MAX - 4095, u64::MAX - 1, u64::MAX] {
        for (position, length, sender) in [
            (0, 2, 2),
            (0, 0, 0),
            (0, u32::MAX, 2),
            (u64::MAX, u32::MAX, u16::MAX),
            (u64::MAX, 0, 0),
            (1 << 62, 2, 2),
        ] {
            for head in [None, Some(0), Some(u64::MAX)] {
                let topic = format!("n{nth}");
                nth += 1;
                let folder = folder(&root.path(), &topic);
                let entries = (0..3).map(|at| entry(first.saturating_add(at), position, length, sender));
                let index = [vec![header(first)], entries.collect()].concat().concat();
                std::fs::write(folder.join(format!("x-{first:020}")), &index).unwrap();
                std::fs::write(folder.join(format!("d-{first:020}")), "mememe").unwrap();
                // A second one that begins where nothing can follow.
                std::fs::write(folder.join(format!("x-{:020}", u64::MAX)), header(u64::MAX)).unwrap();
                if let Some(head) = head {
                    let number = u64::to_le_bytes(head);
                    let check = crc32fast::hash(&number).to_le_bytes();
                    std::fs::write(folder.join("head"), [number.as_slice(), &check].concat()).unwrap();
                }
                use_it(&session, &topic).await;
            }
        }
    }
    let said = topics(&session).publish(&publication("whole")).await.unwrap();
    assert_eq!(said.number(), 1, "no other topic is touched");
}

/// Plants one thing of each kind in place of each file of a topic, the topic's folder and the folder of all topics.
#[tokio::test]
async fn planted_things_in_a_topic_are_never_followed_nor_waited_for() {
    let root = Root::new();
    let session = open(&root.path()).await;
    topics(&session).publish(&publication("news")).await.unwrap();
    let folder = root.path().join("topics/t-news");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.extend([folder.join("head"), root.path().join("topics/t-other")]);
    let victim = root.beside("victim");
    for path in files {
        let kept = std::fs::read(&path).ok();
        for kind in ["symlink", "dangling symlink", "fifo", "folder", "hard link", "device"] {
            std::fs::write(&victim, "precious").unwrap();
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
            match kind {
                "symlink" => symlink(&victim, &path).unwrap(),
                "dangling symlink" => symlink(victim.with_extension("none"), &path).unwrap(),
                "fifo" => mknodat(CWD, &path, FileType::Fifo, Bits::RWXU, 0).unwrap(),
                "folder" => std::fs::create_dir(&path).unwrap(),
                "hard link" => std::fs::hard_link(&victim, &path).unwrap(),
                _ => {
                    assert_root();
                    mknodat(CWD, &path, FileType::CharacterDevice, Bits::RWXU, makedev(1, 5)).unwrap();
                }
            }
            use_it(&open(&root.path()).await, "news").await;
            use_it(&session, "other").await;
            assert_eq!(std::fs::read(&victim).unwrap(), b"precious", "{path:?} as a {kind}");
            assert!(!victim.with_extension("none").exists(), "{path:?} as a {kind}");
            let removed = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
            assert!(removed.is_ok() || !path.exists(), "{path:?} as a {kind}");
        }
        if let Some(kept) = kept {
            std::fs::write(&path, kept).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    assert_eq!(topics(&session).publish(&publication("third")).await.unwrap().number(), 1);
}
