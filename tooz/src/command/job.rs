//! The command's own process group, as a shell's job control sees it.

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

/// Interrupts the own process group as Ctrl-C does; the command itself is past it.
pub(crate) fn interrupt_own_group() {
    let _ = kill_current_process_group(Signal::INT);
}

/// Whether a process outside the group but in the session is parent to someone in it: a shell.
fn is_controlled() -> bool {
    let leader = getpgrp();
    let parents = [getppid(), parent(leader)];
    parents.into_iter().flatten().any(|parent| {
        getsid(Some(parent)).ok() == getsid(None).ok() && getpgid(Some(parent)).is_ok_and(|g| g != leader)
    })
}

fn parent(process: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.as_raw_pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Pid::from_raw(line.trim().parse().ok()?)
}
