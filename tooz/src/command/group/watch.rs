//! `tooz group watch`: members as they come, change and go.

use serde_json::{Value, json};
use tooz::{Coordinator, Event, Member, Name, View};

use super::folk;
use crate::command::context::Context;
use crate::command::exit::Exit;
use crate::command::failure::Failure;

pub(super) async fn run(context: &Context, group: &str) -> Result<Exit, Failure> {
    let name = Name::new(group)?;
    context.until_unread(async |coord| follow(context, coord, &name).await).await
}

async fn follow(context: &Context, coord: &Coordinator, name: &Name) -> Result<Exit, Failure> {
    let group = coord.group(name);
    let mut events = context.bounded(async { Ok(group.watch().await?) }).await?;
    let present = events.borrow().len();
    let note = json!({ "note": "watching", "group": name.as_str(), "members": present });
    context.out.note(format_args!("watching group \"{name}\", members now: {present}"), &note);
    for member in events.borrow().iter() {
        tell(context, "present", member)?;
    }
    let mut existence = events.clone();
    let mut existed = true;
    loop {
        tokio::select! {
            biased;
            event = events.next_event() => match event? {
                Event::Joined(member) => tell(context, "joined", &member)?,
                Event::Updated(member) => tell(context, "updated", &member)?,
                Event::Left(member) => tell(context, "left", &member)?,
            },
            exists = existence_changed(&mut existence, existed) => {
                existed = exists?;
                let deed = if existed { "created" } else { "deleted" };
                let told = json!({ "event": deed, "group": name.as_str() });
                context.out.say(format_args!("group \"{name}\": {deed}"), &told)?;
            }
        }
    }
}

async fn existence_changed(view: &mut View, existed: bool) -> tooz::Result<bool> {
    loop {
        let exists = view.borrow().exists();
        if exists != existed {
            return Ok(exists);
        }
        view.changed().await?;
    }
}

fn tell(context: &Context, event: &str, member: &Member) -> Result<(), Failure> {
    let mut told = folk::machine(member);
    told.insert("event".to_owned(), event.into());
    let human = if event == "left" { member.name().to_string() } else { folk::human(member) };
    context.out.say(format_args!("{event} {human}"), &Value::Object(told))
}
