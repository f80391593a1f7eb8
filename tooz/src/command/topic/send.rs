//! `tooz send`: a letter to one member, or one for each line.

use serde_json::json;
use tooz::{Coordinator, Group, Name};

use super::intake::Intake;
use crate::command::args::Data;
use crate::command::context::{self, Context};
use crate::command::exit::Exit;
use crate::command::failure::Failure;
use crate::command::signals::Signals;

pub(super) async fn run(context: &Context, member: &str, group: &str, data: &Data) -> Result<Exit, Failure> {
    let (member, name) = (Name::new(member)?, Name::new(group)?);
    if data.data.is_some() {
        let send =
            async |coord: &Coordinator| send_all(context, &coord.group(&name), &name, &member, data).await;
        context.briefly(send).await?;
        return Ok(Exit::Done);
    }
    let mut signals = Signals::ending().map_err(|e| Failure::system("listen for signals", &e))?;
    let coord = context.connect().await?;
    let group = coord.group(&name);
    let done = tokio::select! {
        ended = send_all(context, &group, &name, &member, data) => ended.map(|()| Exit::Done),
        number = signals.next() => Ok(context::ended_by(number)),
    };
    context::close(&coord, done).await
}

async fn send_all(
    context: &Context,
    group: &Group,
    name: &Name,
    member: &Name,
    data: &Data,
) -> Result<(), Failure> {
    let mut intake = Intake::of(data);
    intake.prompt(context.out, "a letter");
    while let Some(payload) = intake.next().await? {
        let offset = group.send(member, payload).await?;
        let told = json!({
            "to": member.as_str(),
            "group": name.as_str(),
            "offset": offset.to_string(),
            "number": offset.number(),
        });
        context.out.say(offset, &told)?;
    }
    Ok(())
}
