//! What the operating system says, as kind and text.

use std::path::Path;

use rustix::io::Errno;
use tooz_core::{Error, ErrorKind};

/// The error of a system call: `deed` says what was tried on `path`.
pub(crate) fn failed(deed: &str, path: &Path, cause: impl Into<std::io::Error>) -> Error {
    let cause = cause.into();
    let errno = Errno::from_io_error(&cause);
    let hint = errno.map_or("", hint);
    Error::new(errno.map_or(ErrorKind::Unavailable, kind), format!("{deed} {path:?}: {}{hint}", said(&cause)))
        .with_source(cause)
}

/// The error of listening to a file.
pub(crate) fn deaf(path: &Path, cause: std::io::Error) -> Error {
    if Errno::from_io_error(&cause) == Some(Errno::NOSPC) {
        let text =
            format!("listen to {path:?}: out of inotify watches (see sysctl fs.inotify.max_user_watches)");
        return Error::new(ErrorKind::Exhausted, text).with_source(cause);
    }
    failed("listen to", path, cause)
}

/// Something of another kind than ours stands under one of our names.
pub(crate) fn foreign(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("{path:?} is {what}: it is left alone, remove it by hand"))
}

/// The system's sentence in the house style, without its number.
fn said(cause: &std::io::Error) -> String {
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn kind(errno: Errno) -> ErrorKind {
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::Denied,
        Errno::NOSPC
        | Errno::DQUOT
        | Errno::MFILE
        | Errno::NFILE
        | Errno::NOMEM
        | Errno::FBIG
        | Errno::MLINK => ErrorKind::Exhausted,
        Errno::LOOP | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    }
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::MFILE => " in this process (see ulimit -n)",
        Errno::LOOP => ", or a symbolic link stands where a file of ours belongs",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_tell_refusal_fullness_and_foreign_things_apart() {
        let kind_of = |errno: Errno| failed("open", Path::new("/x"), errno).kind();
        assert_eq!(kind_of(Errno::ACCESS), ErrorKind::Denied);
        assert_eq!(kind_of(Errno::ROFS), ErrorKind::Denied);
        assert_eq!(kind_of(Errno::NOSPC), ErrorKind::Exhausted);
        assert_eq!(kind_of(Errno::MFILE), ErrorKind::Exhausted);
        assert_eq!(kind_of(Errno::LOOP), ErrorKind::Corrupt);
        let deaf = deaf(Path::new("/x"), Errno::NOSPC.into());
        assert!(deaf.kind() == ErrorKind::Exhausted && deaf.to_string().contains("max_user_watches"));
        assert_eq!(kind_of(Errno::IO), ErrorKind::Unavailable);
    }

    #[test]
    fn text_names_the_deed_and_the_path() {
        let text = failed("open", Path::new("/x/\u{1b}y"), Errno::ACCESS).to_string();
        assert_eq!(text, "open \"/x/\\u{1b}y\": permission denied");
    }
}
