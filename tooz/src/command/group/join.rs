//! `tooz group join`: a member until told to leave.

use serde_json::{Value, json};
use tooz::{Coordinator, Membership, MembershipState, Name};

use super::wording::Wording;
use crate::command::context::{self, Context};
use crate::command::exit::Exit;
use crate::command::failure::Failure;
use crate::command::signals::Signals;

pub(super) async fn run(
    context: &Context,
    group: &str,
    capabilities: &str,
    create: bool,
) -> Result<Exit, Failure> {
    let name = Name::new(group)?;
    let mut wording = Wording::read(capabilities)?;
    let mut signals = Signals::ending().map_err(|e| Failure::system("listen for signals", &e))?;
    let coord = context.connect().await?;
    let done = tokio::select! {
        joined = join(&coord, &name, &mut wording, create) => match joined {
            Ok(membership) => stay(context, &coord, membership, &mut wording, &mut signals).await,
            Err(failure) => Err(failure),
        },
        number = signals.next() => Ok(context::ended_by(number)),
    };
    context::close(&coord, done).await
}

async fn join(
    coord: &Coordinator,
    name: &Name,
    wording: &mut Wording,
    create: bool,
) -> Result<Membership, Failure> {
    let group = coord.group(name);
    if create {
        group.create_if_missing().await?;
    }
    Ok(group.join(&wording.first().await?).await?)
}

async fn stay(
    context: &Context,
    coord: &Coordinator,
    membership: Membership,
    wording: &mut Wording,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let mut state = membership.state();
    let mut told = None;
    loop {
        let now = state.borrow_and_update();
        // A return so quick that it looks like no change has another session.
        let news = Some((now, coord.session())) != told;
        told = Some((now, coord.session()));
        match now {
            MembershipState::Joined if news => tell(context, coord, &membership, "joined")?,
            MembershipState::Rejoining if news => tell(context, coord, &membership, "rejoining")?,
            MembershipState::Joined | MembershipState::Rejoining => {}
            MembershipState::Left => {
                tell(context, coord, &membership, "left")?;
                let text = format!(
                    "the membership of \"{}\" is over: the group was deleted, or another member took the id",
                    membership.group()
                );
                return Err(Failure::new(Exit::NotFound, "not_member", text));
            }
        }
        tokio::select! {
            changed = state.changed() => {
                if changed.is_err() {
                    return Err(Failure::new(Exit::Unavailable, "closed", "the session ended"));
                }
            }
            capabilities = wording.next() => {
                membership.update(&capabilities?).await?;
                tell(context, coord, &membership, "updated")?;
            }
            number = signals.next() => {
                let last = line(coord, &membership, "left");
                membership.leave().await?;
                context.out.say(last.0, &last.1)?;
                return Ok(context::ended_by(number));
            }
        }
    }
}

fn tell(context: &Context, coord: &Coordinator, membership: &Membership, event: &str) -> Result<(), Failure> {
    let (human, machine) = line(coord, membership, event);
    context.out.say(human, &machine)
}

fn line(coord: &Coordinator, membership: &Membership, event: &str) -> (String, Value) {
    let (group, member) = (membership.group(), membership.member());
    let session = coord.session().map(|session| session.to_string());
    let told = json!({
        "event": event,
        "group": group.as_str(),
        "member": member.as_str(),
        "session": session,
    });
    (format!("{event} group \"{group}\" as {member}"), told)
}
