//! Messages within groups.

use std::time::Duration;

use tooz_core::{ErrorKind, From, Inbox, Letter, Mail};

use super::api_topics::{message, nothing_comes};
use super::names;
use crate::{World, within};

const IDLE: Duration = Duration::from_millis(300);

async fn letter(inbox: &mut Inbox) -> Letter {
    match within("a letter", inbox.next()).await.unwrap() {
        Mail::Letter(letter) => letter,
        other => panic!("no letter but {other:?}"),
    }
}

async fn no_mail(inbox: &mut Inbox) {
    let next = tokio::time::timeout(IDLE, inbox.next()).await;
    assert!(next.is_err(), "{next:?}");
}

/// A letter comes to whom it was sent, once, in order, and says who sent it.
pub(super) async fn letters_reach_their_member_and_tell_the_sender(world: &World) {
    let (a, b, c) = (world.connect("a").await, world.connect("b").await, world.connect("c").await);
    let mut of_b = b.group("blue").inbox().await.unwrap();
    let mut of_c = c.group("blue").inbox().await.unwrap();
    for number in 0..10 {
        a.group("blue").send("b", format!("{number}")).await.unwrap();
    }
    c.group("blue").send("b", "from c").await.unwrap();
    for number in 0..10 {
        let letter = letter(&mut of_b).await;
        assert_eq!((letter.sender.as_str(), &letter.payload[..]), ("a", number.to_string().as_bytes()));
        assert!(!letter.wants_reply());
        assert_eq!(letter.reply("no").await.unwrap_err().kind(), ErrorKind::InvalidValue);
    }
    assert_eq!(letter(&mut of_b).await.sender.as_str(), "c");
    no_mail(&mut of_b).await;
    no_mail(&mut of_c).await;
    for bad in [String::new(), "x".repeat(256)] {
        assert_eq!(a.group("blue").send(&bad, "").await.unwrap_err().kind(), ErrorKind::InvalidName);
    }
}

/// Letters wait for a member that is not there, and an inbox goes on after the letter dealt with last.
pub(super) async fn an_inbox_keeps_what_came_before(world: &World) {
    let a = world.connect("a").await;
    for number in 0..4 {
        a.group("blue").send("b", format!("{number}")).await.unwrap();
    }
    let first = world.connect("b").await;
    let mut inbox = first.group("blue").inbox_from(From::Beginning).await.unwrap();
    assert_eq!(letter(&mut inbox).await.payload, "0");
    let kept = letter(&mut inbox).await.offset;
    first.close().await.unwrap();

    let next = world.connect("b").await;
    let mut inbox = next.group("blue").inbox_from(From::After(kept)).await.unwrap();
    assert_eq!(letter(&mut inbox).await.payload, "2");
    assert_eq!(letter(&mut inbox).await.payload, "3");
    no_mail(&mut inbox).await;
}

/// What is broadcast comes to everybody who reads the group, in one order.
pub(super) async fn what_is_broadcast_reaches_everybody_in_the_group(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let mut first = a.group("blue").messages(From::Now).await.unwrap();
    let mut second = b.group("blue").messages(From::Now).await.unwrap();
    for number in 0..6 {
        let sender = if number % 2 == 0 { &a } else { &b };
        sender.group("blue").broadcast(format!("{number}")).await.unwrap();
    }
    for number in 0..6 {
        let (one, other) = (message(&mut first).await, message(&mut second).await);
        assert_eq!(one, other);
        assert_eq!(one.payload, number.to_string());
        assert_eq!(one.sender.as_str(), if number % 2 == 0 { "a" } else { "b" });
    }
}

/// Groups, topics and inboxes never see each other's messages, whatever they are called.
pub(super) async fn groups_and_topics_of_one_name_are_apart(world: &World) {
    let coord = world.connect("a").await;
    coord.topic("a").publish("topic").await.unwrap();
    coord.group("a").broadcast("group").await.unwrap();
    coord.group("a").send("a", "inbox").await.unwrap();
    let mut topic = coord.topic("a").subscribe(From::Beginning).await.unwrap();
    let mut group = coord.group("a").messages(From::Beginning).await.unwrap();
    let mut inbox = coord.group("a").inbox_from(From::Beginning).await.unwrap();
    assert_eq!(message(&mut topic).await.payload, "topic");
    assert_eq!(message(&mut group).await.payload, "group");
    assert_eq!(letter(&mut inbox).await.payload, "inbox");
    nothing_comes(&mut topic).await;
    nothing_comes(&mut group).await;
    no_mail(&mut inbox).await;

    for name in names() {
        let mut other = coord.group(&name).inbox_from(From::Beginning).await.unwrap();
        if name != "a" {
            coord.group(&name).send("a", name.as_str().to_owned()).await.unwrap();
            assert_eq!(letter(&mut other).await.payload, name.as_str());
        }
    }
    no_mail(&mut inbox).await;
}

/// A request comes with the wish for a reply, and the reply comes to whoever asked.
pub(super) async fn a_request_is_answered(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let mut inbox = b.group("blue").inbox().await.unwrap();
    let answering = async {
        for _ in 0..3 {
            let letter = letter(&mut inbox).await;
            assert!(letter.wants_reply());
            assert_eq!(letter.sender.as_str(), "a");
            letter.reply([b"re: ", &letter.payload[..]].concat()).await.unwrap();
        }
    };
    let asking = async {
        for question in ["one", "two", "three"] {
            let patience = Duration::from_secs(30);
            let reply = a.group("blue").request("b", question, patience).await.unwrap();
            assert_eq!(reply.expect("a reply"), format!("re: {question}"));
        }
    };
    tokio::join!(answering, asking);
    let large = vec![0; tooz_core::MAX_PAYLOAD_BYTES + 1];
    let refused = a.group("blue").request("b", large, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidValue);
}

/// No answer in time is no error, and costs no more than the time given.
pub(super) async fn a_request_that_nobody_answers_is_none(world: &World) {
    let blue = world.connect("a").await.group("blue");
    let asked = blue.request("nobody", "anyone?", Duration::from_millis(200));
    assert_eq!(within("the end of the patience", asked).await.unwrap(), None);
}

/// A reply to a request that is over is not given to the next one.
pub(super) async fn a_late_answer_is_not_taken_for_the_next_one(world: &World) {
    let (a, b) = (world.connect("a").await, world.connect("b").await);
    let (mut inbox, blue) = (b.group("blue").inbox().await.unwrap(), a.group("blue"));
    let late = {
        let asked = blue.request("b", "first", Duration::from_secs(2));
        let (none, late) = tokio::join!(asked, letter(&mut inbox));
        assert_eq!(none.unwrap(), None);
        late
    };
    let patience = Duration::from_secs(30);
    let asking = blue.request("b", "second", patience);
    let answering = async {
        let letter = letter(&mut inbox).await;
        late.reply("late").await.unwrap();
        letter.reply("in time").await.unwrap();
    };
    let (reply, ()) = tokio::join!(asking, answering);
    assert_eq!(reply.unwrap().expect("a reply"), "in time");
}
