//! What is wrong is said in one line: what, what is allowed, what to do.

use serde_json::Value;

use crate::run::Run;
use crate::store::{Store, bare};

#[test]
fn options_stand_before_or_after_the_subcommand() {
    let store = Store::file();
    let url = format!("file://{}/elsewhere", store.folder().display());
    for words in [
        ["--url", &url, "--member", "me", "lock", "a", "--", "sh", "-c", "echo $TOOZ_MEMBER"],
        ["lock", "--url", &url, "a", "--member", "me", "--", "sh", "-c", "echo $TOOZ_MEMBER"],
        ["lock", "a", "--url", &url, "--member", "me", "--", "sh", "-c", "echo $TOOZ_MEMBER"],
    ] {
        let ended = Run::start(&mut bare(&words)).end();
        assert_eq!((ended.code, ended.out), (0, vec!["me".to_owned()]), "{words:?}: {:?}", ended.err);
    }
}

#[test]
fn options_win_over_the_environment() {
    let store = Store::file();
    let mut command = store.command(&["lock", "a", "--member", "me", "--", "sh", "-c", "echo $TOOZ_MEMBER"]);
    assert_eq!(Run::start(command.env("TOOZ_MEMBER", "you")).end().out, ["me"]);
    let mut command = store.command(&["lock", "a", "--", "sh", "-c", "echo $TOOZ_MEMBER"]);
    assert_eq!(Run::start(command.env("TOOZ_MEMBER", "you")).end().out, ["you"]);
}

#[test]
fn bad_input_is_one_clear_line_and_code_2() {
    let store = Store::file();
    let long = "x".repeat(300);
    let cases: [(&[&str], &str); 16] = [
        (&["who", "a", "--url", "nope://x"], "file"),
        (&["who", "a", "--url", "redis://localhost/5"], "?db=5"),
        (&["who", "a", "--url", "zookeeper://localhost/app"], "?chroot="),
        (&["who", "a", "--url", "no url"], "://"),
        (&["who", "a", "--url", "file://host/x"], "three slashes"),
        (&["who", "a", "--url", "file:///tmp/x?nope=1"], "\"nope\""),
        (&["who", "a", "--url", "file:///tmp/x?timeout=soon"], "timeout"),
        (&["who", ""], "empty"),
        (&["who", &long], "255"),
        (&["lock", "a"], "after --"),
        (&["lock", "a", "--"], "after --"),
        (&["lock", "a", "--timeout", "soon", "--", "true"], "5s"),
        (&["lock", "a", "true"], "--help"),
        (&["lokc", "a"], "lock"),
        (&["group", "join", "g", "--capabilities", "{"], "JSON"),
        (&["who", "a", "--member", &long], "255"),
    ];
    for (words, hint) in cases {
        let ended = store.run(words);
        assert_eq!(ended.code, 2, "{words:?}: {ended:?}");
        assert!(ended.out.is_empty());
        let line = ended.complaint();
        assert!(line.starts_with("tooz: ") && line.contains(hint), "{words:?}: {line}");
    }
}

#[test]
fn for_machines_an_error_is_an_object() {
    let store = Store::file();
    for (words, kind) in [
        (["who", "", "--json"].as_slice(), "invalid_name"),
        (&["--json", "lokc"], "usage"),
        (&["--json", "lock", "a"], "usage"),
        (&["group", "members", "g", "--json"], "no_such_group"),
        (&["who", "a", "--json", "--url", "nope://"], "unknown_scheme"),
        (&["lock", "a", "--json", "--", "/no/such/program"], "no_program"),
    ] {
        let ended = store.run(words);
        let told: Value = serde_json::from_str(ended.complaint()).unwrap();
        assert_eq!(told["error"]["kind"], kind, "{words:?}");
        assert!(told["error"]["message"].is_string());
    }
}

#[test]
fn names_of_every_shape_are_names() {
    let store = Store::file();
    for name in ["../x", "a/b", "a\nb", "*", "{a}", " ", "é", ".", "..", "-"] {
        let ended = store.run(&["lock", "--", name, "sh", "-c", "printf %s \"$TOOZ_LOCK\""]);
        assert_eq!(ended.code, 2, "without a name everything after -- is the command: {ended:?}");
        let ended = store.run(&["lock", name, "--", "sh", "-c", "printf %s \"$TOOZ_LOCK\""]);
        assert_eq!((ended.code, ended.out.join("\n").as_str()), (0, name), "{:?}", ended.err);
    }
    assert!(!store.folder().join("x").exists());
}

#[test]
fn hostile_names_do_not_reach_a_terminal() {
    let store = Store::file();
    store.run(&["group", "create", "a\u{1b}[2Jb"]);
    assert_eq!(store.run(&["group", "list"]).out, ["a\\u{1b}[2Jb"]);
    assert_eq!(store.run(&["group", "list", "--json"]).json()[0]["group"], "a\u{1b}[2Jb");
}

#[test]
fn a_password_is_never_shown() {
    let ended = Run::start(&mut bare(&["who", "a", "--url", "redis://u:sesame@localhost/5"])).end();
    assert_eq!(ended.code, 2);
    assert!(!ended.complaint().contains("sesame"));
    for words in [
        ["doctor", "redis://:sesame@host"].as_slice(),
        &["doctor", "redis://u:sesame@host,u:sesame@other/"],
        &["who", "a", "--timeout", "redis://:sesame@h"],
        &["who", "a", "--timeout=redis://:sesame@h"],
        &["redis://:sesame@h"],
        &["doctor", "redis://h?password=sesame"],
        &["who", "a", "--redis://:ses@sesame@h"],
    ] {
        let ended = Run::start(&mut bare(words)).end();
        assert_eq!(ended.code, 2);
        assert!(!ended.complaint().contains("sesame"), "{ended:?}");
    }
    let mut command = bare(&["--help"]);
    let help = Run::start(command.env("TOOZ_BACKEND", "redis://u:sesame@localhost")).end();
    assert!(!help.out.join("\n").contains("sesame"));
}

#[test]
fn doctor_tells_what_the_store_offers() {
    let store = Store::file();
    let told = store.run(&["doctor", "--json"]).json();
    assert_eq!(told["store"], "file");
    assert!(told["round_trip"]["median"].as_f64().unwrap() >= 0.0);
    assert!(told["warnings"].is_array() && told["options"].is_object());
    assert_eq!(told["granted_ttl"], Value::Null);
    let human = store.run(&["doctor"]);
    assert!(human.out.iter().any(|line| line.starts_with("round trip ")), "{human:?}");
}
