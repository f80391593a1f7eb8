//! The API without async keeps the same promises, on threads that run no runtime.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tooz_core::blocking::{Coordinator, connect};
use tooz_core::{
    Cause, Delivery, ErrorKind, Event, From, Mail, MembershipState, Registry, Retention, memory,
};

/// The same story on each store: both are real, and their clock is the machine's.
fn on_each_store(story: impl Fn(&dyn Fn(&str) -> Coordinator)) {
    let folder = tempfile::tempdir().unwrap();
    let store = memory::Store::named(&conformance::unique("blocking"));
    for url in [store.url(), format!("file://{}/root", folder.path().display())] {
        let registry = Registry::embedded().with(tooz_file::FileDriver::new());
        story(&|member| connect(registry.builder(&*url).member(member)).unwrap());
    }
    assert_eq!(store.leftovers(), Vec::<String>::new());
}

#[test]
fn threads_exclude_each_other() {
    on_each_store(|open| {
        let coords = [open("a"), open("b")];
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            for index in 0..6 {
                let (lock, inside) = (coords[index % 2].lock("nightly"), &inside);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let guard = lock.acquire().unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two threads inside");
                        thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        if index % 3 == 0 { drop(guard) } else { guard.release().unwrap() }
                    }
                });
            }
        });
        coords.iter().for_each(|coord| coord.close().unwrap());
    });
}

#[test]
fn locks_are_tried_waited_for_shared_and_lost() {
    on_each_store(|open| {
        let (a, b) = (open("a"), open("b"));
        let guard = a.lock("nightly").acquire().unwrap();
        assert!(guard.is_held());
        assert!(b.lock("nightly").try_acquire().unwrap().is_none());
        assert!(b.lock("nightly").acquire_timeout(Duration::from_millis(20)).unwrap().is_none());
        assert!(b.lock("nightly").queue().unwrap().waiting.is_empty());
        let readers = [&a, &b].map(|coord| coord.lock("data").shared().acquire().unwrap());
        assert!(readers.iter().all(|reader| reader.is_held()));

        a.close().unwrap();
        assert_eq!(guard.wait_lost(), Cause::Closed);
        assert!(b.lock("nightly").run(|hold| hold.is_held()).unwrap());
        drop(readers);
        b.close().unwrap();
        assert_eq!(b.lock("nightly").acquire().unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
fn groups_are_joined_and_watched() {
    on_each_store(|open| {
        let (a, b) = (open("a"), open("b"));
        a.group("blue").create().unwrap();
        let mut view = a.group("blue").watch().unwrap();
        let me = b.group("blue").join(&1).unwrap();
        assert!(matches!(view.next_event().unwrap(), Event::Joined(member) if *member.name() == "b"));
        me.update(&2).unwrap();
        assert!(matches!(view.next_event().unwrap(), Event::Updated(_)));
        assert_eq!(me.state(), MembershipState::Joined);
        me.leave().unwrap();
        assert!(matches!(view.next_event().unwrap(), Event::Left(_)));
        a.group("blue").delete().unwrap();
        a.close().unwrap();
        b.close().unwrap();
    });
}

#[test]
fn keys_are_shared_out() {
    on_each_store(|open| {
        let (a, b) = (open("a"), open("b"));
        let one = a.group("blue").join_partitioned(1).unwrap();
        let mut changes = one.changes();
        assert!(one.is_mine("job"));
        let two = b.group("blue").join_partitioned(0).unwrap();
        assert!(changes.next().unwrap().is_empty());
        two.set_weight(5).unwrap();
        let moves = changes.next().unwrap();
        assert!(matches!(&moves.away()[..], [moved] if moved.member.as_ref().is_some_and(|to| *to == "b")));
        assert!(b.group("blue").partitioner().unwrap().ring() == two.partitioner().ring());
        two.leave().unwrap();
        assert_eq!(changes.next().unwrap().to_me().len(), 1);
        one.leave().unwrap();
        a.close().unwrap();
        b.close().unwrap();
    });
}

#[test]
fn leaders_campaign_proclaim_and_resign() {
    on_each_store(|open| {
        let (a, b) = (open("a"), open("b"));
        let term = a.group("blue").election().campaign("a:1").unwrap();
        assert!(b.group("blue").election().try_campaign("b:1").unwrap().is_none());
        term.proclaim("a:2").unwrap();
        let leader = b.group("blue").election().leader().unwrap().unwrap();
        assert_eq!(leader.value.as_deref(), Some(b"a:2".as_slice()));
        let first = term.term();
        term.resign().unwrap();
        let next = b.group("blue").election().campaign("b:1").unwrap();
        assert!(next.term() > first);
        next.resign().unwrap();
        a.close().unwrap();
        b.close().unwrap();
    });
}

#[test]
fn topics_and_letters_are_published_read_and_answered() {
    on_each_store(|open| {
        let (a, b) = (open("a"), open("b"));
        let topic = a.topic("config");
        let mut reading = b.topic("config").subscribe(From::Beginning).unwrap();
        let offsets: Vec<_> = ["1", "2", "3"].map(|text| topic.publish(text).unwrap()).into();
        for text in ["1", "2", "3"] {
            let Some(Ok(Delivery::Message(message))) = reading.next() else { panic!("no message {text}") };
            assert_eq!(message.payload, text);
        }
        let two = topic.retain(Retention { count: 2, age: Duration::from_secs(60) });
        assert_eq!(two.trim().unwrap(), 1);
        assert_eq!(b.topic("config").last().unwrap(), offsets.last().copied());
        let late = b.topic("config").subscribe(From::Beginning).unwrap().next().unwrap().unwrap();
        assert!(matches!(late, Delivery::Message(message) if message.payload == "2"));

        let mut messages = b.group("blue").messages(From::Now).unwrap();
        a.group("blue").broadcast("all").unwrap();
        assert!(matches!(messages.next(), Some(Ok(Delivery::Message(message))) if message.payload == "all"));
        a.group("blue").send("b", "waits").unwrap();
        let mut inbox = b.group("blue").inbox_from(From::Beginning).unwrap();
        assert!(matches!(inbox.next(), Some(Ok(Mail::Letter(letter))) if letter.payload == "waits"));

        let answering = std::thread::spawn(move || {
            let Some(Ok(Mail::Letter(letter))) = inbox.next() else { panic!("no request") };
            letter.reply_blocking("re").unwrap();
            inbox
        });
        let reply = a.group("blue").request("b", "question", Duration::from_secs(30)).unwrap();
        assert_eq!(reply.unwrap(), "re");
        let mut inbox = answering.join().unwrap();
        b.close().unwrap();
        assert!(reading.next().is_none() && inbox.next().is_none(), "a closed coordinator reads on");
        a.close().unwrap();
    });
}
