//! The default store.

use std::os::unix::fs::PermissionsExt;

use crate::run::Run;
use crate::store::{Store, bare};

/// Interleaving 34: one place per user that stays, named when used.
#[test]
fn without_a_url_the_users_state_directory_is_used_and_named() {
    let store = Store::file();
    let home = store.folder().join("home");
    std::fs::create_dir(&home).unwrap();
    let mut command = bare(&["lock", "a", "--", "true"]);
    let ended = Run::start(command.env("HOME", &home).env_remove("XDG_STATE_HOME")).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let root = home.join(".local/state/tooz");
    assert!(ended.complaint().contains(&format!("using file://{}", root.display())), "{ended:?}");
    assert_eq!(root.metadata().unwrap().permissions().mode() & 0o777, 0o700);

    let state = store.folder().join("state");
    let mut command = bare(&["lock", "a", "--", "true"]);
    let ended = Run::start(command.env("HOME", &home).env("XDG_STATE_HOME", &state)).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(state.join("tooz").is_dir());
}

/// Interleaving 34: two commands of one user meet there.
#[test]
fn two_commands_of_one_user_exclude_each_other_by_default() {
    let store = Store::file();
    let command = |words: &[&str]| {
        let mut command = bare(words);
        command.env("HOME", store.folder()).env_remove("XDG_STATE_HOME");
        command
    };
    let holder = Run::start(&mut command(&["lock", "a", "--", "sh", "-c", "echo ready; read end"]));
    holder.out.until("ready");
    assert_eq!(Run::start(&mut command(&["lock", "a", "--timeout", "0", "--", "true"])).end().code, 117);
}

#[test]
fn an_empty_setting_is_none() {
    let store = Store::file();
    let mut command = bare(&["who", "a"]);
    command.env("TOOZ_BACKEND", "").env("TOOZ_MEMBER", "").env("HOME", store.folder());
    let ended = Run::start(command.env_remove("XDG_STATE_HOME")).end();
    assert_eq!(ended.code, 0, "{ended:?}");
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_in_one_line() {
    let store = Store::file();
    let file = store.folder().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = bare(&["who", "a"]);
    let ended = Run::start(command.env("XDG_STATE_HOME", file.join("below"))).end();
    assert_eq!(ended.code, 113, "{ended:?}");
    assert!(ended.complaint().contains("TOOZ_BACKEND"), "{ended:?}");
}
