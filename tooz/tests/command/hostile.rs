//! Whatever stands on the command line: an end, a documented code, and nothing that reaches a terminal raw.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::run::Run;
use crate::store::Store;

/// Every code that `tooz --help` names for its own ends, and none of a panic (101) or of a signal.
const CODES: [i32; 8] = [0, 2, 110, 111, 112, 113, 115, 117];

/// What may stand where a name, a number, a time, a URL or a text is expected. None ends with a signal or waits.
fn words() -> Vec<OsString> {
    let texts = [
        "",
        " ",
        "-",
        "--",
        "-1",
        "0",
        "00",
        "NaN",
        "inf",
        "1e400",
        "18446744073709551615",
        "18446744073709551616s",
        "9223372036854775807h",
        "0.0000000001ns",
        "-5s",
        "\u{0}",
        "a\nb",
        "\u{1b}[31mred\u{7}",
        "\u{202e}gnirts",
        "é\u{301}",
        "../../etc/passwd",
        "/",
        "a/b",
        "{a}",
        "*",
        "%00",
        "%zz",
        "://",
        "file://",
        "file:///",
        "redis://:@:0/",
        "redis://[::1",
        "redis://h:99999",
        "etcd://",
        "zookeeper://,,,",
        "memory://x?lock_timeout=-1",
        "memory://x?=",
        "memory://x?timeout=1e9999s",
        "[]",
        "{",
        "null",
        "\"",
        "=",
        "a=",
        "=1",
        "a=-1",
        "a=1e9",
        "a=99999999999999999999",
    ];
    let texts = texts.iter().map(|text| OsString::from(text.replace('\u{0}', "\u{1}")));
    let long = OsString::from("x".repeat(70_000));
    let not_text = OsString::from_vec(vec![b'a', 0xff, 0xfe]);
    texts.chain([long, not_text]).collect()
}

#[test]
fn no_word_on_the_command_line_makes_it_panic_hang_or_write_raw() {
    let store = Store::file();
    // `?` is the place of the word. Nothing here waits for anybody.
    let lines: [&[&str]; 24] = [
        &["?"],
        &["who", "?"],
        &["who", "a", "--url", "?"],
        &["who", "a", "--member", "?"],
        &["who", "a", "--ttl", "?"],
        &["who", "a", "--timeout", "?"],
        &["lock", "?", "--timeout", "0", "--", "true"],
        &["lock", "a", "--ttl", "?", "--timeout", "0", "--", "true"],
        &["elect", "?", "--timeout", "0", "--", "true"],
        &["break", "?", "--now"],
        &["leader", "?"],
        &["group", "?"],
        &["group", "create", "?", "--if-missing"],
        &["group", "members", "?"],
        &["group", "delete", "?"],
        &["topic", "publish", "?", "--data", "x"],
        &["topic", "publish", "a", "--data", "?"],
        &["topic", "publish", "a", "--data", "x", "--keep", "?"],
        &["topic", "publish", "a", "--data", "x", "--keep-for", "?"],
        &["send", "?", "--data", "x"],
        &["ring", "--member", "?", "key"],
        &["ring", "--member", "a", "--partitions", "?", "key"],
        &["ring", "--member", "a", "--replicas", "?", "key"],
        &["ring", "--member", "a", "--ignore", "?", "key"],
    ];
    for line in lines {
        for word in words() {
            let place = line.iter().map(|at| if *at == "?" { word.clone() } else { OsString::from(at) });
            let place: Vec<OsString> = place.collect();
            let mut command = store.command(&[]);
            command.args(&place);
            let ended = Run::start(&mut command).end();
            assert!(CODES.contains(&ended.code), "{line:?} with {word:?}: {ended:?}");
            let complaint = ended.err.join("\n");
            assert!(!complaint.contains("panicked"), "{line:?} with {word:?}: {complaint}");
            let is_raw = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
            assert!(!complaint.contains(is_raw), "{line:?} with {word:?}: {complaint:?}");
            assert!(ended.code == 0 || !complaint.is_empty(), "{line:?} with {word:?} fails without a word");
        }
    }
}
