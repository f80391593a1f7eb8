//! The command's own process group, as a shell's job control sees it.

use super::supervisor::Terminal;
use rustix::process::{
    Pid, Signal, getpgid, getpgrp, getpid, getppid, getsid, kill_current_process_group, kill_process,
};

/// Stops the own process group as Ctrl-Z does and returns when it is continued. Returns `false` at once
/// where no shell would ever continue it.
pub(crate) fn stop_own_group() -> bool {
    if !is_controlled() {
        return false;
    }
    // The others by the terminal's stop, ourselves by the one that cannot be caught.
    let _ = kill_current_process_group(Signal::TSTP);
    kill_process(getpid(), Signal::STOP).is_ok()
}

/// Interrupts the own process group as Ctrl-C does, the command itself included. Tells whether it did.
pub(crate) fn interrupt_own_group() -> bool {
    kill_current_process_group(Signal::INT).is_ok()
}

/// Dies of an interrupt where a shell at a terminal looks: a script's loop goes on after a Ctrl-C unless
/// what it waits for really died of it.
pub(crate) fn die_of_interrupt_at_terminal() {
    // The first process of a container dies of no signal that it sends itself.
    if getpid().is_init() {
        return;
    }
    if Terminal::open().is_some_and(|terminal| terminal.belongs_to(getpgrp())) {
        // Should it fail, the exit code says the same.
        let _ = signal_hook::low_level::emulate_default_handler(Signal::INT.as_raw());
    }
}

/// Whether a process outside the group but in the session is parent to someone in it: a shell.
fn is_controlled() -> bool {
    let leader = getpgrp();
    let parents = [getppid(), parent(leader)];
    parents.into_iter().flatten().any(|parent| {
        getsid(Some(parent)).ok() == getsid(None).ok() && getpgid(Some(parent)).is_ok_and(|g| g != leader)
    })
}

/// The children of this process, adopted ones included; where `/proc` does not tell, none.
pub(crate) fn children() -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    processes.filter(|process| parent(*process) == Some(getpid())).collect()
}

fn parent(process: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(line.trim().parse().ok()?)
}
