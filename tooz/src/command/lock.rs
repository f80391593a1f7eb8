//! `tooz lock`: run a command while holding a lock.

use std::ffi::OsString;

use tooz::{Coordinator, Guard, Lock, Name, Seat, State};

use super::child;
use super::context::{self, Context};
use super::exit::Exit;
use super::failure::Failure;
use super::signals::Signals;
use super::{span, waiting};

pub(crate) async fn run(
    context: &Context,
    name: &str,
    shared: bool,
    command: &[OsString],
) -> Result<Exit, Failure> {
    let command = child::required(command, "tooz lock NAME")?;
    let seat = Seat::Lock(Name::new(name)?);
    let mut signals = Signals::forwarded().map_err(|e| Failure::system("listen for signals", &e))?;
    let coord = tokio::select! {
        coord = context.connect() => coord?,
        number = signals.next_ending() => return Ok(Exit::signal(number)),
    };
    let lock = if shared { coord.lock(name).shared() } else { coord.lock(name) };
    held(context, &coord, &lock, &seat, command, &mut signals).await
}

async fn held(
    context: &Context,
    coord: &Coordinator,
    lock: &Lock,
    seat: &Seat,
    command: &[OsString],
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let contest = acquire(context, lock);
    let guard = tokio::select! {
        guard = waiting::tell(context.out, seat, coord.member(), lock.watch(), contest) => guard,
        number = signals.next_ending() => {
            context::give_back(coord, signals).await;
            return Ok(Exit::signal(number));
        }
    };
    let done = match guard {
        Ok(Some(guard)) => {
            let environment = vec![("TOOZ_LOCK", seat.name().as_str().to_owned())];
            let ended = child::run(coord, seat, &guard, command, environment, signals, context.out).await;
            child::after(context, ended, guard.release(), signals).await
        }
        Ok(None) => Err(out_of_time(context, coord, seat)),
        Err(error) => Err(error.into()),
    };
    context::farewell(coord).await;
    done
}

async fn acquire(context: &Context, lock: &Lock) -> tooz::Result<Option<Guard>> {
    match context.common.timeout {
        None => lock.acquire().await.map(Some),
        Some(limit) if limit.is_zero() => lock.try_acquire().await,
        Some(limit) => lock.acquire_timeout(limit).await,
    }
}

/// The time is up: busy, as far as the store tells.
pub(crate) fn out_of_time(context: &Context, coord: &Coordinator, seat: &Seat) -> Failure {
    let limit = span::show(context.common.timeout.unwrap_or_default());
    let text = format!("{seat} was not free within --timeout {limit}");
    match coord.state().borrow() {
        State::Suspended { .. } | State::Lost(_) => {
            let text = format!("{text}, as far as is known: the store does not answer");
            Failure::new(Exit::Unavailable, "unavailable", text)
        }
        _ => Failure::new(Exit::Busy, "busy", text),
    }
}
