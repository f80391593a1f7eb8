//! The command `tooz`: one file per subcommand and per noun.

mod args;
mod child;
mod context;
mod doctor;
mod elect;
mod evict;
mod exit;
mod failure;
mod group;
mod job;
mod leader;
mod line;
mod lock;
mod member;
mod output;
mod reader;
mod ring;
mod root;
mod signals;
mod span;
mod supervisor;
mod topic;
mod value;
mod waiting;
mod who;

use std::ffi::OsString;
use std::process::ExitCode;

use args::Verb;
use context::Context;
use exit::Exit;
use failure::Failure;
use tokio::signal::unix::SignalKind;

/// Runs the command line of this process.
pub(crate) fn run() -> ExitCode {
    let exit = match supervised() {
        // No setting concerns the supervisor: they are the child's.
        Some(command) => told(&Context::new(args::Common::default()), supervisor::supervise(&command)),
        None => line::read().map_or_else(|exit| exit, obey),
    };
    if exit == Exit::signal(SignalKind::interrupt().as_raw_value()) {
        job::die_of_interrupt_at_terminal();
    }
    ExitCode::from(exit.code())
}

/// What to run, where this process is started as a supervisor.
fn supervised() -> Option<Vec<OsString>> {
    let mut words = std::env::args_os().skip(1);
    let is_it = words.next()? == supervisor::WORD && words.next()? == "--";
    is_it.then(|| words.collect())
}

fn obey(line: args::Line) -> Exit {
    let context = Context::new(line.common);
    context.listen();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(perform(&context, &line.verb)),
        Err(error) => Err(Failure::system("start", &error)),
    };
    told(&context, done)
}

fn told(context: &Context, done: Result<Exit, Failure>) -> Exit {
    done.unwrap_or_else(|failure| {
        context.out.fail(&failure);
        failure.exit
    })
}

async fn perform(context: &Context, verb: &Verb) -> Result<Exit, Failure> {
    let waits_for_a_turn = matches!(verb, Verb::Lock { .. } | Verb::Elect { .. });
    if context.common.timeout.is_some_and(|limit| limit.is_zero()) && !waits_for_a_turn {
        let text = "--timeout 0 means not to wait for a turn (lock, elect); give the store a time, like 1s";
        return Err(Failure::usage(text));
    }
    match verb {
        Verb::Lock { name, shared, command } => Box::pin(lock::run(context, name, *shared, command)).await,
        Verb::Elect { group, value, command } => Box::pin(elect::run(context, group, value, command)).await,
        Verb::Group(verb) => Box::pin(group::run(context, verb)).await,
        Verb::Topic(verb) => Box::pin(topic::run(context, verb)).await,
        Verb::Send { to, group, data } => Box::pin(topic::send(context, to, group, data)).await,
        Verb::Inbox { group, reading } => Box::pin(topic::inbox(context, group, reading)).await,
        Verb::Leader { group, watch } => Box::pin(leader::run(context, group, *watch)).await,
        Verb::Who { name } => Box::pin(who::run(context, name)).await,
        Verb::Break { name, now } => Box::pin(evict::run(context, name, *now)).await,
        Verb::Ring { words, partitions, replicas, ignore } => {
            Box::pin(ring::run(
                context,
                words,
                &ring::Wish { partitions: *partitions, replicas: *replicas, ignore },
            ))
            .await
        }
        Verb::Doctor => Box::pin(doctor::run(context)).await,
    }
}
