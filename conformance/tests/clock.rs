//! The clock that deadlines are read from goes on while the machine sleeps.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use tooz_core::{BootClock, Clock};

/// Says, to the test below, what the clock shows in a world of its own.
const ASKED: &str = "TOOZ_TEST_CLOCK_ASKED";

/// A sleep of the machine cannot be had in a test, but a time namespace in which one was had: there the time
/// since boot is an hour ahead of the time that stands still during sleep.
#[test]
fn deadlines_count_the_time_that_the_machine_slept() {
    if std::env::var_os(ASKED).is_some() {
        writeln!(std::io::stdout(), "now={}", BootClock.now().as_nanos()).unwrap();
        return;
    }
    let before = BootClock.now();
    let world = Command::new("unshare")
        .args(["--time", "--boottime", "3600", "--fork"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "deadlines_count_the_time_that_the_machine_slept", "--nocapture"])
        .env(ASKED, "1")
        .output()
        .expect("unshare is missing: it comes with the package util-linux");
    let text = String::from_utf8_lossy(&world.stdout);
    let now = text.lines().find_map(|line| line.split("now=").nth(1));
    let Some(now) = now.and_then(|now| now.trim().parse().ok()) else {
        let said = String::from_utf8_lossy(&world.stderr);
        panic!("a world with a clock of its own needs root (run the tests as root): {text}{said}");
    };

    let ahead = tooz_core::Moment::from_nanos(now).since(before);

    assert!(ahead >= Duration::from_secs(3600), "ahead by {ahead:?} only");
    assert!(ahead < Duration::from_secs(3600 + 60), "ahead by {ahead:?}");
}
