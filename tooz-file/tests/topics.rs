//! Topics on disk: what a publisher that dies leaves, what somebody changed, what comes from a copy.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use common::peer::{Peer, serve};
use common::*;
use tooz_core::backend::{Batch, Limit, Publication, Retention, TopicSteps};
use tooz_core::{Channel, ErrorKind, MessageId, Offset};

const ALL: Limit = Limit { messages: usize::MAX, bytes: usize::MAX };

#[tokio::test]
#[ignore = "the other process of these tests"]
async fn second_process() {
    serve().await;
}

fn news() -> Channel {
    Channel::Topic(name("news"))
}

fn topics(session: &Session) -> &dyn TopicSteps {
    session.topics().unwrap()
}

async fn say(session: &Session, body: impl Into<Bytes>) -> Offset {
    let publication =
        Publication { id: MessageId::random(), channel: news(), sender: name("me"), body: body.into() };
    topics(session).publish(&publication).await.unwrap()
}

async fn read(session: &Session, after: Option<Offset>) -> Batch {
    topics(session).fetch(&news(), after, ALL).await.unwrap()
}

fn shown(batch: &Batch) -> Vec<(u64, String)> {
    let text = |message: &tooz_core::Message| {
        (message.offset.number(), String::from_utf8_lossy(&message.payload).into_owned())
    };
    batch.messages.iter().map(text).collect()
}

fn numbered(texts: &[&str]) -> Vec<(u64, String)> {
    (1..).zip(texts.iter().map(|text| (*text).to_owned())).collect()
}

fn folder(root: &Root) -> PathBuf {
    root.path().join("topics/t-news")
}

fn first_segment(root: &Root) -> [PathBuf; 2] {
    ["d-", "x-"].map(|kind| folder(root).join(format!("{kind}{:020}", 1)))
}

fn overwrite(path: &Path, at: usize, byte: u8) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= byte;
    std::fs::write(path, bytes).unwrap();
}

/// A call may be polled once, find others at the gate, and then stand still: those after it go on without it.
#[tokio::test]
async fn a_publish_that_nobody_polls_further_holds_up_no_other() {
    let root = Root::new();
    let session = open(&root.path()).await;
    say(&session, "one").await;
    let gate = std::fs::File::options().write(true).open(folder(&root).join("gate")).unwrap();
    gate.try_lock().unwrap();
    let mut parked = [say(&session, "first parked"), say(&session, "second parked")].map(Box::pin);
    for call in &mut parked {
        assert!(poll_once(call.as_mut()).is_none());
    }
    // Whatever they have begun comes to the gate.
    tokio::task::yield_now().await;
    drop(gate);
    let two = tokio::time::timeout(Duration::from_secs(5), say(&session, "two")).await;
    two.expect("a publish of its own");
    for call in parked {
        call.await;
    }
    let expected = numbered(&["one", "first parked", "second parked", "two"]);
    assert_eq!(shown(&read(&session, None).await), expected);
}

/// A publisher dies after any byte it wrote: its message was never there, and the next one takes its place.
#[tokio::test]
async fn a_death_at_any_byte_of_an_append_leaves_no_torn_message() {
    let root = Root::new();
    let session = open(&root.path()).await;
    say(&session, "one").await;
    say(&session, "two").await;
    let files = first_segment(&root);
    let before = files.each_ref().map(|path| std::fs::read(path).unwrap());
    say(&session, "three, which is longer").await;
    let after = files.each_ref().map(|path| std::fs::read(path).unwrap());
    session.close().await.unwrap();

    let mut deaths = Vec::new();
    for data in before[0].len()..=after[0].len() {
        deaths.push((data, before[1].len()));
    }
    for index in before[1].len()..after[1].len() {
        deaths.push((after[0].len(), index));
    }
    for (data, index) in deaths {
        std::fs::write(&files[0], &after[0][..data]).unwrap();
        std::fs::write(&files[1], &after[1][..index]).unwrap();
        let session = open(&root.path()).await;
        assert_eq!(shown(&read(&session, None).await), numbered(&["one", "two"]), "{data} {index}");
        assert_eq!(say(&session, "other").await.number(), 3);
        assert_eq!(say(&session, "").await.number(), 4);
        let reader = open(&root.path()).await;
        assert_eq!(shown(&read(&reader, None).await), numbered(&["one", "two", "other", ""]));
        assert_eq!(std::fs::metadata(&files[0]).unwrap().len(), before[0].len() as u64 + 2 + 5 + 2);
    }
}

/// The same while a segment is begun.
#[tokio::test]
async fn a_death_at_any_byte_of_a_new_segment_leaves_the_log_as_it_was() {
    let root = Root::new();
    let session = open(&root.path()).await;
    for _ in 0..8 {
        say(&session, vec![b'x'; 1024 * 1024]).await;
    }
    let last = say(&session, "first of the next").await;
    let path = folder(&root).join(format!("x-{:020}", 9));
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(whole.len(), 128, "the ninth message begins a segment");
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let session = open(&root.path()).await;
        let batch = topics(&session).fetch(&news(), None, Limit::NONE).await.unwrap();
        assert_eq!(batch.last.unwrap().number(), 8, "{length}");
        let again = say(&session, "again").await;
        assert_eq!((again.number(), again.incarnation()), (9, last.incarnation()));
        let ninth = batch.last;
        assert_eq!(shown(&read(&session, ninth).await), [(9, "again".to_owned())]);
    }
}

/// What the power took or somebody changed is left out, by a number that nobody is given, and stalls nobody.
#[tokio::test]
async fn damaged_messages_are_left_out_and_the_rest_goes_on() {
    let root = Root::new();
    let session = open(&root.path()).await;
    let mut offsets = Vec::new();
    for text in ["one", "two", "three", "four"] {
        offsets.push(say(&session, text).await);
    }
    let [data, index] = first_segment(&root);
    // "me" and "one" and another "me" come before the second message's body.
    overwrite(&data, 8, 0xff);
    overwrite(&index, 64 * 3 + 17, 0xff);
    let reader = open(&root.path()).await;
    let left = [(1, "one".to_owned()), (4, "four".to_owned())];
    assert_eq!(shown(&read(&reader, None).await), left);
    assert_eq!(read(&reader, Some(offsets[0])).await.last, Some(offsets[3]));
    assert_eq!(say(&reader, "five").await.number(), 5);
    assert_eq!(shown(&read(&reader, Some(offsets[3])).await), [(5, "five".to_owned())]);

    // A head that is none: nothing is taken for gone.
    topics(&reader).trim(&news(), Retention { count: 1, age: Duration::from_secs(60) }).await.unwrap();
    assert_eq!(shown(&read(&reader, None).await), [(5, "five".to_owned())]);
    overwrite(&folder(&root).join("head"), 0, 1);
    assert_eq!(shown(&read(&reader, None).await).len(), 3);
}

/// What cannot be read takes no room from what follows: an empty batch says that there is nothing more.
#[tokio::test]
async fn unreadable_messages_never_hide_what_follows_them() {
    const MEGABYTE: Limit = Limit { messages: 512, bytes: 1024 * 1024 };
    let root = Root::new();
    let session = open(&root.path()).await;
    for text in ["a", "b", "c"] {
        say(&session, text.repeat(600 * 1024)).await;
    }
    let numbers = async |after| -> Vec<u64> {
        let batch = topics(&session).fetch(&news(), after, MEGABYTE).await.unwrap();
        batch.messages.iter().map(|message| message.offset.number()).collect()
    };
    let [data, _] = first_segment(&root);
    overwrite(&data, 100, 0xff);
    assert_eq!(numbers(None).await, [2]);

    // Nor where a trim has just taken the data of a whole segment away.
    for _ in 0..16 {
        say(&session, "d".repeat(600 * 1024)).await;
    }
    let next = std::fs::read_dir(folder(&root)).unwrap().filter_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.strip_prefix("x-").and_then(|first| first.parse::<u64>().ok()).filter(|first| *first > 1)
    });
    let next = next.min().unwrap();
    std::fs::remove_file(&data).unwrap();
    assert_eq!(numbers(None).await, [next]);
}

/// Nothing that is claimed in an index makes us read or allocate what is not there.
#[tokio::test]
async fn an_index_that_points_anywhere_is_not_followed() {
    let root = Root::new();
    let session = open(&root.path()).await;
    for text in ["one", "two"] {
        say(&session, text).await;
    }
    let [data, index] = first_segment(&root);
    std::fs::write(&data, "").unwrap();
    assert_eq!(read(&session, None).await.messages, []);
    std::fs::remove_file(&data).unwrap();
    assert_eq!(read(&session, None).await.messages, []);
    std::fs::write(&index, vec![0xff; 64 * 10_000]).unwrap();
    let reader = open(&root.path()).await;
    assert_eq!(read(&reader, None).await.last, None);
    assert_eq!(say(&reader, "anew").await.number(), 1);
}

#[tokio::test]
async fn planted_links_are_never_followed() {
    let root = Root::new();
    let session = open(&root.path()).await;
    say(&session, "one").await;
    let victim = root.beside("victim");
    for path in [folder(&root).join("head"), first_segment(&root)[0].clone(), first_segment(&root)[1].clone()]
    {
        std::fs::write(&victim, "precious").unwrap();
        std::fs::remove_file(&path).ok();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let publication =
            Publication { id: MessageId::random(), channel: news(), sender: name("me"), body: "x".into() };
        let fetched = topics(&session).fetch(&news(), None, ALL).await.map(drop);
        // Where the log begins is no business of who appends to its end.
        let is_head = path.ends_with("head");
        let written = if is_head { fetched } else { topics(&session).publish(&publication).await.map(drop) };
        let refused = written.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "{path:?}: {refused}");
        if is_head {
            let none = Retention { count: 0, age: Duration::ZERO };
            assert!(topics(&session).trim(&news(), none).await.is_err(), "trimmed through a link");
        }
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
        std::fs::remove_file(&path).unwrap();
        if path.ends_with("head") {
            assert_eq!(read(&session, None).await.messages.len(), 1);
        }
    }
}

/// Interleaving 30: a root restored from a copy has other messages under the old numbers, and an offset from
/// before the restore is noticed while there is something to compare it with.
#[tokio::test]
async fn an_offset_from_before_a_restore_is_not_taken_for_the_new_message() {
    let root = Root::new();
    let session = open(&root.path()).await;
    let kept = say(&session, "one").await;
    let files = first_segment(&root);
    let copy = files.each_ref().map(|path| std::fs::read(path).unwrap());
    let lost = say(&session, "lost").await;
    let ahead = say(&session, "lost too").await;

    files.iter().zip(copy).for_each(|(path, bytes)| std::fs::write(path, bytes).unwrap());
    let session = open(&root.path()).await;
    assert!(read(&session, Some(ahead)).await.anew, "beyond the newest");
    say(&session, "other").await;
    say(&session, "another").await;
    for offset in [lost, ahead] {
        let batch = read(&session, Some(offset)).await;
        assert_eq!((batch.anew, shown(&batch)), (true, numbered(&["one", "other", "another"])));
    }
    assert!(!read(&session, Some(kept)).await.anew);
}

/// A process that publishes is killed again and again, also in the middle of large messages.
#[tokio::test]
async fn killed_publishers_leave_whole_messages_without_a_gap() {
    let root = Root::new();
    let reader = open(&root.path()).await;
    let mut reached = None;
    for _ in 0..12 {
        let mut peer = Peer::start(&root.path());
        peer.say("publish news 100000 50000");
        // Somewhere in the middle, which is somewhere else each time.
        let mut read = 0;
        while read < 3 {
            let batch = topics(&reader).fetch(&news(), reached, Limit { messages: 5, bytes: 1 << 20 }).await;
            let batch = batch.unwrap();
            if batch.last == reached {
                soon(topics(&reader).stirred(&news(), batch.mark)).await;
            }
            read += batch.messages.len();
            reached = batch.last.or(reached);
        }
        peer.kill();
    }
    say(&reader, "end").await;
    let mut after = None;
    let mut number = 0;
    loop {
        let batch =
            topics(&reader).fetch(&news(), after, Limit { messages: 100, bytes: 4 << 20 }).await.unwrap();
        let Some(last) = batch.messages.last() else { break };
        after = Some(last.offset);
        for message in &batch.messages {
            number += 1;
            assert_eq!(message.offset.number(), number);
            let is_whole =
                message.payload.len() == 50_000 && message.payload.iter().all(|byte| *byte == b'x');
            assert!(is_whole || message.payload == "end", "a torn message {number}");
        }
    }
    assert!(number > 36, "only {number} messages: too few to prove anything");
}

/// Storage goes with what it holds, segment by segment, and the count goes on.
#[tokio::test]
async fn trimmed_segments_are_removed() {
    let root = Root::new();
    let session = open(&root.path()).await;
    for _ in 0..30 {
        say(&session, vec![b'x'; 1024 * 1024]).await;
    }
    let size = || {
        let files = std::fs::read_dir(folder(&root)).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    assert!(size() > 30 << 20);
    let retention = Retention { count: 3, age: Duration::from_secs(3600) };
    assert_eq!(topics(&session).trim(&news(), retention).await.unwrap(), 27);
    assert!(size() < 10 << 20, "{} bytes are left", size());
    assert_eq!(read(&session, None).await.messages.len(), 3);
    assert_eq!(say(&session, "next").await.number(), 31);

    // Somebody was killed between removing an index and removing its data.
    let orphan = folder(&root).join("d-00000000000000000001");
    std::fs::write(&orphan, "data").unwrap();
    std::fs::create_dir(folder(&root).join("d-00000000000000000002")).unwrap();
    assert_eq!(topics(&session).trim(&news(), retention).await.unwrap(), 1);
    assert!(!orphan.exists(), "data without an index stay for ever");
    assert_eq!(read(&session, None).await.messages.len(), 3);
}

/// A late copy of a request is recognised by a process that was not there when the first one came.
#[tokio::test]
async fn ids_are_known_to_later_sessions() {
    let root = Root::new();
    let session = open(&root.path()).await;
    let publication =
        Publication { id: MessageId::random(), channel: news(), sender: name("me"), body: "once".into() };
    let first = topics(&session).publish(&publication).await.unwrap();
    for _ in 0..5000 {
        say(&session, "x").await;
    }
    session.close().await.unwrap();
    let later = open(&root.path()).await;
    assert_eq!(topics(&later).publish(&publication).await.unwrap(), first);
    assert_eq!(say(&later, "next").await.number(), 5002);
}

/// Twice for each message, its data and then its entry, and twice for a new segment, the names of the files
/// and of their folder; never without the option.
#[tokio::test]
async fn with_fsync_and_only_then_messages_are_synced_before_they_are_acknowledged() {
    let root = Root::new();
    for (query, syncs) in [("?fsync=true", 8), ("", 0)] {
        let (root, trace) = (Root::new(), root.beside("trace"));
        let traced = ["-e", "trace=fsync,fdatasync", "-o", trace.to_str().unwrap()];
        under_a_tracer("publisher_under_a_tracer", &traced, &root, query);
        let trace = std::fs::read_to_string(trace).unwrap();
        assert_eq!(trace.lines().filter(|line| line.contains("sync(")).count(), syncs, "{query}: {trace}");
    }
}

#[tokio::test]
#[ignore = "the traced process of these tests"]
async fn publisher_under_a_tracer() {
    let (root, query) =
        (std::env::var("TOOZ_FILE_TEST_ROOT").unwrap(), std::env::var("TOOZ_FILE_TEST_QUERY").unwrap());
    let session = open_with(Path::new(&root), &query, &opening()).await.unwrap();
    for text in ["one", "two", "three"] {
        say(&session, text).await;
    }
}

/// An entry that is in the index already, and names that stand in their folder already, are not taken for safe.
#[tokio::test]
async fn with_fsync_a_message_whose_sync_failed_is_acknowledged_only_when_it_was_synced() {
    // The first is the data's, which follow a failure anyway.
    for failures in ["inject=fdatasync:error=EIO:when=2..3", "inject=fsync:error=EIO:when=1..2"] {
        let root = Root::new();
        under_a_tracer("publisher_whose_disk_fails_twice", &["-e", failures], &root, "?fsync=true");
        assert_eq!(shown(&read(&open(&root.path()).await, None).await), numbered(&["kept"]));
    }
}

#[tokio::test]
#[ignore = "the traced process of these tests"]
async fn publisher_whose_disk_fails_twice() {
    let root = std::env::var("TOOZ_FILE_TEST_ROOT").unwrap();
    let session = open_with(Path::new(&root), "?fsync=true", &opening()).await.unwrap();
    let publication =
        Publication { id: MessageId::random(), channel: news(), sender: name("me"), body: "kept".into() };
    topics(&session).publish(&publication).await.unwrap_err();
    topics(&session).publish(&publication).await.unwrap_err();
    assert_eq!(topics(&session).publish(&publication).await.unwrap().number(), 1);
}

/// This test binary again, one test of it, under `strace`.
fn under_a_tracer(test: &str, options: &[&str], root: &Root, query: &str) {
    let tool = std::process::Command::new("strace")
        .args(["-f", "-qq"])
        .args(options)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--ignored", "--test-threads=1"])
        .env("TOOZ_FILE_TEST_ROOT", root.path())
        .env("TOOZ_FILE_TEST_QUERY", query)
        .output();
    let output = tool.expect("strace, which conformance/test installs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
