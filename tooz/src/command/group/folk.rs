//! Members as they are printed.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tooz::{Member, Name};

use crate::command::context::Context;
use crate::command::exit::Exit;
use crate::command::failure::Failure;
use crate::command::output::plain;
use crate::command::value;

pub(super) async fn members(context: &Context, group: &str) -> Result<Exit, Failure> {
    let name = Name::new(group)?;
    let roster = context.briefly(async |coord| Ok(coord.group(&name).members().await?)).await?;
    let rows = roster.iter().map(|member| (human(member), Value::Object(machine(member))));
    context.out.list(rows.collect())?;
    Ok(Exit::Done)
}

/// The member's name and, if it has any, its capabilities.
pub(super) fn human(member: &Member) -> String {
    match value::capabilities(&member.capabilities()) {
        _ if !member.has_readable_capabilities() => format!("{} (unreadable capabilities)", member.name()),
        Value::Null => member.name().to_string(),
        told => format!("{} {}", member.name(), plain(&told.to_string())),
    }
}

/// `joined_at` is in seconds since 1970 by the clock of whoever wrote it.
pub(super) fn machine(member: &Member) -> Map<String, Value> {
    let mut told = Map::new();
    told.insert("member".to_owned(), member.name().as_str().into());
    told.insert("capabilities".to_owned(), value::capabilities(&member.capabilities()));
    told.insert("session".to_owned(), member.session().map(|session| session.to_string()).into());
    told.insert("joined_at".to_owned(), member.joined_at().and_then(seconds).into());
    if !member.has_readable_capabilities() {
        told.insert("unreadable".to_owned(), json!(true));
    }
    told
}

fn seconds(at: SystemTime) -> Option<f64> {
    at.duration_since(UNIX_EPOCH).ok().map(|span| span.as_secs_f64())
}
