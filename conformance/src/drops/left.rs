//! What is left behind: claims in a store, files of a process.

use std::fs::{File, TryLockError, read_dir};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tooz_core::Coordinator;

/// Who still holds or waits, once withdrawals had `patience` to be carried out; one line each.
///
/// # Errors
/// If the store fails.
pub async fn remains(coord: &Coordinator, name: &str, patience: Duration) -> tooz_core::Result<Vec<String>> {
    let mut view = coord.lock(name).watch().await?;
    let emptied = tokio::time::timeout(patience, async {
        while !(view.borrow().holders.is_empty() && view.borrow().waiting.is_empty()) {
            view.changed().await?;
        }
        Ok(())
    });
    if let Ok(outcome) = emptied.await {
        outcome.map(|()| Vec::new())
    } else {
        let queue = coord.lock(name).queue().await?;
        let holders = queue.holders.iter().map(|holder| format!("holds: {holder:?}"));
        Ok(holders.chain(queue.waiting.iter().map(|waiting| format!("waits: {waiting:?}"))).collect())
    }
}

/// The process's open descriptors, where the system tells.
pub fn open_files() -> usize {
    read_dir("/proc/self/fd").map(Iterator::count).unwrap_or(0)
}

/// What stays in a directory for ever: the lock and the counter of a seat, the gate of a group, names.
const STAYS: &[&str] = &["format", "lock", "counter", "name", "gate"];

/// The files that stand below the root of the driver over a directory although nobody is there. Those of members that
/// were killed may stay until somebody cleans up, where `dead_may_stay`; messages stay for whoever comes, but nobody may
/// be at their gates.
pub fn files_left(root: &Path, dead_may_stay: bool) -> Vec<String> {
    let topics = root.join("topics");
    let mut left = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = entry.file_name();
            let stays =
                dead_may_stay || path.starts_with(&topics) || STAYS.iter().any(|stays| name == *stays);
            if is_locked(&path) || !stays {
                left.push(path.display().to_string());
            }
        }
    }
    left
}

fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// The process's threads, where the system tells.
pub fn threads() -> usize {
    read_dir("/proc/self/task").map(Iterator::count).unwrap_or(0)
}
