//! The default store: a directory of the user's own that stays.
//!
//! Not the runtime directory: that one is removed at logout and absent under cron.

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::exit::Exit;
use super::failure::Failure;

/// What needs no escape in the path of a URL.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The URL of the default store. Sees to it that the directory above the store's exists.
pub(crate) fn default_url() -> Result<String, Failure> {
    let root = path(std::env::var_os("XDG_STATE_HOME"), std::env::home_dir())?;
    if let Some(above) = root.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(|e| {
            let text =
                format!("create {}: {e}; set --url or TOOZ_BACKEND to use another store", above.display());
            Failure::new(Exit::Denied, "denied", text)
        })?;
    }
    Ok(url(&root))
}

fn path(state: Option<OsString>, home: Option<PathBuf>) -> Result<PathBuf, Failure> {
    // The XDG specification has relative paths ignored.
    if let Some(state) = state.map(PathBuf::from).filter(|path| path.is_absolute()) {
        return Ok(state.join("tooz"));
    }
    match home.filter(|home| home.is_absolute()) {
        Some(home) => Ok(home.join(".local/state/tooz")),
        None => Err(Failure::usage(
            "no store given and no home directory known: set --url or TOOZ_BACKEND, XDG_STATE_HOME or HOME",
        )),
    }
}

fn url(root: &Path) -> String {
    format!("file://{}", percent_encode(root.as_os_str().as_bytes(), ESCAPED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(state: Option<&str>, home: Option<&str>) -> Result<PathBuf, Failure> {
        path(state.map(OsString::from), home.map(PathBuf::from))
    }

    /// Interleaving 34: cron, systemd and shells of one user meet in one place that stays.
    #[test]
    fn the_default_root_is_the_users_state_directory() {
        assert_eq!(root(Some("/s"), Some("/h")).unwrap(), Path::new("/s/tooz"));
        assert_eq!(root(None, Some("/h")).unwrap(), Path::new("/h/.local/state/tooz"));
        assert_eq!(root(Some("relative"), Some("/h")).unwrap(), Path::new("/h/.local/state/tooz"));
        assert_eq!(root(Some(""), Some("/h")).unwrap(), Path::new("/h/.local/state/tooz"));
    }

    #[test]
    fn without_any_home_the_error_says_what_to_set() {
        for home in [None, Some(""), Some("relative")] {
            let failure = root(None, home).unwrap_err();
            assert!(failure.message.contains("TOOZ_BACKEND"), "{}", failure.message);
        }
    }

    #[test]
    fn odd_paths_survive_the_url() {
        assert_eq!(url(Path::new("/a b/ü?#%/tooz")), "file:///a%20b/%C3%BC%3F%23%25/tooz");
    }
}
