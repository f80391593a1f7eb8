//! `tooz group`: create, list, join, watch, delete.

mod folk;
mod join;
mod rooms;
mod watch;
mod wording;

use super::args::GroupVerb;
use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;

pub(crate) async fn run(context: &Context, verb: &GroupVerb) -> Result<Exit, Failure> {
    match verb {
        GroupVerb::Create { group, if_missing } => rooms::create(context, group, *if_missing).await,
        GroupVerb::Delete { group } => rooms::delete(context, group).await,
        GroupVerb::List => rooms::list(context).await,
        GroupVerb::Members { group } => folk::members(context, group).await,
        GroupVerb::Join { group, capabilities, create } => {
            join::run(context, group, capabilities, *create).await
        }
        GroupVerb::Watch { group } => watch::run(context, group).await,
    }
}
