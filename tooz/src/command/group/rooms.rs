//! Groups themselves: created, deleted, listed.

use serde_json::json;
use tooz::{ErrorKind, Name};

use crate::command::context::Context;
use crate::command::exit::Exit;
use crate::command::failure::Failure;

pub(super) async fn create(context: &Context, group: &str, if_missing: bool) -> Result<Exit, Failure> {
    let name = Name::new(group)?;
    let created = context
        .briefly(async |coord| {
            let group = coord.group(&name);
            if if_missing {
                return Ok(group.create_if_missing().await?);
            }
            group.create().await?;
            Ok(true)
        })
        .await
        .map_err(|failure| failure.perhaps("created"))?;
    let deed = if created { "created" } else { "exists already" };
    let told = json!({ "group": name.as_str(), "created": created });
    context.out.say(format_args!("group \"{name}\": {deed}"), &told)?;
    Ok(Exit::Done)
}

pub(super) async fn delete(context: &Context, group: &str) -> Result<Exit, Failure> {
    let name = Name::new(group)?;
    context
        .briefly(async |coord| match coord.group(&name).delete().await {
            // The library's own text says how to get one.
            Err(error) if error.kind() == ErrorKind::NoSuchGroup => {
                let text = format!("delete group \"{name}\": no such group");
                Err(Failure::new(Exit::NotFound, "no_such_group", text))
            }
            deleted => Ok(deleted?),
        })
        .await
        .map_err(|failure| failure.perhaps("deleted"))?;
    let told = json!({ "group": name.as_str(), "deleted": true });
    context.out.say(format_args!("group \"{name}\": deleted"), &told)?;
    Ok(Exit::Done)
}

pub(super) async fn list(context: &Context) -> Result<Exit, Failure> {
    let groups = context.briefly(async |coord| Ok(coord.groups().await?)).await?;
    let rows = groups.into_iter().map(|name| {
        let told = json!({ "group": name.as_str() });
        (name, told)
    });
    context.out.list(rows.collect())?;
    Ok(Exit::Done)
}
