//! `tooz topic subscribe`: messages as they come.

use serde_json::{Value, json};
use tooz::{Coordinator, Delivery, Name};

use super::reading::{Countdown, machine, tell_gap, tell_reset};
use crate::command::args::Reading;
use crate::command::context::{self, Context};
use crate::command::exit::Exit;
use crate::command::failure::Failure;
use crate::command::reader;
use crate::command::signals::Signals;

pub(super) async fn run(context: &Context, topic: &str, reading: &Reading) -> Result<Exit, Failure> {
    let name = Name::new(topic)?;
    let mut signals = Signals::ending().map_err(|e| Failure::system("listen for signals", &e))?;
    let coord = context.connect().await?;
    let done = tokio::select! {
        ended = read(context, &coord, &name, reading) => ended,
        number = signals.next() => Ok(context::ended_by(number)),
        failure = reader::gone() => Err(failure),
    };
    context::close(&coord, done).await
}

async fn read(
    context: &Context,
    coord: &Coordinator,
    name: &Name,
    reading: &Reading,
) -> Result<Exit, Failure> {
    let from = reading.from.unwrap_or(tooz::From::Now);
    let mut messages = coord.topic(name).subscribe(from).await?;
    let note = json!({ "note": "reading", "topic": name.as_str() });
    context.out.note(format_args!("reading topic \"{name}\""), &note);
    let mut left = Countdown::from(reading.count);
    while !left.is_over() {
        match messages.next().await? {
            Delivery::Message(message) => {
                let told = machine(message.offset, message.sender.as_str(), &message.payload);
                context.out.payload("", &message.payload, &Value::Object(told))?;
                left.tick();
            }
            Delivery::Lagged { missed } => tell_gap(context, missed)?,
            Delivery::Reset => tell_reset(context)?,
        }
    }
    Ok(Exit::Done)
}
