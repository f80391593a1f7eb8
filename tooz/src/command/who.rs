//! `tooz who`: who holds a lock and who waits for it.

use serde_json::{Value, json};
use tooz::backend::{Contender, Holder, Queue};
use tooz::{Mode, Name};

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::span;

pub(crate) async fn run(context: &Context, name: &str) -> Result<Exit, Failure> {
    let lock = Name::new(name)?;
    let queue = context.briefly(async |coord| Ok(coord.lock(name).queue().await?)).await?;
    context.out.say(human(&lock, &queue), &machine(&lock, &queue))?;
    Ok(Exit::Done)
}

/// A member's name, where the store tells.
pub(crate) fn called(member: Option<&Name>) -> String {
    member.map_or_else(|| "somebody unnamed".to_owned(), Name::to_string)
}

/// Every holder with since when, joined by "and".
pub(crate) fn holders(queue: &Queue, waited: std::time::Duration) -> String {
    let named = queue.holders.iter().map(|holder| {
        let since = holder.age.map(|age| format!(" since {}", span::show(age + waited)));
        format!("{}{}", called(holder.member.as_ref()), since.unwrap_or_default())
    });
    named.collect::<Vec<_>>().join(" and ")
}

fn human(lock: &Name, queue: &Queue) -> String {
    let mut lines = vec![];
    if queue.holders.is_empty() {
        lines.push(format!("lock \"{lock}\": free"));
    }
    for holder in &queue.holders {
        let mut facts = vec![];
        facts.extend(holder.token.map(|token| format!("token {token}")));
        facts.extend(holder.age.map(|age| format!("for {}", span::show(age))));
        facts.extend((holder.mode == Mode::Shared).then(|| "shared".to_owned()));
        let facts = if facts.is_empty() { String::new() } else { format!(" ({})", facts.join(", ")) };
        lines.push(format!("lock \"{lock}\": held by {}{facts}", called(holder.member.as_ref())));
    }
    for (place, contender) in (1..).zip(&queue.waiting) {
        let shared = if contender.mode == Mode::Shared { " (shared)" } else { "" };
        lines.push(format!("  {place}. {} waits{shared}", called(contender.member.as_ref())));
    }
    lines.join("\n")
}

/// `holder`, `token` and `age` are those of the first holder: of the only one unless the lock is shared.
fn machine(lock: &Name, queue: &Queue) -> Value {
    let first = queue.holders.first();
    json!({
        "lock": lock.as_str(),
        "held": first.is_some(),
        "holder": first.and_then(|holder| holder.member.as_ref()).map(Name::as_str),
        "token": first.and_then(|holder| holder.token).map(tooz::FencingToken::get),
        "age": first.and_then(|holder| holder.age).map(|age| age.as_secs_f64()),
        "holders": queue.holders.iter().map(holder).collect::<Vec<_>>(),
        "queue": (1_u64..).zip(&queue.waiting).map(contender).collect::<Vec<_>>(),
    })
}

fn holder(holder: &Holder) -> Value {
    json!({
        "member": holder.member.as_ref().map(Name::as_str),
        "token": holder.token.map(tooz::FencingToken::get),
        "age": holder.age.map(|age| age.as_secs_f64()),
        "mode": mode(holder.mode),
        "claim": holder.claim.map(|claim| claim.to_string()),
    })
}

fn contender((place, contender): (u64, &Contender)) -> Value {
    json!({
        "position": place,
        "member": contender.member.as_ref().map(Name::as_str),
        "mode": mode(contender.mode),
        "claim": contender.claim.map(|claim| claim.to_string()),
    })
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tooz::{ClaimId, FencingToken};

    use super::*;

    fn queue() -> Queue {
        let claim = ClaimId::from_bytes([7; 16]);
        Queue {
            holders: vec![Holder {
                claim: Some(claim),
                member: Some(Name::new("web\u{1b}[2J").unwrap()),
                mode: Mode::Exclusive,
                token: Some(FencingToken::new(17)),
                value: None,
                age: Some(Duration::from_millis(12_500)),
            }],
            waiting: vec![Contender { claim: None, member: None, mode: Mode::Shared }],
            ..Queue::default()
        }
    }

    #[test]
    fn people_read_names_that_cannot_harm_their_terminal() {
        let name = Name::new("demo").unwrap();
        assert_eq!(
            human(&name, &queue()),
            "lock \"demo\": held by web\\u{1b}[2J (token 17, for 12s)\n  1. somebody unnamed waits (shared)"
        );
        assert_eq!(human(&name, &Queue::default()), "lock \"demo\": free");
    }

    #[test]
    fn machines_read_holder_token_age_and_queue() {
        let told = machine(&Name::new("demo").unwrap(), &queue());
        assert_eq!(told["holder"], "web\u{1b}[2J");
        assert_eq!(told["token"], 17);
        assert_eq!(told["age"], 12.5);
        assert_eq!(told["queue"][0]["position"], 1);
        assert_eq!(told["queue"][0]["mode"], "shared");
        let free = machine(&Name::new("demo").unwrap(), &Queue::default());
        assert_eq!((&free["held"], &free["holder"]), (&json!(false), &Value::Null));
    }
}
