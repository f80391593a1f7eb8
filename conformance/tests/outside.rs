//! A third party's driver crate, outside this workspace, depends on the suite and passes it.

#![allow(clippy::unwrap_used)] // a failed assumption here is a failed test

use std::fs;
use std::path::Path;
use std::process::Command;

/// Copies the example into a folder of its own, where no workspace is above it.
fn copy(from: &Path, to: &Path, here: &str) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            if name != "target" {
                copy(&path, &to.join(name), here);
            }
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("\"../../tooz-core\"", &format!("{:?}", format!("{here}/../tooz-core")));
        let text = text.replace("path = \"..\"", &format!("path = {here:?}"));
        fs::write(to.join(name), text).unwrap();
    }
}

#[test]
fn a_driver_outside_the_workspace_runs_the_suite() {
    let here = env!("CARGO_MANIFEST_DIR");
    let folder = tempfile::tempdir().unwrap();
    copy(&Path::new(here).join("outside"), folder.path(), here);
    fs::copy(Path::new(here).join("../Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();

    let mut cargo = Command::new(env!("CARGO"));
    // A target folder that stays makes the second run quick.
    cargo.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside"));
    cargo.args(["test", "--offline"]).current_dir(folder.path());
    let output = cargo.output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}\n{}", said[0], said[1]);

    // What it does not declare is skipped with a reason, and what is left is enough to mean something.
    assert!(said[1].contains("the profile declares no groups"), "{}", said[1]);
    assert!(said[0].contains("steps_shared::readers_hold_together"), "{}", said[0]);
    let passed = said[0].lines().filter(|line| line.ends_with("... ok")).count();
    assert!(passed > 150, "{passed} tests only:\n{}", said[0]);
}
