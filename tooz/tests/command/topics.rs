//! `tooz topic`, `tooz send`, `tooz inbox`.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use conformance::servers::Zookeeper;
use rustix::process::Signal;
use serde_json::json;

use crate::run::Run;
use crate::store::Store;

#[test]
fn lines_become_messages_and_messages_become_lines() {
    check_lines(&Store::file());
}

fn check_lines(store: &Store) {
    let mut reader = store.start(&["topic", "subscribe", "news", "--count", "3"]);
    reader.err.until("reading topic \"news\"");
    let mut publisher = store.start(&["topic", "publish", "news", "--member", "one"]);
    for line in ["first", "", "a\tb \u{1b}[2J é"] {
        publisher.type_line(line);
        // What a program reads is what was written, byte for byte.
        assert_eq!(reader.out.next(), line);
    }
    assert_eq!(reader.code(), 0);

    let published = publisher.end();
    assert_eq!((published.code, published.out.len()), (0, 3), "{published:?}");
    let first = store.run(&["topic", "subscribe", "news", "--from", &published.out[0], "--count", "2"]);
    assert_eq!(first.out, ["", "a\tb \u{1b}[2J é"]);
}

#[test]
fn one_message_is_published_and_read_from_the_beginning() {
    let store = Store::file();
    let told =
        store.run(&["topic", "publish", "news", "--data", "hello", "--member", "one", "--json"]).json();
    assert_eq!((&told["topic"], &told["number"]), (&"news".into(), &1.into()));
    store.run(&["topic", "publish", "news", "--data", ""]);

    let read = ["topic", "subscribe", "news", "--from", "beginning", "--count", "2", "--json"];
    let read = store.run(&read);
    assert_eq!(read.code, 0, "{read:?}");
    let first: serde_json::Value = serde_json::from_str(&read.out[0]).unwrap();
    assert_eq!(first["offset"], told["offset"]);
    assert_eq!(
        (&first["event"], &first["sender"], &first["data"], &first["number"]),
        (&"message".into(), &"one".into(), &"hello".into(), &1.into())
    );
    let second: serde_json::Value = serde_json::from_str(&read.out[1]).unwrap();
    assert_eq!((&second["data"], &second["number"]), (&"".into(), &2.into()));
}

#[test]
fn a_subscriber_reads_until_told_and_ends_with_code_0() {
    let store = Store::file();
    for signal in [Signal::INT, Signal::TERM] {
        let mut reader = store.start(&["topic", "subscribe", "news"]);
        reader.err.until("reading");
        store.run(&["topic", "publish", "news", "--data", "x"]);
        assert_eq!(reader.out.next(), "x");
        reader.signal(signal);
        assert_eq!(reader.code(), 0);
    }
}

#[test]
fn what_is_no_longer_retained_is_told() {
    let store = Store::file();
    let first = store.run(&["topic", "publish", "news", "--data", "0"]).out[0].clone();
    for number in 1..10 {
        store.run(&["topic", "publish", "news", "--data", &number.to_string(), "--keep", "3"]);
    }
    let read = store.run(&["topic", "subscribe", "news", "--from", &first, "--count", "3"]);
    assert_eq!(read.out, ["7", "8", "9"]);
    assert!(read.err.iter().any(|line| line.contains("missed 6 messages")), "{read:?}");

    let told = store.run(&["topic", "subscribe", "news", "--from", &first, "--count", "1", "--json"]);
    assert_eq!(told.out[0], json!({ "event": "lagged", "missed": 6 }).to_string());

    // Interleaving 30: an offset that the topic never had is no reason to be silent.
    let alien = format!("{}:4:0", "a".repeat(32));
    let told = store.run(&["topic", "subscribe", "news", "--from", &alien, "--count", "1", "--json"]);
    assert_eq!(told.out[0], json!({ "event": "reset" }).to_string());
}

#[test]
fn letters_reach_their_member_with_their_sender() {
    check_letters(&Store::file());
}

fn check_letters(store: &Store) {
    assert_eq!(store.run(&["send", "bob", "--data", "hello", "--member", "alice"]).code, 0);
    let mut inbox = store.start(&["inbox", "--member", "bob", "--count", "3"]);
    assert_eq!(inbox.out.next(), "alice\thello");

    let mut carol = store.start(&["send", "bob", "--member", "carol"]);
    carol.type_line("one");
    assert_eq!(inbox.out.next(), "carol\tone");
    carol.type_line("two");
    assert_eq!(inbox.out.next(), "carol\ttwo");
    assert_eq!(inbox.code(), 0);
    assert_eq!(carol.end().code, 0);

    store.run(&["send", "bob", "--group", "blue", "--data", "elsewhere", "--member", "alice"]);
    let told = store.run(&["inbox", "--member", "bob", "--group", "blue", "--count", "1", "--json"]).json();
    assert_eq!(
        (&told["sender"], &told["data"], &told["wants_reply"]),
        (&"alice".into(), &"elsewhere".into(), &false.into())
    );
}

#[test]
fn zookeeper_has_topics_and_says_what_they_are_for() {
    let server = Zookeeper::start();
    let store = Store::at(server.url());
    check_lines(&store);
    check_letters(&store);
    let told = store.run(&["doctor", "--json"]).json();
    let advice = told["topics"]["advice"].as_str().unwrap();
    assert!(advice.contains("control traffic"), "{told}");
    let human = store.run(&["doctor"]);
    assert!(human.out.iter().any(|line| line.starts_with("topics ") && line.contains(advice)), "{human:?}");
}

#[test]
fn what_cannot_be_sent_or_read_is_refused_with_code_2() {
    let store = Store::file();
    let large = "x".repeat(1024 * 1024 + 1);
    let mut publisher = store.start(&["topic", "publish", "news"]);
    // It may have ended before all of it is written.
    let _ = std::io::Write::write_all(publisher.input.as_mut().unwrap(), large.as_bytes());
    let refused = publisher.end();
    assert_eq!(refused.code, 2);
    assert!(refused.complaint().contains("1 MiB"), "{refused:?}");

    let mut publisher = store.start(&["topic", "publish", "news"]);
    publisher.type_line("small");
    let _ = std::io::Write::write_all(publisher.input.as_mut().unwrap(), large.as_bytes());
    let stopped = publisher.end();
    assert_eq!((stopped.code, stopped.out.len()), (114, 1), "{stopped:?}");
    assert!(stopped.complaint().contains("line 2 of standard input"), "{stopped:?}");

    let unclear = store.run(&["topic", "subscribe", "news", "--from", "yesterday"]);
    assert_eq!(unclear.code, 2);
    assert!(unclear.err.iter().any(|line| line.contains("beginning")), "{unclear:?}");
    assert_eq!(store.run(&["topic", "publish", "", "--data", "x"]).code, 2);
    assert_eq!(store.run(&["topic", "publish", "news", "--data", "x", "--keep", "0"]).code, 2);
}

/// `| head -1` ends the command at once, and not with the message after the next.
#[test]
fn who_reads_for_nobody_ends_as_by_a_broken_pipe() {
    let store = Store::file();
    store.run(&["topic", "publish", "news", "--data", "only one"]);
    store.run(&["send", "bob", "--data", "only one", "--member", "alice"]);
    store.run(&["group", "create", "blue"]);
    let member = store.start(&["group", "join", "blue", "--member", "only one"]);
    member.out.until("joined");
    for words in [
        ["topic", "subscribe", "news", "--from", "beginning"].as_slice(),
        &["inbox", "--member", "bob"],
        &["group", "watch", "blue"],
    ] {
        let mut command = store.command(words);
        let mut reader = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(reader.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("only one"), "{line:?}");
        let ended = reader.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(128 + 13), "{words:?}: {said}");
        assert_eq!(said.lines().count(), 1, "says nothing of it: {said}");
    }
}

#[test]
fn a_person_is_told_what_is_waited_for() {
    let store = Store::file();
    for (words, what) in [
        (["topic", "publish", "news"].as_slice(), "each line is a message; Ctrl-D ends"),
        (&["send", "bob"], "each line is a letter; Ctrl-D ends"),
        (&["inbox"], "in group \"tooz\"; --member says whose"),
    ] {
        crate::pty::Pty::start(&store.command(words)).until(what);
    }
    let mut inbox = store.command(&["inbox"]);
    for named in [store.start(&["inbox", "--member", "bob"]), Run::start(inbox.env("TOOZ_MEMBER", "bob"))] {
        assert!(named.err.until("reading").ends_with("the inbox of bob in group \"tooz\""));
        named.signal(Signal::TERM);
    }
}

#[test]
fn without_a_line_nothing_is_published_and_without_a_server_it_is_said() {
    let store = Store::file();
    for words in [["topic", "publish", "news"].as_slice(), &["send", "bob"]] {
        let ended = store.run(words);
        assert_eq!((ended.code, ended.out.len(), ended.err.len()), (0, 0, 0), "{ended:?}");
    }
    for words in [
        ["topic", "publish", "news", "--data", "x"].as_slice(),
        &["topic", "subscribe", "news"],
        &["send", "bob", "--data", "x"],
        &["inbox", "--member", "bob"],
        &["ring", "g", "key"],
    ] {
        let ended = store.run(&[words, &["--url", "redis://127.0.0.1:1"]].concat());
        assert_eq!((ended.code, ended.out.len()), (110, 0), "{ended:?}");
        assert!(ended.complaint().starts_with("tooz: connect to redis://127.0.0.1:1: "), "{ended:?}");
    }
}

#[test]
fn messages_cannot_move_a_terminals_cursor() {
    let store = Store::file();
    store.run(&["topic", "publish", "news", "--data", "a\u{1b}[2Jb"]);
    let command = store.command(&["topic", "subscribe", "news", "--from", "beginning", "--count", "1"]);
    let before = crate::pty::Pty::start(&command).until("a\\u{1b}[2Jb");
    assert!(!before.contains("\u{1b}[2J"), "{before:?}");
}
