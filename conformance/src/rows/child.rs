//! What `tooz lock` runs in the row `commands`: a child that ignores TERM, with a child of its own, that looks whether
//! anybody is left of those who were there before.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::arguments::Arguments;
use crate::history::now;

/// Between two signs of life.
const BEAT: Duration = Duration::from_millis(5);

/// A process, so that another one with its id is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Id {
    process: u32,
    born: u64,
}

impl Id {
    /// The process of this number, if there is one that still runs.
    pub(super) fn of(process: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The state follows the name, which stands in parentheses and may have some of its own.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?;
        let born = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Self { process, born })
    }

    pub(super) fn is_alive(self) -> bool {
        Self::of(self.process) == Some(self)
    }
}

/// One who came in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Visit {
    /// Under whose lock.
    pub(super) member: String,
    /// When.
    pub(super) from: u64,
    /// The child and its child.
    pub(super) group: [Id; 2],
    /// Who of those before was still alive.
    pub(super) left: Vec<Id>,
    /// Since when nobody of those before had shown a sign of life.
    pub(super) quiet: Option<u64>,
}

/// The file of visits to this lock.
pub(super) fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("visits-{name}"))
}

/// The visits to this lock so far.
pub(super) fn visits(folder: &Path, name: &str) -> Outcome<Vec<Visit>> {
    let Ok(text) = fs::read_to_string(file(folder, name)) else { return Ok(Vec::new()) };
    // The last line may be under way.
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// The child's part: comes in, looks around, and shows signs of life until it is killed.
///
/// # Errors
/// If the command line is wrong or a file cannot be written.
pub fn play(arguments: impl Iterator<Item = String>) -> Outcome<()> {
    let from = now();
    let arguments = Arguments::read(arguments, &["folder", "name"])?;
    let folder = PathBuf::from(arguments.text("folder").ok_or("no --folder")?);
    let name = arguments.text("name").ok_or("no --name")?;
    let before = visits(&folder, name)?;
    let left = before.iter().flat_map(|visit| visit.group).filter(|id| id.is_alive()).collect();
    let sign = folder.join(format!("sign-{name}"));
    let quiet = fs::read_to_string(&sign).ok().and_then(|text| text.trim().parse().ok());

    let mut command = Command::new("sleep");
    let grandchild = command.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let ids = Id::of(std::process::id()).zip(Id::of(grandchild.id()));
    let (child, grandchild) = ids.ok_or("no process of this number")?;
    let visit =
        Visit { member: std::env::var("TOOZ_MEMBER")?, from, group: [child, grandchild], left, quiet };
    let mut line = serde_json::to_vec(&visit)?;
    line.push(b'\n');
    OpenOptions::new().create(true).append(true).open(file(&folder, name))?.write_all(&line)?;
    let signs = OpenOptions::new().create(true).write(true).truncate(false).open(sign)?;
    loop {
        // One write of one width, so that a kill leaves no half of one.
        std::os::unix::fs::FileExt::write_all_at(&signs, format!("{:020}\n", now()).as_bytes(), 0)?;
        std::thread::sleep(BEAT);
    }
}
