//! Running a child while something is held.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::time::Duration;

use futures_util::FutureExt;
use serde_json::json;
use tooz::backend::Liveness;
use tooz::{Cause, Coordinator, Guard, Moment, Seat};

use super::context::Context;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::signals::Signals;
use super::supervisor::{Charge, Outcome, Supervisor, beyond};

impl Charge for Guard {
    fn deadline(&self) -> Option<Moment> {
        self.deadline()
    }

    async fn lost(&self) -> Cause {
        self.lost().await
    }

    fn tether(&self) -> Option<OwnedFd> {
        self.tether()
    }
}

/// The command to run, or a word on how to give one.
pub(crate) fn required<'a>(command: &'a [OsString], example: &str) -> Result<&'a [OsString], Failure> {
    if command.is_empty() {
        return Err(Failure::usage(format!(
            "no command to run: write it after --, like `{example} -- make deploy`"
        )));
    }
    Ok(command)
}

/// Runs the child to its end, which may be before the guard's.
pub(crate) async fn run(
    coord: &Coordinator,
    seat: &Seat,
    guard: &Guard,
    command: &[OsString],
    mut environment: Vec<(&'static str, String)>,
    signals: &mut Signals,
    out: Output,
) -> Result<Exit, Failure> {
    let liveness = coord.profile().liveness;
    let deadline = guard.deadline();
    // Without a deadline a lease is lost, which must not pass for a lock that never ends.
    if !guard.is_held() || (deadline.is_none() && liveness != Liveness::Kernel) {
        return Err(Failure::lost(seat, cause(guard), "the child was not started"));
    }
    environment.push(("TOOZ_FENCING_TOKEN", guard.fencing_token().to_string()));
    environment.push(("TOOZ_MEMBER", coord.member().as_str().to_owned()));
    let lead = lead(liveness);
    let supervisor = Supervisor::start(command, &environment, guard, deadline, lead).await?;
    match supervisor.attend(guard, signals, deadline, lead / 4, out).await? {
        Outcome::Ended(exit) => Ok(exit),
        Outcome::Terminated => Err(Failure::lost(seat, cause(guard), "the child was terminated")),
        Outcome::Beyond(group) => {
            let mut failure = Failure::lost(seat, cause(guard), &beyond(group));
            failure.facts.push(("child", "alive"));
            Err(failure)
        }
    }
}

/// Gives back and passes on how the child ended, whatever became of giving back. A signal cuts it short.
pub(crate) async fn after(
    context: &Context,
    ended: Result<Exit, Failure>,
    release: impl Future<Output = tooz::Result<()>>,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    if ended.as_ref().is_err_and(|failure| failure.exit == Exit::Lost) {
        return ended; // what is lost needs no giving back, and its store may be silent
    }
    let obstacle = tokio::select! {
        released = release => match released {
            Ok(()) => return ended,
            Err(error) => error.to_string(),
        },
        number = signals.next_ending() => format!("signal {number} came before it was given back"),
    };
    let note = json!({ "note": "not_released", "message": obstacle });
    context.out.note(format_args!("the child has ended, but: {obstacle}"), &note);
    ended
}

/// Why it is held no more; `None` if it is still.
fn cause(guard: &Guard) -> Option<Cause> {
    let told = guard.lost().now_or_never();
    // Whoever was stopped wakes before its own engine has looked at the clock.
    told.or_else(|| (!guard.is_held()).then_some(Cause::Expired))
}

/// How long before the deadline the child is told to end: after all renewals but the last attempt failed.
fn lead(liveness: Liveness) -> Duration {
    match liveness {
        Liveness::Kernel => Duration::ZERO,
        Liveness::Lease(ttl) => (ttl / 6).min(Duration::from_secs(5)),
    }
}
