//! `tooz topic subscribe`: messages as they come.

use serde_json::{Value, json};
use tooz::{Coordinator, Delivery, Name};

use super::reading::{Countdown, machine, tell_gap, tell_reset};
use crate::command::args::Reading;
use crate::command::context::Context;
use crate::command::exit::Exit;
use crate::command::failure::Failure;

pub(super) async fn run(context: &Context, topic: &str, reading: &Reading) -> Result<Exit, Failure> {
    let name = Name::new(topic)?;
    context.until_unread(async |coord| read(context, coord, &name, reading).await).await
}

async fn read(
    context: &Context,
    coord: &Coordinator,
    name: &Name,
    reading: &Reading,
) -> Result<Exit, Failure> {
    let from = reading.from.unwrap_or(tooz::From::Now);
    let topic = coord.topic(name);
    let mut messages = context.bounded(async { Ok(topic.subscribe(from).await?) }).await?;
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
