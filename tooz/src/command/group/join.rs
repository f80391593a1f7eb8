//! `tooz group join`: a member until told to leave.

use serde_json::{Value, json};
use tooz::{Coordinator, Membership, MembershipState, Name};

use super::wording::Wording;
use crate::command::context::{self, Context};
use crate::command::exit::Exit;
use crate::command::failure::Failure;
use crate::command::output::plain;
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
    let coord = tokio::select! {
        coord = context.connect() => coord?,
        number = signals.next() => return Ok(context::ended_by(number)),
    };
    let ended = tokio::select! {
        joined = join(context, &coord, &name, &mut wording, create) => joined.map(Ok),
        number = signals.next() => Ok(Err(number)),
    };
    match ended {
        Ok(Ok(membership)) => match stay(context, &coord, &membership, &mut wording, &mut signals).await {
            Ok(number) => {
                let left = leave(context, &coord, membership, number, &mut signals).await;
                context::farewell(&coord).await;
                left
            }
            Err(failure) => {
                // Told first: giving the membership back may take as long as the store is silent.
                context.out.fail(&failure);
                context::give_back(&coord, &mut signals).await;
                Ok(failure.exit)
            }
        },
        // It may have been joined all the same.
        Ok(Err(number)) => {
            context::give_back(&coord, &mut signals).await;
            Ok(context::ended_by(number))
        }
        Err(failure) => {
            context::farewell(&coord).await;
            Err(failure)
        }
    }
}

async fn join(
    context: &Context,
    coord: &Coordinator,
    name: &Name,
    wording: &mut Wording,
    create: bool,
) -> Result<Membership, Failure> {
    let group = coord.group(name);
    let capabilities = wording.first().await?;
    let join = async {
        if create {
            group.create_if_missing().await?;
        }
        Ok(group.join_with(capabilities).await?)
    };
    context.bounded(join).await.map_err(|failure| failure.perhaps("joined"))
}

/// Tells of a change that came, until a signal does; tells which.
async fn stay(
    context: &Context,
    coord: &Coordinator,
    membership: &Membership,
    wording: &mut Wording,
    signals: &mut Signals,
) -> Result<i32, Failure> {
    let mut state = membership.state();
    let mut told = None;
    loop {
        let now = state.borrow_and_update();
        // A return so quick that it looks like no change has another session.
        let news = Some((now, coord.session())) != told;
        told = Some((now, coord.session()));
        match now {
            MembershipState::Joined if news => tell(context, coord, membership, "joined")?,
            MembershipState::Rejoining if news => tell(context, coord, membership, "rejoining")?,
            MembershipState::Joined | MembershipState::Rejoining => {}
            MembershipState::Left => {
                tell(context, coord, membership, "left")?;
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
            capabilities = wording.next() => match capabilities {
                Ok(capabilities) => {
                    let update = context.bounded(async { Ok(membership.update_with(capabilities).await?) });
                    tokio::select! {
                        updated = update => updated.map_err(|failure| failure.perhaps("updated"))?,
                        number = signals.next() => return Ok(number),
                    }
                    tell(context, coord, membership, "updated")?;
                }
                Err(wrong) => {
                    let note = json!({ "note": "not_updated", "message": wrong });
                    context.out.note(format_args!("not updated: {}", plain(&wrong)), &note);
                }
            },
            number = signals.next() => return Ok(number),
        }
    }
}

/// Leaves because of a signal. A further one is a word to stop waiting for the store.
async fn leave(
    context: &Context,
    coord: &Coordinator,
    membership: Membership,
    number: i32,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let last = line(coord, &membership, "left");
    tokio::select! {
        left = context.bounded(async { Ok(membership.leave().await?) }) => left?,
        further = signals.next() => return Ok(Exit::signal(further)),
    }
    context.out.say(last.0, &last.1)?;
    Ok(context::ended_by(number))
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
