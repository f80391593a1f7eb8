//! `tooz send`: a letter to one member, or one for each line.

use serde_json::json;
use tooz::{Coordinator, Group, Name};

use super::intake::Intake;
use crate::command::args::Data;
use crate::command::context::Context;
use crate::command::exit::Exit;
use crate::command::failure::Failure;

pub(super) async fn run(context: &Context, member: &str, group: &str, data: &Data) -> Result<Exit, Failure> {
    let (member, name) = (Name::new(member)?, Name::new(group)?);
    let send = async |coord: &Coordinator| send_all(context, &coord.group(&name), &name, &member, data).await;
    if data.data.is_some() {
        return context.briefly(send).await.map_err(|failure| failure.perhaps("sent"));
    }
    context.until_told(send).await
}

async fn send_all(
    context: &Context,
    group: &Group,
    name: &Name,
    member: &Name,
    data: &Data,
) -> Result<Exit, Failure> {
    let mut intake = Intake::of(data);
    intake.prompt(context.out, "a letter");
    while let Some(payload) = intake.next().await? {
        let send = context.bounded(async { Ok(group.send(member, payload).await?) });
        let offset = send.await.map_err(|failure| failure.perhaps("sent"))?;
        let told = json!({
            "to": member.as_str(),
            "group": name.as_str(),
            "offset": offset.to_string(),
            "number": offset.number(),
        });
        context.out.say(offset, &told)?;
    }
    Ok(Exit::Done)
}
