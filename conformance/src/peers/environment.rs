//! The Python that peers run on.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::servers::process::find;

const REQUIREMENTS: &str = include_str!("../../peers/requirements.txt");

/// The interpreter of an environment that has what `conformance/peers/requirements.txt` names: made by the
/// first who asks, then found again by every process.
///
/// # Panics
/// If it cannot be made, with what Python or pip said.
pub fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let mut hasher = DefaultHasher::new();
        REQUIREMENTS.hash(&mut hasher);
        let folder = target().join(format!("peers-{:016x}", hasher.finish()));
        fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("create {}: {error}", folder.display()));
        let lock = File::create(folder.join("lock")).expect("a file in a folder that was just made");
        lock.lock().expect("a lock on a local file");
        let (environment, ready) = (folder.join("environment"), folder.join("ready"));
        if !ready.exists() {
            make(&environment);
            File::create(ready).expect("a file in a folder that was just made");
        }
        environment.join("bin/python")
    })
}

/// Cargo's target folder, where this test's binary is; else a folder that the next start empties.
fn target() -> PathBuf {
    let binary = std::env::current_exe().unwrap_or_default();
    let target = binary.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    target.map_or_else(|| std::env::temp_dir().join("tooz-peers"), Path::to_path_buf)
}

fn make(environment: &Path) {
    let _ = fs::remove_dir_all(environment); // what an earlier, interrupted try left
    let mut venv = Command::new(find("python3", "python3"));
    venv.args(["-m", "venv"]).arg(environment);
    run(&mut venv, "make a Python environment (the package python3-venv is needed for that)");
    let wanted = environment.join("requirements.txt");
    fs::write(&wanted, REQUIREMENTS).expect("a file in an environment that was just made");
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(wanted);
    run(&mut pip, "install the Python packages of conformance/peers/requirements.txt");
}

fn run(command: &mut Command, what: &str) {
    let output = command.output().unwrap_or_else(|error| panic!("{what}: {error}"));
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "{what}: {}\n{said}", output.status);
}
