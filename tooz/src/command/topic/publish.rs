//! `tooz topic publish`: a message, or one for each line.

use std::time::Duration;

use serde_json::json;
use tooz::{Coordinator, Name, Retention, Topic};

use super::intake::Intake;
use crate::command::args::Data;
use crate::command::context::Context;
use crate::command::exit::Exit;
use crate::command::failure::Failure;

pub(super) async fn run(
    context: &Context,
    topic: &str,
    data: &Data,
    (keep, keep_for): (Option<u64>, Option<Duration>),
) -> Result<Exit, Failure> {
    let name = Name::new(topic)?;
    let usual = Retention::default();
    let retention = Retention { count: keep.unwrap_or(usual.count), age: keep_for.unwrap_or(usual.age) };
    let publish = async |coord: &Coordinator| {
        let topic = coord.topic(&name).retain(retention);
        publish_all(context, &name, &topic, data).await
    };
    if data.data.is_some() {
        return context.briefly(publish).await.map_err(|failure| failure.perhaps("published"));
    }
    context.until_told(publish).await
}

async fn publish_all(context: &Context, name: &Name, topic: &Topic, data: &Data) -> Result<Exit, Failure> {
    let mut intake = Intake::of(data);
    intake.prompt(context.out, "a message");
    while let Some(payload) = intake.next().await? {
        let publish = context.bounded(async { Ok(topic.publish(payload).await?) });
        let offset = publish.await.map_err(|failure| failure.perhaps("published"))?;
        let told = json!({
            "topic": name.as_str(),
            "offset": offset.to_string(),
            "number": offset.number(),
        });
        context.out.say(offset, &told)?;
    }
    Ok(Exit::Done)
}
