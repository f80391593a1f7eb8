//! Topics.

use super::*;
use crate::backend::{Limit, Publication, Retention};
use crate::channel::Channel;
use crate::id::MessageId;

const ALL: Limit = Limit { messages: usize::MAX, bytes: usize::MAX };

fn config() -> Channel {
    Channel::Topic(name("config"))
}

fn message(number: u64) -> Publication {
    let id = MessageId::from_bytes(u128::from(number + 1).to_be_bytes());
    Publication { id, channel: config(), sender: name("a"), body: Bytes::from(number.to_string()) }
}

#[test]
fn messages_are_let_go_of_after_their_age_to_the_nanosecond() {
    let mut state = State::new();
    state.publish(at(0), &message(0));
    state.publish(at(5), &message(1));
    let retention = Retention { count: 10, age: Duration::from_secs(10) };
    assert_eq!(state.trim(at(10), &config(), retention), 0);
    assert_eq!(state.trim(at(10) + NANO, &config(), retention), 1);
    assert_eq!(state.fetch(at(10), &config(), None, ALL).messages[0].offset.number(), 2);
}

/// Interleaving 30: what begins anew is another incarnation, and whoever waited hears of the loss.
#[test]
fn a_lost_topic_begins_anew() {
    let mut state = State::new();
    let before = state.publish(at(0), &message(0));
    let mark = state.channel_mark(&config());
    state.wipe(at(1));
    assert!(state.news().any(|news| *news == Subject::Channel(config())));
    assert!(state.channel_mark(&config()) > mark);
    assert_eq!(state.fetch(at(1), &config(), Some(before), ALL).last, None);

    let after = state.publish(at(1), &message(1));
    assert_eq!((after.number(), after.partial_cmp(&before)), (1, None));
    assert_eq!(state.fetch(at(1), &config(), Some(before), ALL).messages.len(), 1);
}

/// Ids are known for long, but not for ever: a store must not grow with every message it ever saw.
#[test]
fn the_ids_of_trimmed_messages_are_forgotten_in_the_end() {
    let mut state = State::new();
    let retention = Retention { count: 10, age: Duration::from_secs(10) };
    for number in 0..5000 {
        state.publish(at(0), &message(number));
        state.trim(at(0), &config(), retention);
    }
    assert_eq!(state.publish(at(0), &message(4000)).number(), 4001);
    assert_eq!(state.publish(at(0), &message(3)).number(), 5001);
}
