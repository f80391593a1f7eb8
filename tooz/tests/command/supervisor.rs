//! The supervisor: the child's group never outlives the lock.

use std::os::unix::process::CommandExt;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};

use crate::run::Run;
use crate::store::Store;

/// A child that ignores TERM, with a child of its own.
const STUBBORN: &str = "trap '' TERM; sleep 1000 & echo ready; wait; sleep 1000";

/// Interleaving 33: the death signal reaches the whole group, and TERM may be ignored.
#[test]
fn a_killed_commands_child_is_ended_with_its_group_even_if_it_ignores_term() {
    let store = Store::file();
    let first = store.start(&["lock", "a", "--", "sh", "-c", STUBBORN]);
    first.out.until("ready");

    first.signal(Signal::KILL);

    // The end of its output: nobody is left who holds it, neither supervisor nor child nor grandchild.
    assert_eq!(first.out.rest(), Vec::<String>::new());
    assert_eq!(store.who("a")["held"], false);
}

/// Interleaving 33: killing the command's whole process group does not reach its supervisor.
#[test]
fn killing_the_commands_whole_group_ends_the_child_too() {
    let store = Store::file();
    let mut command = store.command(&["lock", "a", "--", "sh", "-c", STUBBORN]);
    let first = Run::start(command.process_group(0));
    first.out.until("ready");

    kill_process_group(first.pid(), Signal::KILL).unwrap();

    assert_eq!(first.out.rest(), Vec::<String>::new());
    assert_eq!(store.who("a")["held"], false);
}

/// Interleaving 33: the lock stays held until the killed command's child is gone.
#[test]
fn the_lock_stays_held_until_a_killed_commands_child_is_gone() {
    let store = Store::file();
    let pids = "trap '' TERM; echo $$; exec sleep 1000";
    let first = store.start(&["lock", "a", "--", "sh", "-c", pids]);
    let child = first.out.next();
    let second =
        store.start(&["lock", "a", "--", "sh", "-c", &format!("kill -0 {child} && echo alive; echo on")]);
    second.err.until("waiting for");

    first.signal(Signal::KILL);

    assert_eq!(second.out.next(), "on");
    assert_eq!(second.end().code, 0);
}

/// Interleaving 33: nor until the child of a lock within is gone, whose supervisor learns of it last.
#[test]
fn the_lock_stays_held_until_the_child_of_a_lock_within_is_gone() {
    let store = Store::file();
    let pids = "trap '' TERM; echo $$; exec sleep 1000";
    let first =
        store.start(&["lock", "a", "--", env!("CARGO_BIN_EXE_tooz"), "lock", "b", "--", "sh", "-c", pids]);
    let child = first.out.next();
    let second =
        store.start(&["lock", "a", "--", "sh", "-c", &format!("kill -0 {child} && echo alive; echo on")]);
    second.err.until("waiting for");

    first.signal(Signal::KILL);

    assert_eq!(second.out.next(), "on");
    assert_eq!(second.end().code, 0);
}

/// Interleaving 33: a stopped command cannot enforce its deadline; its supervisor does.
#[test]
fn a_stopped_command_with_a_lease_loses_its_child_by_the_deadline() {
    let store = Store::leasing("1s");
    let mut run = store.start(&[
        "lock",
        "a",
        "--",
        "sh",
        "-c",
        "trap 'echo told' TERM; echo ready; while :; do sleep 1000 & wait; done",
    ]);
    run.out.until("ready");

    run.signal(Signal::STOP);

    assert_eq!(run.out.next(), "told");
    run.signal(Signal::CONT);
    assert_eq!(run.code(), 118);
    assert_eq!(run.out.rest(), Vec::<String>::new());
    let said = run.err.until(": the child was terminated");
    assert!(said.contains("lock \"a\" was ") && said.contains("renewal"), "{said}");
}

#[test]
fn a_renewed_lease_outlives_many_deadlines() {
    let store = Store::leasing("1s");
    let ended = store.run(&["lock", "a", "--", "sleep", "3"]);
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_stopped_command_on_files_keeps_lock_and_child() {
    let store = Store::file();
    let mut run =
        store.start(&["lock", "a", "--member", "one", "--", "sh", "-c", "echo ready; read line; echo $line"]);
    run.out.until("ready");
    run.signal(Signal::STOP);

    assert_eq!(store.who("a")["holder"], "one");
    run.type_line("on");
    assert_eq!(run.out.next(), "on");

    run.signal(Signal::CONT);
    assert_eq!(run.code(), 0);
}

/// Interleaving 33: and if the supervisor dies, the command ends the child.
#[test]
fn a_killed_supervisor_takes_the_child_with_it_and_gives_the_lock_back() {
    let store = Store::file();
    let mut run = store.start(&[
        "lock",
        "a",
        "--",
        "sh",
        "-c",
        "echo $PPID $$; trap '' TERM; sleep 1000 & wait; sleep 1000",
    ]);
    let line = run.out.next();
    let pids: Vec<Pid> = line.split(' ').map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap()).collect();

    kill_process(pids[0], Signal::KILL).unwrap();

    assert_eq!(run.code(), 116);
    assert_eq!(run.out.rest(), Vec::<String>::new());
    assert!(test_kill_process(pids[1]).is_err(), "the child is alive");
    assert_eq!(store.run(&["lock", "a", "--timeout", "0", "--", "true"]).code, 0);
}

#[test]
fn what_the_child_leaves_in_its_group_is_ended_before_the_lock_is_released() {
    let store = Store::file();
    let ended = store.run(&["lock", "a", "--", "sh", "-c", "sleep 1000 & echo $!; exit 4"]);

    assert_eq!(ended.code, 4);
    let left = Pid::from_raw(ended.out[0].parse().unwrap()).unwrap();
    assert!(test_kill_process(left).is_err(), "it is alive");
}

/// Interleaving 33: a supervisor that is stopped does not keep a lost lock's child alive.
#[test]
fn a_stopped_supervisor_does_not_save_the_child_of_a_lost_lock() {
    let store = Store::file();
    let mut run = store.start(&[
        "lock",
        "a",
        "--",
        "sh",
        "-c",
        "echo $PPID; trap '' TERM; sleep 1000 & wait; sleep 1000",
    ]);
    let supervisor = Pid::from_raw(run.out.next().parse().unwrap()).unwrap();
    kill_process(supervisor, Signal::STOP).unwrap();

    assert_eq!(store.run(&["break", "a", "--now"]).code, 0);

    assert_eq!(run.code(), 118);
    assert_eq!(run.out.rest(), Vec::<String>::new());
}
