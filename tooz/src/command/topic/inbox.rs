//! `tooz inbox`: letters to this member as they come.

use serde_json::{Value, json};
use tooz::{Coordinator, Mail, Name};

use super::reading::{Countdown, machine, tell_gap, tell_reset};
use crate::command::args::Reading;
use crate::command::context::Context;
use crate::command::exit::Exit;
use crate::command::failure::Failure;
use crate::command::member;

pub(super) async fn run(context: &Context, group: &str, reading: &Reading) -> Result<Exit, Failure> {
    let name = Name::new(group)?;
    context.until_unread(async |coord| read(context, coord, &name, reading).await).await
}

async fn read(
    context: &Context,
    coord: &Coordinator,
    name: &Name,
    reading: &Reading,
) -> Result<Exit, Failure> {
    // What waits for a member is what it wants to read first.
    let from = reading.from.unwrap_or(tooz::From::Beginning);
    let group = coord.group(name);
    let mut letters = context.bounded(async { Ok(group.inbox_from(from).await?) }).await?;
    let me = coord.member();
    let note = json!({ "note": "reading", "group": name.as_str(), "member": me.as_str() });
    // Nobody can know a name that was made up a moment ago.
    let is_made_up = member::named(&context.common.members)?.is_none();
    let hint = if is_made_up { "; --member says whose" } else { "" };
    context.out.note(format_args!("reading the inbox of {me} in group \"{name}\"{hint}"), &note);
    let mut left = Countdown::from(reading.count);
    while !left.is_over() {
        match letters.next().await? {
            Mail::Letter(letter) => {
                let mut told = machine(letter.offset, letter.sender.as_str(), &letter.payload);
                told.insert("wants_reply".to_owned(), letter.wants_reply().into());
                let head = format!("{}\t", letter.sender);
                context.out.payload(&head, &letter.payload, &Value::Object(told))?;
                left.tick();
            }
            Mail::Lagged { missed } => tell_gap(context, missed)?,
            Mail::Reset => tell_reset(context)?,
        }
    }
    Ok(Exit::Done)
}
