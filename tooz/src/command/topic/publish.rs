//! `tooz topic publish`: a message, or one for each line.

use std::time::Duration;

use serde_json::json;
use tooz::{Coordinator, Name, Retention, Topic};

use super::intake::Intake;
use crate::command::args::Data;
use crate::command::context::{self, Context};
use crate::command::exit::Exit;
use crate::command::failure::Failure;
use crate::command::signals::Signals;

pub(super) async fn run(
    context: &Context,
    topic: &str,
    data: &Data,
    (keep, keep_for): (Option<u64>, Option<Duration>),
) -> Result<Exit, Failure> {
    let name = Name::new(topic)?;
    let usual = Retention::default();
    let retention = Retention { count: keep.unwrap_or(usual.count), age: keep_for.unwrap_or(usual.age) };
    if data.data.is_some() {
        let publish = async |coord: &Coordinator| {
            let topic = coord.topic(&name).retain(retention);
            publish_all(context, &name, &topic, data).await
        };
        context.briefly(publish).await?;
        return Ok(Exit::Done);
    }
    let mut signals = Signals::ending().map_err(|e| Failure::system("listen for signals", &e))?;
    let coord = context.connect().await?;
    let topic = coord.topic(&name).retain(retention);
    let done = tokio::select! {
        ended = publish_all(context, &name, &topic, data) => ended.map(|()| Exit::Done),
        number = signals.next() => Ok(context::ended_by(number)),
    };
    context::close(&coord, done).await
}

async fn publish_all(context: &Context, name: &Name, topic: &Topic, data: &Data) -> Result<(), Failure> {
    let mut intake = Intake::of(data);
    intake.prompt(context.out, "a message");
    while let Some(payload) = intake.next().await? {
        let offset = topic.publish(payload).await?;
        let told = json!({
            "topic": name.as_str(),
            "offset": offset.to_string(),
            "number": offset.number(),
        });
        context.out.say(offset, &told)?;
    }
    Ok(())
}
