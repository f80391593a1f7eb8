//! Messages between many processes: publishers and subscribers that record all they do.

use std::io;
use std::time::Duration;

use tooz_core::{Coordinator, Delivery, Error, From, Retention};

use crate::history::{Recorder, now};

/// The topic of a run, in its records.
const NAME: &str = "messages";

/// Nothing of a run is let go of while it lasts.
const ALL: Retention = Retention { count: u64::MAX, age: Duration::from_secs(86400) };

/// Publishes so many messages, each told apart by this member's name and a number.
///
/// # Errors
/// If a record cannot be written, or the store fails.
pub async fn publish(coord: &Coordinator, topic: &str, messages: u64, recorder: &Recorder) -> io::Result<()> {
    let (topic, proc) = (coord.topic(topic).retain(ALL), coord.member().as_str());
    for number in 0..messages {
        let call = now();
        let offset = topic.publish(format!("{proc}-{number}")).await.map_err(|error| failed(&error))?;
        recorder.publish(proc, NAME, call, offset.number())?;
    }
    Ok(())
}

/// Reads from the beginning until so many messages have passed, as so many processes one after the other
/// would: each connects anew and goes on after the offset that the one before had kept.
///
/// # Errors
/// If a record cannot be written, or the store fails.
pub async fn read(
    connect: impl AsyncFn() -> tooz_core::Result<Coordinator>,
    topic: &str,
    (messages, reconnects): (u64, u64),
    recorder: &Recorder,
) -> io::Result<()> {
    let mut kept: Option<String> = None;
    let mut passed = 0;
    for turn in 0..=reconnects {
        let coord = connect().await.map_err(|error| failed(&error))?;
        let topic = coord.topic(topic);
        let from = match kept.as_deref().map(str::parse) {
            None => From::Beginning,
            Some(offset) => From::After(offset.map_err(|error| failed(&error))?),
        };
        let mut reading = topic.subscribe(from).await.map_err(|error| failed(&error))?;
        let until = messages * (turn + 1) / (reconnects + 1);
        while passed < until {
            match reading.next().await.map_err(|error| failed(&error))? {
                Delivery::Message(message) => {
                    let text = String::from_utf8_lossy(&message.payload);
                    let (proc, number) = (coord.member().as_str(), message.offset.number());
                    recorder.deliver(proc, NAME, number, &text)?;
                    kept = Some(message.offset.to_string());
                    passed += 1;
                }
                Delivery::Lagged { missed } => {
                    recorder.missed(coord.member().as_str(), NAME, missed)?;
                    passed += missed;
                }
                Delivery::Reset => return Err(io::Error::other("the topic began anew")),
            }
        }
        coord.close().await.map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn failed(error: &Error) -> io::Error {
    io::Error::other(error.to_string())
}
