//! A child that became another user (sudo): its signals are refused, which does not mean that it is gone.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::run::Run;
use crate::store::{Store, bare};

/// Shell words that run what follows them as root, whoever says them.
fn as_root(folder: &Path) -> String {
    let program = folder.join("setpriv");
    if !program.exists() {
        // By another process: whoever is forked here meanwhile would hold it open for writing, and it cannot be run then.
        let install = "install -m 4755 $(command -v setpriv) \"$0\"";
        assert!(Command::new("sh").args(["-c", install]).arg(&program).status().unwrap().success());
        // The store is the unprivileged user's too.
        set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
    }
    format!("{} --reuid 0", program.display())
}

/// Starts the command as a user who may not signal root's processes.
fn unprivileged(store: &Store, words: &[&str]) -> Run {
    assert!(rustix::process::geteuid().is_root(), "run this test as root: it becomes another user");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups"]).arg(bare(&[]).get_program()).args(words);
    command.env("TOOZ_BACKEND", store.url());
    Run::start(&mut command)
}

/// A group of root's processes, which nobody else ends.
struct Foreign(Pid);

impl Foreign {
    fn named(line: &str) -> Self {
        Self(Pid::from_raw(line.parse().unwrap()).unwrap())
    }

    fn is_alive(&self) -> bool {
        test_kill_process_group(self.0).is_ok()
    }

    fn end(&self) {
        kill_process_group(self.0, Signal::KILL).unwrap();
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

#[test]
fn a_child_that_may_not_be_ended_is_not_said_to_be() {
    let store = Store::file();
    let script = format!("exec {} sh -c 'echo $$; exec sleep 1000'", as_root(store.folder()));
    let mut holder = unprivileged(&store, &["lock", "a", "--json", "--", "sh", "-c", &script]);
    let child = Foreign::named(&holder.out.next());

    assert_eq!(unprivileged(&store, &["break", "a", "--now"]).end().code, 0);

    assert_eq!(holder.code(), 118);
    let told = holder.err.json()["error"].clone();
    assert_eq!((&told["kind"], &told["child"]), (&"lost".into(), &"alive".into()));
    let said = told["message"].as_str().unwrap();
    assert!(said.ends_with(&format!("end it as that user: kill -- -{}", child.0)), "{said}");
    assert!(child.is_alive());
}

#[test]
fn what_a_child_leaves_running_as_another_user_is_waited_for() {
    let store = Store::file();
    let leave = format!("{} sh -c 'echo $PGRP; exec sleep 1000'", as_root(store.folder()));
    let script = format!("export PGRP=$$; {leave} & read end; exit 4");
    let mut holder = unprivileged(&store, &["lock", "a", "--", "sh", "-c", &script]);
    let left = Foreign::named(&holder.out.next());

    holder.type_line("");

    holder.err.until("the child has ended, but what it started as another user has not");
    let held = || unprivileged(&store, &["who", "a", "--json"]).end().json()["held"].clone();
    assert_eq!(held(), true);
    left.end();
    assert_eq!(holder.code(), 4);
    assert_eq!(held(), false);
}
