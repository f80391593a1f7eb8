//! `tooz leader`: who leads a group.

use serde_json::{Value, json};
use tooz::{Coordinator, FencingToken, Leader, Name, Observation};

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::output::plain;
use super::{span, value, who};

pub(crate) async fn run(context: &Context, group: &str, watch: bool) -> Result<Exit, Failure> {
    let group = Name::new(group)?;
    if watch {
        return follow(context, &group).await;
    }
    let leader = context.briefly(async |coord| Ok(coord.group(&group).election().leader().await?)).await?;
    tell(context, &group, leader.as_ref())?;
    Ok(Exit::Done)
}

async fn follow(context: &Context, group: &Name) -> Result<Exit, Failure> {
    let watch = async |coord: &Coordinator| {
        let election = coord.group(group).election();
        let mut observer = context.bounded(async { Ok(election.observe().await?) }).await?;
        while let Some(observation) = observer.next().await {
            match observation {
                Observation::Vacant => tell(context, group, None)?,
                Observation::Held(leader) => tell(context, group, Some(&leader))?,
            }
        }
        Err(Failure::new(Exit::Unavailable, "closed", "the session ended"))
    };
    context.until_unread(watch).await
}

fn tell(context: &Context, group: &Name, leader: Option<&Leader>) -> Result<(), Failure> {
    context.out.say(human(group, leader), &machine(group, leader))
}

fn human(group: &Name, leader: Option<&Leader>) -> String {
    let Some(leader) = leader else { return format!("group \"{group}\": vacant") };
    let mut facts = vec![];
    facts.extend(leader.term.map(|term| format!("term {term}")));
    facts.extend(leader.age.map(|age| format!("for {}", span::show(age))));
    facts.extend(
        leader
            .value
            .as_ref()
            .filter(|value| !value.is_empty())
            .map(|value| format!("value {}", plain(&String::from_utf8_lossy(value)))),
    );
    let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
    format!("group \"{group}\": led by {}{facts}", who::called(leader.member.as_ref()))
}

fn machine(group: &Name, leader: Option<&Leader>) -> Value {
    let leader = leader.map(|leader| {
        json!({
            "member": leader.member.as_ref().map(Name::as_str),
            "value": leader.value.as_ref().map(|raw| value::text_or_bytes(raw)),
            "term": leader.term.map(FencingToken::get),
            "age": leader.age.map(|age| age.as_secs_f64()),
        })
    });
    json!({ "group": group.as_str(), "leader": leader })
}
