//! `tooz elect`: run a command while leading a group.

use std::ffi::OsString;

use tooz::{Coordinator, Election, Leadership, Name, Seat};

use super::context::{self, Context};
use super::exit::Exit;
use super::failure::Failure;
use super::lock::out_of_time;
use super::signals::Signals;
use super::{child, waiting};

pub(crate) async fn run(
    context: &Context,
    group: &str,
    value: &str,
    command: &[OsString],
) -> Result<Exit, Failure> {
    let command = child::required(command, "tooz elect GROUP")?;
    let seat = Seat::Leader(Name::new(group)?);
    let mut signals = Signals::forwarded().map_err(|e| Failure::system("listen for signals", &e))?;
    let coord = tokio::select! {
        coord = context.connect() => coord?,
        number = signals.next_ending() => return Ok(Exit::signal(number)),
    };
    leading(context, &coord, &seat, value, command, &mut signals).await
}

async fn leading(
    context: &Context,
    coord: &Coordinator,
    seat: &Seat,
    value: &str,
    command: &[OsString],
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let election = coord.group(seat.name()).election();
    let contest = campaign(context, &election, value);
    let leadership = tokio::select! {
        won = waiting::tell(context.out, seat, coord.member(), election.watch(), contest) => won,
        number = signals.next_ending() => {
            context::give_back(coord, signals).await;
            return Ok(Exit::signal(number));
        }
    };
    let done = match leadership {
        Ok(Some(leadership)) => {
            let environment = vec![("TOOZ_GROUP", seat.name().as_str().to_owned())];
            let ended =
                child::run(coord, seat, leadership.guard(), command, environment, signals, context.out).await;
            child::after(context, ended, leadership.resign(), signals).await
        }
        Ok(None) => Err(out_of_time(context, coord, seat)),
        Err(error) => Err(error.into()),
    };
    context::farewell(coord).await;
    done
}

async fn campaign(context: &Context, election: &Election, value: &str) -> tooz::Result<Option<Leadership>> {
    let value = value.to_owned();
    match context.common.timeout {
        None => election.campaign(value).await.map(Some),
        Some(limit) if limit.is_zero() => election.try_campaign(value).await,
        Some(limit) => election.campaign_timeout(value, limit).await,
    }
}
