//! On a terminal: the waiting line, the keyboard, Ctrl-C and Ctrl-Z.
//!
//! What is typed is echoed; texts that are waited for are therefore typed with a gap that the shell closes.

use std::process::Command;

use conformance::servers::Redis;

use crate::pty::Pty;
use crate::store::{Store, bare};

/// An interactive shell that knows `tooz`.
fn shell(store: &Store) -> Pty {
    let mut command = Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]).env("PS1", "$ ").env("TERM", "dumb");
    command.env("TOOZ_BACKEND", store.url()).env("tooz", bare(&[]).get_program());
    let mut pty = Pty::start(&command);
    pty.until("$ ");
    pty
}

#[test]
fn a_live_line_names_the_holder_and_goes_away() {
    let store = Store::file();
    let mut holder = store.start(&["lock", "a", "--member", "one", "--", "sh", "-c", "echo ready; read end"]);
    holder.out.until("ready");
    let mut pty = Pty::start(&store.command(&["lock", "a", "--", "echo", "mine"]));
    pty.until("\r\u{1b}[Ktooz: waiting for lock \"a\": held by one since ");
    // The clock ticks.
    pty.until("held by one since ");

    holder.type_line("");

    assert!(pty.until("mine").ends_with("\r\u{1b}[K"));
}

#[test]
fn the_child_has_the_keyboard() {
    let store = Store::file();
    let mut pty = shell(&store);
    pty.press("$tooz lock a -- sh -c 'stty -echo; echo rea\"\"dy; read x; stty echo; echo got=$x'\n");
    pty.until("ready");
    pty.press("hello\n");
    pty.until("got=hello");
    pty.press("echo code\"\"=$?\n");
    pty.until("code=0");
}

#[test]
fn who_reads_the_commands_output_has_the_keyboard() {
    let store = Store::file();
    let mut pty = shell(&store);
    // The reader's line is asked for when the child runs.
    let reader =
        "read first; stty -echo </dev/tty; echo $first; read x </dev/tty; stty echo </dev/tty; echo got=$x";
    let child = "echo rea\"\"dy; exec sleep 1000";
    pty.press(&format!("$tooz lock a -- sh -c '{child}' | sh -c '{reader}'\n"));
    pty.until("ready");
    pty.press("hello\n");
    pty.until("got=hello");
    pty.press("\u{3}");
}

#[test]
fn ctrl_c_reaches_the_child_and_its_code_the_shell() {
    let store = Store::file();
    let mut pty = shell(&store);
    pty.press("$tooz lock a -- sh -c 'trap \"echo cau\\\"\\\"ght; exit 5\" INT; echo rea\"\"dy; read x'\n");
    pty.until("ready");
    pty.press("\u{3}");
    pty.until("caught");
    pty.press("echo code\"\"=$?\n");
    pty.until("code=5");
}

/// The command interrupts the rest of its job, and hears that itself: no reason not to wait for a server's answer.
#[test]
fn ctrl_c_leaves_the_command_the_time_to_give_the_lock_back() {
    let server = Redis::start();
    let store = Store::at(server.url());
    let mut pty = shell(&store);
    pty.press("$tooz lock a -- sh -c 'echo rea\"\"dy; exec sleep 1000'\n");
    pty.until("ready");
    pty.press("\u{3}");
    pty.press("echo code\"\"=$?\n");
    let said = pty.until("code=130");
    assert!(!said.contains("the child has ended"), "{said}");
    assert_eq!(store.who("a")["held"], false);
}

#[test]
fn ctrl_c_ends_a_scripts_loop() {
    let store = Store::file();
    let mut pty = shell(&store);
    pty.press("bash -c 'for i in 1 2 3; do $tooz lock a -- sh -c \"echo rea\\\"\\\"dy=$i; exec sleep 1000\"; done'\n");
    pty.until("ready=");
    pty.press("\u{3}");
    pty.press("echo code\"\"=$?\n");
    assert!(!pty.until("code=130").contains("ready"));
}

#[test]
fn ctrl_c_while_waiting_ends_a_scripts_loop() {
    let store = Store::file();
    let holder = store.start(&["lock", "a", "--", "sh", "-c", "echo ready; read end"]);
    holder.out.until("ready");
    let mut pty = shell(&store);
    pty.press("bash -c 'for i in 1 2 3; do $tooz lock a -- true; echo aft\"\"er; done'\n");
    pty.until("waiting for");
    pty.press("\u{3}");
    pty.press("echo code\"\"=$?\n");
    assert!(!pty.until("code=130").contains("after"));
}

/// As in a container: the kernel lets no default action end the first process.
#[test]
fn ctrl_c_ends_a_command_that_is_the_first_process() {
    let store = Store::file();
    let mut command = Command::new("unshare");
    // A session of its own, whose number and whose terminal's owner it can see.
    command.args(["--pid", "--fork", "--mount-proc", "setsid", "--ctty"]).arg(bare(&[]).get_program());
    command.args(["lock", "a", "--", "sh", "-c", "echo first=$(cat /proc/1/comm); exec sleep 1000"]);
    let mut pty = Pty::start(command.env("TOOZ_BACKEND", store.url()));
    pty.until("first=tooz");

    pty.press("\u{3}");

    assert_eq!(pty.code(), Some(130));
}

#[test]
fn ctrl_z_stops_child_and_command_and_fg_goes_on_with_both() {
    let store = Store::file();
    let mut pty = shell(&store);
    pty.press("$tooz lock a -- sh -c 'echo rea\"\"dy; read x; echo got=$x'\n");
    pty.until("ready");
    pty.press("\u{1a}");
    pty.until("Stopped");
    assert_eq!(store.who("a")["held"], true);
    pty.press("fg\n");
    pty.until("sh -c");
    pty.press("hello\n");
    pty.until("got=hello");
    pty.press("echo code\"\"=$?\n");
    pty.until("code=0");
}

#[test]
fn a_background_job_that_reads_stops_until_it_is_in_the_foreground() {
    let store = Store::file();
    let mut pty = shell(&store);
    pty.press("$tooz lock a -- sh -c 'read x; echo got=$x' &\n");
    // Told before the next prompt.
    let looked = std::time::Instant::now();
    pty.until("$ ");
    loop {
        pty.press("jobs; echo loo\"\"ked\n");
        if pty.until("looked").contains("Stopped") {
            break;
        }
        assert!(looked.elapsed().as_secs() < 30);
    }
    pty.press("fg\n");
    pty.until("sh -c");
    pty.press("hello\n");
    pty.until("got=hello");
}

#[test]
fn the_terminal_comes_back_when_the_supervisor_dies() {
    let store = Store::file();
    let mut pty = shell(&store);
    pty.press("$tooz lock a -- sh -c 'kill -9 $PPID; sleep 1000'\n");
    pty.press("echo code\"\"=$?\n");
    pty.until("code=116");
}

#[test]
fn ctrl_z_stops_a_waiter_and_fg_lets_it_wait_on() {
    let store = Store::file();
    let mut holder = store.start(&["lock", "a", "--", "sh", "-c", "echo ready; read end"]);
    holder.out.until("ready");
    let mut pty = shell(&store);
    pty.press("$tooz lock a -- echo mi\"\"ne\n");
    pty.until("waiting for");
    pty.press("\u{1a}");
    pty.until("Stopped");
    pty.press("fg\n");
    holder.type_line("");
    pty.until("mine");
}
