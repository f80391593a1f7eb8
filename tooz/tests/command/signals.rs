//! Signals on their way to the child.

use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::run::Run;
use crate::store::{Store, bare};

#[test]
fn signals_are_passed_on_to_the_child() {
    let store = Store::file();
    let listen = "trap 'echo one' USR1; trap 'echo two' USR2; trap 'echo hup' HUP; trap 'echo int' INT; \
                  trap 'echo quit' QUIT; trap 'echo term; exit 3' TERM; echo ready; \
                  while :; do sleep 1000 & wait; kill $! 2>/dev/null; done";
    let mut run = store.start(&["lock", "a", "--", "sh", "-c", listen]);
    run.out.until("ready");
    for (signal, heard) in [
        (Signal::USR1, "one"),
        (Signal::USR2, "two"),
        (Signal::HUP, "hup"),
        (Signal::INT, "int"),
        (Signal::QUIT, "quit"),
        (Signal::TERM, "term"),
    ] {
        run.signal(signal);
        assert_eq!(run.out.next(), heard);
    }

    assert_eq!(run.code(), 3);
}

#[test]
fn an_interrupted_child_ends_the_command_as_a_shell_tells_it() {
    let store = Store::file();
    let mut run = store.start(&["lock", "a", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
    run.out.until("ready");
    run.signal(Signal::INT);
    assert_eq!(run.code(), 130);
    assert_eq!(store.who("a")["held"], false);
}

/// As a service manager does, that signals every process there is.
#[test]
fn a_signal_that_reaches_the_supervisor_too_leaves_the_child_its_time() {
    let store = Store::file();
    let tidy = "trap 'sleep .3; echo done; exit 3' TERM; echo $PPID; while :; do sleep 1000 & wait; done";
    let mut run = store.start(&["lock", "a", "--", "sh", "-c", tidy]);
    let supervisor = Pid::from_raw(run.out.next().parse().unwrap()).unwrap();

    for signal in [Signal::USR1, Signal::USR2, Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM] {
        kill_process(supervisor, signal).unwrap();
    }
    run.signal(Signal::TERM);

    assert_eq!(run.out.next(), "done");
    assert_eq!(run.code(), 3);
}

/// Starts the command with a signal ignored, as `nohup` or a script's background job is.
fn start_ignoring(store: &Store, signal: &str, arguments: &[&str]) -> Run {
    let mut command = Command::new("sh");
    let script = format!("trap '' {signal}; exec \"$@\"");
    command.args(["-c", &script, "sh"]).arg(bare(&[]).get_program()).args(arguments);
    command.env("TOOZ_BACKEND", format!("file://{}/store", store.folder().display()));
    Run::start(&mut command)
}

#[test]
fn a_member_in_a_scripts_background_leaves_when_told_by_int() {
    let store = Store::file();
    let mut member = start_ignoring(&store, "INT", &["group", "join", "g", "--create"]);
    member.out.until("joined");

    member.signal(Signal::INT);

    assert_eq!(member.code(), 0);
}

#[test]
fn a_hangup_that_was_ignored_stays_ignored() {
    let store = Store::file();
    let script = "echo ready; read line; echo $line";
    let mut run = start_ignoring(&store, "HUP", &["lock", "a", "--", "sh", "-c", script]);
    run.out.until("ready");

    run.signal(Signal::HUP);

    run.type_line("still here");
    assert_eq!(run.out.next(), "still here");
    assert_eq!(run.code(), 0);
}
