//! Subscriptions are intents: they come back after a lost session.

use std::time::Duration;

use tooz_core::From;

use super::api_recovery::lose_session;
use super::api_topics::message;
use crate::World;

/// What is published before, between and after the sessions of a subscriber comes once, in order.
pub(super) async fn subscriptions_resume_in_the_next_session(world: &World) {
    // The loss of a session may only be noticed with a beat.
    let (a, b) = (world.connect("a").await, world.connect_for("b", Duration::from_secs(10)).await);
    let mut reading = b.topic("config").subscribe(From::Now).await.unwrap();
    let mut number = 0;
    for _ in 0..3 {
        for _ in 0..3 {
            a.topic("config").publish(number.to_string()).await.unwrap();
            number += 1;
        }
        assert_eq!(message(&mut reading).await.payload, (number - 3).to_string());
        lose_session(world, &b).await;
        assert_eq!(message(&mut reading).await.payload, (number - 2).to_string());
        b.topic("config").publish(number.to_string()).await.unwrap();
        number += 1;
        assert_eq!(message(&mut reading).await.payload, (number - 2).to_string());
        assert_eq!(message(&mut reading).await.payload, (number - 1).to_string());
    }
}
